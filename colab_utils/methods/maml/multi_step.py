"""Which inner steps count in the outer loss, and in which order the outer loop differentiates, over the course of training."""
from __future__ import annotations

import torch

MULTI_STEP = ("final", "ramp", "annealed")
ORDERS = ("first", "second", "annealed")


def step_weights(kind: str, steps: int, progress: float) -> torch.Tensor:
    """Weights of the query losses after 0 ... `steps` inner steps: float64 (steps + 1,), sum 1, 0 before adaptation.

    "final": the last step alone (Finn et al. 2017). "ramp": w_k = 0.1 k (Few-Shot_SER, method_facts §1.4; normalised). "annealed": from equal
    weights at progress 0 to nearly the last alone at progress 1 (Antoniou et al. 2019; method_facts §6.2): v_i = max(1/N - p/N, 0.03/N),
    the last the rest; at 1 and beyond the last step alone.
    """
    weights = torch.zeros(steps + 1, dtype=torch.float64)
    if kind == "ramp":
        weights[:] = torch.arange(steps + 1)
        return weights / weights.sum()
    if kind == "annealed" and progress < 1:
        weights[1:] = max((1 - progress) / steps, 0.03 / steps)
        weights[-1] = 1 - weights[1:-1].sum()
        return weights
    weights[-1] = 1
    return weights


def first_order_at(progress: float, order: str, share: float) -> bool:
    """Whether a meta-update at `progress` in [0, 1] is first order: always, never, or during the first `share` of training ("annealed")."""
    return order == "first" or (order == "annealed" and progress < share)
