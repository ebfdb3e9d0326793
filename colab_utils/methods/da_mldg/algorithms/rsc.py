"""RSC: the part of the last feature map that a prediction leans on most is hidden.

So the rest must learn to predict as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from colab_utils.methods.da_mldg.algorithms.algorithm import (
    Algorithm,
    Joined,
    weighted_cross_entropy,
)
from colab_utils.settings import SettingError

_SPATIAL = 3.0  # one in so many positions is hidden
_CHANNELS = 3.2  # one in so many channels is
_LEAST_DROP = 1e-4  # of a probability: less is no drop


class Rsc(Algorithm):
    """Representation self-challenging (Huang et al. 2020), after the rules of its authors' code.

    method_facts §6.4. z: the last feature map, s: the true class's logit, g = ds/dz. In half of the
    steps the third of positions with the largest sum_c z_c mean_space(g_c) is hidden, in the others
    the channels, one in 3.2, with the largest mean_space(g_c). Only utterances whose true class
    loses most probability by it are challenged: a share of 0.3, 0.5, 0.7, ... 1, one more step
    every `period` updates (the authors: 10 of 30 epochs); the others train on all of z. Networks
    without a `feature_map` have one vector, the embedding, and hide its units by g. Positions in
    padded frames do not count. Keeps `loss`, `challenged` (share of utterances) and `spatial`
    (1 or 0).

    Raises:
        SettingError: for a period below 1.
    """

    def __init__(self, *arguments: Any, period: int = 1000, **shared: Any):
        super().__init__(*arguments, **shared)
        if period < 1:
            raise SettingError(f"period = {period}: must be at least 1")
        self.period = period

    def objective(self, batch: Joined) -> tuple[torch.Tensor, dict[str, Any]]:
        """Cross-entropy of all domains joined, with the challenged utterances half blind."""
        z, valid, classify = self.features(batch.inputs)
        spatial = valid is not None and self.draw().random() < 0.5
        share = min(1.0, 0.3 + 0.2 * (self.step // self.period))
        self.network.eval()  # the mask comes from a network without dropout
        keep = challenge(z.detach(), batch.y, classify, share, valid if spatial else None)
        self.network.train()
        challenged = (keep == 0).flatten(1).any(1).double().mean()
        loss = weighted_cross_entropy(classify(z * keep), batch)
        return loss, {"challenged": challenged, "spatial": spatial}

    def features(
        self, inputs: tuple[torch.Tensor, ...]
    ) -> tuple[torch.Tensor, torch.Tensor | None, Callable]:
        """z, its valid frames (None for a vector), and the function from z to logits."""
        if not hasattr(self.network, "feature_map"):
            return self.network(*inputs)[1], None, self.network.head
        z, valid = self.network.feature_map(*inputs)
        return z, valid, lambda z: self.network.head(self.network.pool(z, valid))


def challenge(
    z: torch.Tensor, y: torch.Tensor, classify: Callable, share: float, valid: torch.Tensor | None
) -> torch.Tensor:
    """What stays of z, 1 or 0.

    Args:
        z: (n, channels, frames, rows) or (n, units), without gradient.
        y: true classes (n,).
        classify: from z to logits (n, classes).
        share: of utterances to challenge.
        valid: (n, frames), 1 where positions may be hidden; None to hide channels.

    Returns:
        (n, 1, frames, rows) where positions are hidden, (n, channels[, 1, 1]) where channels are.
    """
    z = z.requires_grad_()
    logits = classify(z)
    of_true_class = logits.gather(1, y[:, None])
    (slope,) = torch.autograd.grad(of_true_class.sum(), z)
    with torch.no_grad():
        keep = kept_channels(slope) if valid is None else kept_positions(z, slope, valid)
        before = _probability(logits, y)
        after = _probability(classify(z * keep), y)
        drop = (before - after - _LEAST_DROP).clamp(min=0.0)
        number = round(len(drop) * share)
        least = drop.sort(descending=True).values[number] if number < len(drop) else 0.0
        challenged = (drop > least).view(-1, *[1] * (keep.dim() - 1))
        return torch.where(challenged, keep, 1.0)


def _probability(logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """The probability of the true class, (n,)."""
    return torch.softmax(logits, dim=1).gather(1, y[:, None]).squeeze(1)


def kept_positions(z: torch.Tensor, slope: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """1 at the two thirds of valid positions with the lowest sum_c z_c mean_space(slope_c), else 0.

    Returns (n, 1, frames, rows).
    """
    rows = z.shape[3]
    inside = valid.repeat_interleave(rows, dim=1).bool()  # (n, positions)
    number = inside.sum(1)
    total = (slope.flatten(2) * inside[:, None]).sum(2)
    mean = total / number[:, None].clamp(min=1)
    score = torch.einsum("ncp,nc->np", z.flatten(2), mean).masked_fill(~inside, -math.inf)
    hidden = torch.minimum((number / _SPATIAL).ceil().long(), (number - 1).clamp(min=0))
    least = score.sort(dim=1, descending=True).values.gather(1, hidden[:, None])
    return (score <= least).to(z.dtype).view(len(z), 1, -1, rows)


def kept_channels(slope: torch.Tensor) -> torch.Tensor:
    """0 at the channels whose mean slope over space is among the largest, one in 3.2, else 1.

    Returns (n, channels[, 1, 1]).
    """
    mean = slope.flatten(2).mean(2) if slope.dim() == 4 else slope
    hidden = math.ceil(mean.shape[1] / _CHANNELS)
    least = mean.sort(dim=1, descending=True).values[:, hidden, None]
    return (mean <= least).to(slope.dtype).view(*mean.shape, *[1] * (slope.dim() - 2))
