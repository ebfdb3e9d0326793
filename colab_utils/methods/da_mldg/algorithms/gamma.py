"""The gamma of DA-MLDG: how far a held-out domain lies from the others (King Gandhi et al. 2023).

It weighs the loss of the held-out domain in `mldg.Mldg.gradients`; `Mldg.weight` says how.
"""

import torch


def energy(logits: torch.Tensor) -> float:
    """E: the mean over utterances of log sum_c exp(z_c).

    Liu et al. (2020, Energy-based out-of-distribution detection) call minus this number the energy
    of an input, at temperature 1; the DA-MLDG paper takes it without the minus.

    Args:
        logits: z, (n, classes).

    Returns:
        E, a number without gradient.
    """
    return float(torch.logsumexp(logits.detach(), dim=1).mean())


def domain_shift(seen: torch.Tensor, held_out: torch.Tensor) -> float:
    """Gamma = |E(S'; theta') - E(V; theta')|, a number without gradient.

    Args:
        seen: logits (n, classes) of the domains S' that the inner step has seen, after it.
        held_out: logits (m, classes) of the domain V that it has not.

    Returns:
        Gamma, 0 or more.
    """
    return abs(energy(seen) - energy(held_out))
