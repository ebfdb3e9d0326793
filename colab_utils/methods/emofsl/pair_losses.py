"""Metric losses on all pairs of a support set: those of FSTL and EMOFSL (method_facts §2.4).

Eq. 1 is the siamese loss, eq. 2 the emotion-distance loss. pytorch-metric-learning has the pieces
(LpDistance, ContrastiveLoss, MeanReducer) and is the oracle in the tests. It is not called here
because it picks pairs by index, one batch at a time, so that their number depends on the data;
these functions use dense n x n masks instead and take embeddings with any leading dimensions: fifty
support draws are one call, with or without torch.func.vmap.
"""

from __future__ import annotations

import torch
from torch.nn import functional

# Under the root of a distance, where two embeddings coincide: sqrt has no derivative at 0.
EPS = 1e-6
REDUCTIONS = ("mean", "sum")


def pair_distances(embedding: torch.Tensor, normalise: bool = True) -> torch.Tensor:
    """Euclidean distances sqrt(|a - b|^2 + EPS) of all pairs, float (..., n, n).

    Args:
        embedding: float (..., n, dim).
        normalise: each embedding is first brought to length 1, so that distances lie in [0, 2] and
            margins of 1 and 0.6 mean something; without it distances in hundreds of dimensions
            exceed every such margin.
    """
    if normalise:
        embedding = functional.normalize(embedding, dim=-1, eps=EPS)
    square = embedding.square().sum(dim=-1)
    product = embedding @ embedding.transpose(-1, -2)
    apart = square.unsqueeze(-1) + square.unsqueeze(-2) - 2 * product
    return (apart.clamp(min=0) + EPS).sqrt()


def pair_masks(
    y: torch.Tensor,
    far: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Which pairs i < j are PP (one class), PN (far classes) and MN (other classes).

    With 5 shots of the paper's four emotions there are 40, 50 and 100 of them; with one shot PP is
    empty.

    Args:
        y: class ids (..., n).
        far: bool (classes, classes), True where the level is PN; None: nowhere.

    Returns:
        Three masks, bool (..., n, n).
    """
    first, second = torch.broadcast_tensors(y.unsqueeze(-1), y.unsqueeze(-2))
    n = y.shape[-1]
    pair = torch.ones(n, n, dtype=torch.bool, device=y.device).triu(1)
    same = first == second
    apart = pair & ~same
    if far is None:
        return pair & same, torch.zeros_like(apart), apart
    distant = far.to(y.device)[first, second]
    return pair & same, apart & distant, apart & ~distant


def siamese(
    embedding: torch.Tensor,
    y: torch.Tensor,
    *,
    kappa: float = 1.0,
    cap: float = 0.0,
    normalise: bool = True,
    reduction: str = "mean",
) -> torch.Tensor:
    """Eq. 1 (FSTL): distances within classes minus `kappa` times those between classes.

    Args:
        embedding: float (..., n, dim).
        y: class ids (..., n), or (n,) for all.
        kappa: weight of the pairs of different classes.
        cap: a pair of different classes farther apart than this takes no part any more
            (min(d, cap)); 0: as published, unbounded below unless embeddings are normalised (then
            a cap below 2 acts).
        normalise: as in `pair_distances`.
        reduction: "mean" of the pairs of each group, or their "sum" as published.

    Returns:
        Float (...). A group without pairs counts 0.
    """
    d = pair_distances(embedding, normalise)
    same, _, other = pair_masks(y)
    pushed = d.clamp(max=cap) if cap else d
    return _group(d, same, reduction) - kappa * _group(pushed, other, reduction)


def emotion_distance(
    embedding: torch.Tensor,
    y: torch.Tensor,
    far: torch.Tensor,
    *,
    alpha: float = 1.0,
    beta: float = 0.6,
    kappa1: float = 0.6,
    kappa2: float = 0.3,
    normalise: bool = True,
    reduction: str = "mean",
) -> torch.Tensor:
    """Eq. 2 (EMOFSL): distances within classes, and margins between them.

    d over PP + kappa1 max(alpha - d, 0) over PN + kappa2 max(beta - d, 0) over MN.

    A pair beyond its margin has no gradient.

    Args:
        embedding: float (..., n, dim).
        y: class ids (..., n), or (n,) for all.
        far: bool (classes, classes), where `circumplex.pair_levels` says "PN".
        alpha, beta: the margins of PN and MN.
        kappa1, kappa2: the weights of PN and MN.
        normalise, reduction: as in `siamese`.

    Returns:
        Float (...). A group without pairs (PP at one shot) counts 0.
    """
    d = pair_distances(embedding, normalise)
    same, distant, near = pair_masks(y, far)
    pulled = _group(d, same, reduction)
    pushed_far = _group((alpha - d).relu(), distant, reduction)
    pushed_near = _group((beta - d).relu(), near, reduction)
    return pulled + kappa1 * pushed_far + kappa2 * pushed_near


def graded_distance(
    embedding: torch.Tensor,
    y: torch.Tensor,
    margins: torch.Tensor,
    weights: torch.Tensor,
    *,
    normalise: bool = True,
    reduction: str = "mean",
) -> torch.Tensor:
    """Eq. 2 with a margin and a weight for each pair of classes instead of two.

    d over PP + weight max(margin - d, 0) over all other pairs. The sum over pairs is eq. 2 where
    margins and weights take its two values; the mean is over PP and over all pairs of different
    classes, for a graded margin knows no groups.

    Args:
        embedding: float (..., n, dim).
        y: class ids (..., n), or (n,) for all.
        margins, weights: float (classes, classes), symmetric.
        normalise, reduction: as in `siamese`.

    Returns:
        Float (...).
    """
    d = pair_distances(embedding, normalise)
    same, _, other = pair_masks(y)
    first, second = torch.broadcast_tensors(y.unsqueeze(-1), y.unsqueeze(-2))
    margins, weights = margins.to(d), weights.to(d)
    pushed = weights[first, second] * (margins[first, second] - d).relu()
    return _group(d, same, reduction) + _group(pushed, other, reduction)


def _group(values: torch.Tensor, mask: torch.Tensor, reduction: str) -> torch.Tensor:
    """Mean or sum of `values` (..., n, n) where `mask` is true, (...); 0 where it never is.

    Raises ValueError for another reduction.
    """
    if reduction not in REDUCTIONS:
        listed = ", ".join(map(repr, REDUCTIONS))
        raise ValueError(f"reduction = {reduction!r}: choose from {listed}")
    total = torch.where(mask, values, 0.0).sum(dim=(-2, -1))
    return total if reduction == "sum" else total / mask.sum(dim=(-2, -1)).clamp(min=1)
