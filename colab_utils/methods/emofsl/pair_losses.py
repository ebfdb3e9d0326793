"""Metric losses on all pairs of a support set: the siamese loss of FSTL and the emotion-distance loss of EMOFSL (method_facts §2.4, eq. 1 and 2).

pytorch-metric-learning has the pieces (LpDistance, ContrastiveLoss, MeanReducer) and is the oracle in the tests. It is not called here because
it picks pairs by index, one batch at a time, so that their number depends on the data; these functions use dense n x n masks instead and take
embeddings with any leading dimensions: fifty support draws are one call, with or without torch.func.vmap.
"""
from __future__ import annotations

import torch
from torch.nn import functional

EPS = 1e-6                   # under the root of a distance, where two embeddings coincide: sqrt has no derivative at 0
REDUCTIONS = ("mean", "sum")


def distances(embedding: torch.Tensor, normalise: bool = True) -> torch.Tensor:
    """Euclidean distances sqrt(|a - b|^2 + EPS) of all pairs, float (..., n, n), of embeddings (..., n, dim).

    normalise: each embedding is first brought to length 1, so that distances lie in [0, 2] and margins of 1 and 0.6 mean something; without it
    distances in hundreds of dimensions exceed every such margin.
    """
    if normalise:
        embedding = functional.normalize(embedding, dim=-1, eps=EPS)
    square = embedding.square().sum(dim=-1)
    product = embedding @ embedding.transpose(-1, -2)
    return ((square.unsqueeze(-1) + square.unsqueeze(-2) - 2 * product).clamp(min=0) + EPS).sqrt()


def pair_masks(y: torch.Tensor, far: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Which pairs i < j are PP (the same class), PN (far classes) and MN (other classes), bool (..., n, n) each.

    y: class ids (..., n); far: bool (classes, classes), True where the level is PN (None: nowhere). With 5 shots of the paper's four emotions
    there are 40, 50 and 100 of them; with one shot PP is empty.
    """
    first, second = torch.broadcast_tensors(y.unsqueeze(-1), y.unsqueeze(-2))
    pair = torch.ones(y.shape[-1], y.shape[-1], dtype=torch.bool, device=y.device).triu(1)
    same = first == second
    apart = pair & ~same
    if far is None:
        return pair & same, torch.zeros_like(apart), apart
    distant = far.to(y.device)[first, second]
    return pair & same, apart & distant, apart & ~distant


def siamese(embedding: torch.Tensor, y: torch.Tensor, *, kappa: float = 1.0, cap: float = 0.0, normalise: bool = True,
            reduction: str = "mean") -> torch.Tensor:
    """Eq. 1 (FSTL): distances of the pairs of one class minus `kappa` times those of different classes; (...) of embedding (..., n, dim).

    y: class ids (..., n), or (n,) for all. cap: a different-class pair farther apart than this takes no part any more (min(d, cap)); 0: as
    published, unbounded below unless embeddings are normalised (then a cap below 2 acts). reduction: "mean" of the pairs of each group, or
    their "sum" as published. A group without pairs is 0.
    """
    d = distances(embedding, normalise)
    same, _, other = pair_masks(y)
    return _group(d, same, reduction) - kappa * _group(d.clamp(max=cap) if cap else d, other, reduction)


def emotion_distance(embedding: torch.Tensor, y: torch.Tensor, far: torch.Tensor, *, alpha: float = 1.0, beta: float = 0.6, kappa1: float = 0.6,
                     kappa2: float = 0.3, normalise: bool = True, reduction: str = "mean") -> torch.Tensor:
    """Eq. 2 (EMOFSL): d over PP + kappa1 max(alpha - d, 0) over PN + kappa2 max(beta - d, 0) over MN; (...) of embedding (..., n, dim).

    y: class ids (..., n), or (n,) for all; far: bool (classes, classes), where `circumplex.pair_levels` says "PN". reduction: as in `siamese`.
    A pair beyond its margin has no gradient; a group without pairs (PP at one shot) is 0.
    """
    d = distances(embedding, normalise)
    same, distant, near = pair_masks(y, far)
    return (_group(d, same, reduction) + kappa1 * _group((alpha - d).relu(), distant, reduction)
            + kappa2 * _group((beta - d).relu(), near, reduction))


def graded_distance(embedding: torch.Tensor, y: torch.Tensor, margins: torch.Tensor, weights: torch.Tensor, *, normalise: bool = True,
                    reduction: str = "mean") -> torch.Tensor:
    """Eq. 2 with a margin and a weight for each pair of classes instead of two: d over PP + weight max(margin - d, 0) over all other pairs.

    margins, weights: float (classes, classes), symmetric. The sum over pairs is eq. 2 where they take its two values; the mean is over PP and
    over all pairs of different classes, for a graded margin knows no groups. Result (...) of embedding (..., n, dim), y (..., n) or (n,).
    """
    d = distances(embedding, normalise)
    same, _, other = pair_masks(y)
    first, second = torch.broadcast_tensors(y.unsqueeze(-1), y.unsqueeze(-2))
    margins, weights = margins.to(d), weights.to(d)
    return _group(d, same, reduction) + _group(weights[first, second] * (margins[first, second] - d).relu(), other, reduction)


def _group(values: torch.Tensor, mask: torch.Tensor, reduction: str) -> torch.Tensor:
    """Mean or sum of `values` (..., n, n) where `mask` is true, (...); 0 where it never is. Raises ValueError for another reduction."""
    if reduction not in REDUCTIONS:
        raise ValueError(f"reduction = {reduction!r}: choose from {', '.join(map(repr, REDUCTIONS))}")
    total = torch.where(mask, values, 0.0).sum(dim=(-2, -1))
    return total if reduction == "sum" else total / mask.sum(dim=(-2, -1)).clamp(min=1)
