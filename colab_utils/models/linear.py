"""Linear heads: multinomial logistic regression about a prior, one problem or many at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

_FLAT = 1e-7  # largest slope at the optimum
_MOST_STEPS = 2000
_TINY = 1e-300  # least divisor: at the optimum nothing is divided by nothing
_NOTHING = 1e-13  # of the largest square: less is what rounding leaves of dependent utterances


class LinearHead(NamedTuple):
    """Logits x @ weight / sqrt(dim) + bias; of several heads all have a leading dimension.

    The root makes a strength of the penalty mean the same for 75 features and for 700.

    Attributes:
        weight: float64 (dim, classes).
        bias: float64 (classes,).
    """

    weight: np.ndarray
    bias: np.ndarray

    def logits(self, x: np.ndarray) -> np.ndarray:
        """float64 (..., n, classes) of x (..., n, dim)."""
        return x @ self.weight / np.sqrt(x.shape[-1]) + self.bias[..., None, :]

    def of(self, classes: np.ndarray) -> LinearHead:
        """The head of some classes by number, int (ways,); as many heads of int (heads, ways)."""
        weight = self.weight.T[classes].swapaxes(-1, -2)
        return LinearHead(weight, self.bias[classes])


def balanced(y: np.ndarray, classes: int) -> np.ndarray:
    """Weights of utterances, float64 (n,), sum 1: each class that occurs has the same mass."""
    return balanced_masses(np.eye(classes)[y][None])[0]


def balanced_masses(truth: np.ndarray) -> np.ndarray:
    """What utterances count (problems, n), by their classes (problems, n, classes), 0 or 1.

    Each class that occurs in a problem has the same mass, 1 in all; who has no class has none.
    """
    counts = truth.sum(axis=1, keepdims=True)
    occurring = np.count_nonzero(counts, axis=2)
    return (truth / np.maximum(counts, 1)).sum(axis=2) / occurring


class Known(NamedTuple):
    """Labelled utterances of several problems.

    Attributes:
        x: features and a 1, float64 (problems, dim + 1, n), or the same for all (dim + 1, n).
        truth: 1 for the class of an utterance, else 0, float64 (problems, classes, n).
        mass: what an utterance counts, float64 (problems, 1, n).
        start: logits to which those of the weights are added, as `truth`.
    """

    x: torch.Tensor
    truth: torch.Tensor
    mass: torch.Tensor
    start: torch.Tensor

    @classmethod
    def of(cls, x: np.ndarray, truth: np.ndarray, mass: np.ndarray, start: np.ndarray) -> Known:
        """From utterances by rows.

        Args:
            x: features over the root of their number, float64 (problems, n, dim) or (n, dim).
            truth: (problems, n, classes).
            mass: (problems, n).
            start: as `truth`.
        """
        ones = np.ones_like(x[..., :1])
        with_one = np.concatenate([x, ones], axis=-1)
        parts = []
        for by_rows in (with_one, truth, mass[..., None], start):
            # utterances side by side in memory: softmax and products run along them
            turned = by_rows.swapaxes(-1, -2)
            whole = np.ascontiguousarray(turned, dtype=float)
            parts.append(torch.from_numpy(whole))
        return cls(*parts)

    def slope(self, p: torch.Tensor) -> torch.Tensor:
        """Of the cross-entropy by the weights (problems, classes, dim + 1), of probabilities."""
        return self.mass * (p - self.truth) @ self.x.mT

    def bend(self, p: torch.Tensor, change: torch.Tensor) -> torch.Tensor:
        """Second derivative of the cross-entropy where logits change so, (problems, 1, 1)."""
        mean = (p * change).sum(dim=1, keepdim=True)
        spread = self.mass * p * (change - mean).square()
        return spread.sum(dim=(1, 2), keepdim=True)

    def curvature(self) -> torch.Tensor:
        """At least the second derivative for any weights (Boehning 1992, Ann. Inst. Stat. Math.).

        float64 (problems, dim + 1, dim + 1); each class has this, and nothing between classes.
        """
        return 0.5 * (self.x * self.mass) @ self.x.mT


def least(known: Sequence[Known], strength: float) -> torch.Tensor:
    """Weights (problems, dim + 1, classes) of least cross-entropy + strength / 2 ||weights||^2.

    The last row, the bias, is free. Conjugate gradients (Polak & Ribiere 1969) from what the bound
    of the curvature holds to be the way down.
    """
    curvature = sum(one.curvature() for one in known)
    penalty = torch.full_like(curvature[0, 0], strength)
    penalty[-1] = 0.0
    inverse = torch.linalg.inv(curvature + penalty.diag())
    weight = curvature.new_zeros(len(curvature), known[0].truth.shape[1], len(penalty))
    logits = [one.start for one in known]
    before = along = torch.zeros_like(weight)
    fall = curvature.new_ones(len(curvature), 1, 1)
    for _ in range(_MOST_STEPS):
        p = [one.softmax(dim=1) for one in logits]
        parts = zip(known, p, strict=True)
        slope = penalty * weight + sum(one.slope(q) for one, q in parts)
        steep = slope.abs().amax(dim=(1, 2), keepdim=True) >= _FLAT
        if not steep.any():
            break
        way = -slope @ inverse
        kept = _inner(way, before - slope) / fall
        along = way + kept.clamp(min=0.0) * along
        along = torch.where(_inner(along, slope) < 0, along, way)
        before, fall = slope, (-_inner(way, slope)).clamp(min=_TINY)
        change = [along @ one.x for one in known]
        parts = zip(known, p, change, strict=True)
        bend = _inner(penalty * along, along) + sum(one.bend(q, c) for one, q, c in parts)
        # who is there stays there: each problem ends as if it were alone
        step = steep * _damped(-_inner(along, slope) / bend.clamp(min=_TINY), change)
        weight = weight + step * along
        logits = [one + step * c for one, c in zip(logits, change, strict=True)]
    return weight.mT


def _inner(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Inner products of each problem, (problems, 1, 1)."""
    return (one * other).sum(dim=(1, 2), keepdim=True)


