"""The metric losses of FSTL and EMOFSL, on all pairs of a support set.

Source: Yue et al. 2023, APSIPA ASC, equations 1 and 2. `equation_2` is the loss of EMOFSL as the
paper writes it. The others are for use: with leading dimensions, so that fifty support draws are
one call, and with the choices that the paper leaves open.

pytorch-metric-learning has the pieces (LpDistance, ContrastiveLoss) and is the oracle in the tests.
It is not called here because it picks pairs by index, one batch at a time; these functions use
n x n masks.
"""

import torch
from torch.nn import functional

# Under the root of a distance, where two embeddings coincide: sqrt has no derivative at 0.
EPS = 1e-6
REDUCTIONS = ("mean", "sum")


def equation_2(
    embedding: torch.Tensor,
    y: torch.Tensor,
    far: torch.Tensor,
    alpha: float = 1.0,
    beta: float = 0.6,
    kappa1: float = 0.6,
    kappa2: float = 0.3,
) -> torch.Tensor:
    """The loss of EMOFSL on one support set: equation 2 of Yue et al. 2023, APSIPA ASC.

        L =          sum over PP of d
            + kappa1 sum over PN of max(alpha - d, 0)
            + kappa2 sum over MN of max(beta - d, 0)

    d is the Euclidean distance of the embeddings of two utterances, each brought to length 1 first
    (the paper leaves that open; without it the margins mean nothing). The paper's names of pairs:
    PP of one emotion, PN of emotions far apart (anger and sadness, happiness and sadness), MN of
    all other emotions. `emotion_distance` with reduction="sum" gives the same for many support
    sets at once.

    Args:
        embedding: of the support, float (n, dim).
        y: class ids, int64 (n,).
        far: bool (classes, classes), symmetric, True for two emotions far apart (PN).
        alpha: margin of PN pairs; distances lie between 0 and 2.
        beta: margin of MN pairs, below alpha.
        kappa1: weight of PN pairs.
        kappa2: weight of MN pairs.

    Returns:
        The loss, a scalar.
    """
    embedding = functional.normalize(embedding, dim=-1, eps=EPS)
    # every pair once
    first, second = torch.triu_indices(len(y), len(y), offset=1, device=y.device)
    difference = embedding[first] - embedding[second]
    d = (difference.square().sum(dim=-1) + EPS).sqrt()

    same = y[first] == y[second]  # PP
    distant = far.to(y.device)[y[first], y[second]]  # PN
    near = ~same & ~distant  # MN

    pulled = d[same].sum()
    pushed_far = (alpha - d[distant]).relu().sum()
    pushed_near = (beta - d[near]).relu().sum()
    return pulled + kappa1 * pushed_far + kappa2 * pushed_near


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
    """The loss of EMOFSL for many support sets at once.

    With reduction="sum" it is `equation_2` of each support set, as published. With "mean" each of
    the three groups of pairs (PP, PN, MN) is averaged first, so that many shots weigh no more than
    few. A PN or MN pair beyond its margin has no gradient.

    Args:
        embedding: float (..., n, dim), any leading dimensions.
        y: class ids, int64 (..., n), or (n,) for all.
        far: bool (classes, classes), True where two emotions are far apart on the circumplex of
            valence and arousal (`circumplex.pair_levels` says "PN").
        alpha: margin of PN pairs.
        beta: margin of MN pairs.
        kappa1: weight of PN pairs.
        kappa2: weight of MN pairs.
        normalise: bring embeddings to length 1 first.
        reduction: "mean" of the pairs of each group, or their "sum" as published.

    Returns:
        One loss for each support set, float (...). A group without pairs (PP at one shot) counts 0.

    Raises:
        ValueError: for another reduction.

    Example:
        >>> far = torch.as_tensor(pair_levels(["anger", "neutral", "sadness"]) == "PN")
        >>> emotion_distance(torch.randn(50, 15, 256), torch.arange(3).repeat(5), far).shape
        torch.Size([50])
    """
    d = pair_distances(embedding, normalise)
    same, distant, near = pair_masks(y, far)
    pulled = _group(d, same, reduction)
    pushed_far = _group((alpha - d).relu(), distant, reduction)
    pushed_near = _group((beta - d).relu(), near, reduction)
    return pulled + kappa1 * pushed_far + kappa2 * pushed_near


