"""RSC: the part of the last feature map that a prediction leans on most is hidden.

So the rest must learn to predict as well.
"""

import math
from collections.abc import Callable
from typing import Any

import torch

from colab_utils.methods.da_mldg.algorithms.algorithm import (
    Algorithm,
    Joined,
    weighted_cross_entropy,
)

_SPATIAL = 3.0  # one in so many positions is hidden
_CHANNELS = 3.2  # one in so many channels is
_LEAST_DROP = 1e-4  # of a probability: less is no drop


class Rsc(Algorithm):
    """Representation self-challenging (Huang et al. 2020, ECCV), after its authors' code.

    z: the last feature map, s: the true class's logit, g = ds/dz. In half of the steps the third of
    positions with the largest sum_c z_c mean_space(g_c) is hidden, in the others the channels, one
    in 3.2, with the largest mean_space(g_c). Only utterances whose true class loses most
    probability by it are challenged, the `share` of them; the others train on all of z. Networks
    without a `feature_map` have one vector, the embedding, and hide its units by g. Positions in
    padded frames do not count. Keeps `loss`, `challenged` (share of utterances) and `spatial`
    (1 or 0).
    """

    def objective(self, batch: Joined) -> tuple[torch.Tensor, dict[str, Any]]:
        """Cross-entropy of all domains joined, with the challenged utterances half blind."""
        z, valid, classify = self.features(batch.inputs)
        spatial = valid is not None and self.draw().random() < 0.5
        self.network.eval()  # the mask comes from a network without dropout
        where = valid if spatial else None
        keep = challenge(z.detach(), batch.y, classify, self.share(), where)
        self.network.train()

        loss = weighted_cross_entropy(classify(z * keep), batch)
        hidden = (keep == 0).flatten(1)
        challenged = hidden.any(dim=1).double().mean()
        return loss, {"challenged": challenged, "spatial": spatial}

    def share(self) -> float:
        """The share of utterances that this step challenges.

        With `rsc_period` = 0 it is that of the authors' code: 0.3, 0.5 and 0.7 over the thirds of
        a training (10 of 30 epochs each). Otherwise it grows by 0.2 every `rsc_period` updates, to
        1 at the most.
        """
        period = self.config.rsc_period or math.ceil(self.config.steps / 3)
        return min(1.0, 0.3 + 0.2 * (self.step // period))

    def features(
        self, inputs: tuple[torch.Tensor, ...]
    ) -> tuple[torch.Tensor, torch.Tensor | None, Callable]:
        """z, its valid frames (None for a vector), and the function from z to logits."""
        network = self.network
        if not hasattr(network, "feature_map"):
            return network(*inputs)[1], None, network.head
        z, valid = network.feature_map(*inputs)
        return z, valid, lambda z: network.head(network.pool(z, valid))


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
        least = 0.0
        if number < len(drop):
            least = drop.sort(descending=True).values[number]
        challenged = drop > least
        keep[~challenged] = 1.0
    return keep


def _probability(logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """The probability of the true class, (n,)."""
    return torch.softmax(logits, dim=1).gather(1, y[:, None]).squeeze(1)


def kept_positions(z: torch.Tensor, slope: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """0 at the third of valid positions with the largest sum_c z_c mean_space(slope_c), else 1.

    One valid position stays at the least.

    Returns:
        (n, 1, frames, rows).
    """
    rows = z.shape[3]
    inside = valid.bool().repeat_interleave(rows, dim=1)  # (n, positions)
    number = inside.sum(dim=1, keepdim=True)
    inner = slope.flatten(2) * inside[:, None]
    total = inner.sum(dim=2)
    mean = total / number.clamp(min=1)  # (n, channels)
    score = torch.einsum("ncp,nc->np", z.flatten(2), mean)
    score = score.masked_fill(~inside, -math.inf)
    hidden = number / _SPATIAL
    hidden = hidden.ceil().long()
    most = (number - 1).clamp(min=0)
    hidden = torch.minimum(hidden, most)
    ranked = score.sort(dim=1, descending=True).values
    keep = score <= ranked.gather(1, hidden)
    return keep.to(z.dtype).view(len(z), 1, -1, rows)


def kept_channels(slope: torch.Tensor) -> torch.Tensor:
    """0 at the channels whose mean slope over space is among the largest, one in 3.2, else 1.

    Returns:
        (n, channels, 1, 1), or (n, units) of a vector.
    """
    if slope.dim() == 4:
        slope = slope.flatten(2).mean(2)[:, :, None, None]
    hidden = math.ceil(slope.shape[1] / _CHANNELS)
    ranked = slope.sort(dim=1, descending=True).values
    keep = slope <= ranked[:, hidden, None]
    return keep.to(slope.dtype)
