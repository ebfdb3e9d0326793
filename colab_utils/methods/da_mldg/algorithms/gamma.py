"""The gamma of DA-MLDG: how far a held-out domain lies from the others (King Gandhi et al. 2023).

It weighs the loss of the held-out domain in `mldg.Mldg.gradients`; `Mldg.weight` says by which of
GAMMA_RULES.
"""

from __future__ import annotations

import torch

GAMMA_RULES = ("one", "gamma", "1+gamma", "normalised")


def energy(logits: torch.Tensor) -> float:
    """E: the mean over utterances of log sum_c exp(z_c), of logits (n, classes).

    It is minus the usual free energy at temperature 1.
    """
    return float(torch.logsumexp(logits.detach(), dim=1).mean())


def domain_shift(seen: torch.Tensor, held_out: torch.Tensor) -> float:
    """Gamma = |E(S') - E(V)|, a number without gradient.

    Args:
        seen: logits (n, classes) of the domains that the inner step has seen, after it.
        held_out: logits (m, classes) of the domain that it has not.
    """
    return abs(energy(seen) - energy(held_out))