def siamese(
    embedding: torch.Tensor,
    y: torch.Tensor,
    *,
    kappa: float = 1.0,
    cap: float = 0.0,
    normalise: bool = True,
    reduction: str = "mean",
) -> torch.Tensor:
    """Equation 1 (FSTL): distances within classes minus `kappa` times those between classes.

    Args:
        embedding: float (..., n, dim).
        y: class ids, int64 (..., n), or (n,) for all.
        kappa: weight of the pairs of different classes.
        cap: a pair of different classes farther apart than this takes no part any more
            (min(d, cap)); 0: as published, unbounded below unless embeddings are normalised (then
            a cap below 2 acts).
        normalise: bring embeddings to length 1 first.
        reduction: "mean" of the pairs of each group, or their "sum" as published.

    Returns:
        One loss for each support set, float (...). A group without pairs counts 0.

    Raises:
        ValueError: for another reduction.
    """
    d = pair_distances(embedding, normalise)
    same, other, _ = pair_masks(y)
    pushed = d.clamp(max=cap) if cap else d
    return _group(d, same, reduction) - kappa * _group(pushed, other, reduction)


def graded_distance(
    embedding: torch.Tensor,
    y: torch.Tensor,
    margins: torch.Tensor,
    weights: torch.Tensor,
    *,
    normalise: bool = True,
    reduction: str = "mean",
) -> torch.Tensor:
    """Equation 2 with a margin and a weight for each pair of classes instead of two.

    d over PP + weight max(margin - d, 0) over all other pairs. The sum over pairs is equation 2
    where margins and weights take its two values; the mean is over PP and over all pairs of
    different classes, for a graded margin knows no groups.

    Args:
        embedding: float (..., n, dim).
        y: class ids, int64 (..., n), or (n,) for all.
        margins: float (classes, classes), symmetric.
        weights: float (classes, classes), symmetric.
        normalise: bring embeddings to length 1 first.
        reduction: "mean" of the pairs of each group, or their "sum".

    Returns:
        One loss for each support set, float (...).

    Raises:
        ValueError: for another reduction.
    """
    d = pair_distances(embedding, normalise)
    same, other, _ = pair_masks(y)
    margin = _of_pairs(margins.to(d), y)
    weight = _of_pairs(weights.to(d), y)
    pushed = weight * (margin - d).relu()
    return _group(d, same, reduction) + _group(pushed, other, reduction)


def pair_distances(embedding: torch.Tensor, normalise: bool = True) -> torch.Tensor:
    """Euclidean distances sqrt(|a - b|^2 + EPS) of all pairs, float (..., n, n).

    Args:
        embedding: float (..., n, dim).
        normalise: each embedding is first brought to length 1, so that distances lie in [0, 2] and
            margins of 1 and 0.6 mean something; without it distances in hundreds of dimensions
            exceed every such margin.
    """
    if not normalise:
        # by differences: |a|^2 - 2ab + |b|^2 cancels where embeddings lie far from 0
        how = "donot_use_mm_for_euclid_dist"
        apart = torch.cdist(embedding, embedding, compute_mode=how)
        return (apart.square() + EPS).sqrt()
    embedding = functional.normalize(embedding, dim=-1, eps=EPS)
    square = embedding.square().sum(dim=-1)
    product = embedding @ embedding.transpose(-1, -2)
    apart = square.unsqueeze(-1) + square.unsqueeze(-2)
    apart = apart - 2 * product
    return (apart.clamp(min=0) + EPS).sqrt()


def pair_masks(
    y: torch.Tensor, far: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Which pairs i < j are PP (one class), PN (far classes) and MN (other classes).

    With 5 shots of the paper's four emotions there are 40, 50 and 100 of them; with one shot PP is
    empty.

    Args:
        y: class ids, int64 (..., n).
        far: bool (classes, classes), True where the level is PN; None: everywhere.

    Returns:
        Three masks, bool (..., n, n).
    """
    n = y.shape[-1]
    pair = torch.ones(n, n, dtype=torch.bool, device=y.device).triu(1)
    same = y.unsqueeze(-1) == y.unsqueeze(-2)
    other = pair & ~same
    distant = other if far is None else other & _of_pairs(far.to(y.device), y)
    return pair & same, distant, other & ~distant


def _of_pairs(table: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """What a table (classes, classes) says of each pair of utterances, (..., n, n)."""
    return table[y.unsqueeze(-1), y.unsqueeze(-2)]


def _group(values: torch.Tensor, mask: torch.Tensor, reduction: str) -> torch.Tensor:
    """Mean or sum of `values` (..., n, n) where `mask` is true, (...); 0 where it never is.

    Raises ValueError for another reduction.
    """
    if reduction not in REDUCTIONS:
        raise ValueError(f"reduction = {reduction!r}: choose from {', '.join(REDUCTIONS)}")
    total = torch.where(mask, values, 0.0).sum(dim=(-2, -1))
    if reduction == "sum":
        return total
    number = mask.sum(dim=(-2, -1)).clamp(min=1)
    return total / number