def _damped(newton: torch.Tensor, change: Sequence[torch.Tensor]) -> torch.Tensor:
    """Newton's steps along a line, (problems, 1, 1), shortened so that they never go too far.

    Where logits of two classes move apart by `widest` at most, the second derivative grows no
    faster than exp(widest step) (Bach 2010, Electronic Journal of Statistics, proposition 1).
    """
    apart = [one.amax(dim=1) - one.amin(dim=1) for one in change]
    widest = torch.cat(apart, dim=1).amax(dim=1)[:, None, None].clamp(min=_TINY)
    return torch.log1p(widest * newton) / widest


def linear_head(
    x: np.ndarray,
    y: np.ndarray,
    classes: int,
    strength: float,
    prior: LinearHead | None = None,
    mass: np.ndarray | None = None,
) -> LinearHead:
    """Multinomial logistic regression whose weights stay near those of a prior.

    The least of sum_i mass_i CE(logits_i, y_i) + strength / 2 ||weight - prior.weight||^2: the most
    probable weights where they are normal about the prior's (Chelba & Acero 2004, Adaptation of
    maximum entropy capitalizer, EMNLP). The bias is free. Without a prior: about 0, as usual.

    Args:
        x: standardised features, float (n, dim).
        y: class ids, int (n,).
        classes: how many there are.
        strength: of the penalty.
        prior: such as the head of the source.
        mass: what each utterance counts, (n,), sum 1; default: every class that occurs the same.

    Returns:
        The head.
    """
    truth = np.eye(classes)[y][None]
    if prior is None:
        prior = LinearHead(np.zeros((x.shape[1], classes)), np.zeros(classes))
    mass = balanced_masses(truth) if mass is None else mass[None]
    several = LinearHead(prior.weight[None], prior.bias[None])
    found = linear_heads(np.asarray(x, dtype=np.float64)[None], truth, mass, several, strength)
    return LinearHead(found.weight[0], found.bias[0])


def linear_heads(
    x: np.ndarray, truth: np.ndarray, mass: np.ndarray, prior: LinearHead, strength: float
) -> LinearHead:
    """`linear_head` of several problems at once.

    Args:
        x: standardised features, float64 (problems, n, dim).
        truth: as of `Known`.
        mass: as of `Known`.
        prior: as many heads.
        strength: of the penalty.

    Returns:
        As many heads.
    """
    scaled = x / np.sqrt(x.shape[2])
    back = None
    if x.shape[2] > x.shape[1]:
        # the weights differ from the prior's in the span of the utterances alone
        within, back = _span(scaled)
    else:
        within = scaled
    change = least([Known.of(within, truth, mass, prior.logits(x))], strength).numpy()
    weight, bias = change[:, :-1], change[:, -1]
    if back is not None:
        weight = scaled.swapaxes(1, 2) @ (back @ weight)
    return LinearHead(prior.weight + weight, prior.bias + bias)


def _span(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates of utterances (problems, n, dim) in an orthonormal basis of their span.

    Returns:
        The coordinates, float64 (problems, n, n), and what makes the basis of the utterances:
        basis = x.T @ back, (problems, n, n). Where utterances depend on others its last are 0.
    """
    products = x @ x.swapaxes(1, 2)
    squares, vectors = np.linalg.eigh(products)
    squares = squares[:, None]
    least = _NOTHING * squares.max(axis=2, keepdims=True)
    there = squares > least
    lengths = np.sqrt(np.where(there, squares, 1.0))
    vectors = np.where(there, vectors, 0.0)
    return vectors * lengths, vectors / lengths
