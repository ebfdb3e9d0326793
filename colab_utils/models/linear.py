"""Linear heads: multinomial logistic regression about a prior, one problem or many at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

_FLAT = 1e-7  # largest slope at the optimum
_MOST_STEPS = 2000
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
        x: features and a 1, float64 (problems, n, dim + 1), or the same for all (n, dim + 1).
        truth: 1 for the class of an utterance, else 0, float64 (problems, n, classes).
        mass: what an utterance counts, float64 (problems, n).
        start: logits to which those of the weights are added, as `truth`.
    """

    x: torch.Tensor
    truth: torch.Tensor
    mass: torch.Tensor
    start: torch.Tensor

    @classmethod
    def of(cls, x: np.ndarray, truth: np.ndarray, mass: np.ndarray, start: np.ndarray) -> Known:
        """From features over the root of their number, float64 (problems, n, dim) or (n, dim)."""
        with_one = np.concatenate([x, np.ones_like(x[..., :1])], axis=-1)
        parts = with_one, truth.astype(np.float64), mass, start
        return cls(*(torch.from_numpy(part) for part in parts))

    def slope(self, weight: torch.Tensor) -> torch.Tensor:
        """Of the cross-entropy by the weights (problems, dim + 1, classes)."""
        axes = "nd"
        if self.x.dim() == 3:
            axes = "pnd"
        logits = torch.einsum(f"{axes},pdc->pnc", self.x, weight)
        p = torch.softmax(self.start + logits, dim=2)
        wrong = self.mass.unsqueeze(2) * (p - self.truth)
        return torch.einsum(f"{axes},pnc->pdc", self.x, wrong)

    def curvature(self) -> torch.Tensor:
        """At least the second derivative for any weights (Boehning 1992, Ann. Inst. Stat. Math.).

        float64 (problems, dim + 1, dim + 1); each class has this, and nothing between classes.
        """
        return 0.5 * (self.x * self.mass.unsqueeze(2)).mT @ self.x


def least(known: Sequence[Known], strength: float) -> torch.Tensor:
    """Weights (problems, dim + 1, classes) of least cross-entropy + strength / 2 ||weights||^2.

    The last row, the bias, is free. Steps as long as the curvature allows, accelerated (Nesterov
    1983), and slowed down wherever they went uphill (O'Donoghue & Candes 2015).
    """
    curvature = sum(one.curvature() for one in known)
    penalty = torch.full_like(curvature[0, 0], strength)
    penalty[-1] = 0.0
    inverse = torch.linalg.inv(curvature + penalty.diag())
    found = ahead = curvature.new_zeros(*curvature.shape[:2], known[0].truth.shape[2])
    pace = curvature.new_ones(len(curvature), 1, 1)
    for _ in range(_MOST_STEPS):
        slope = penalty.unsqueeze(1) * ahead + sum(one.slope(ahead) for one in known)
        if slope.abs().max() < _FLAT:
            break
        lower = ahead - inverse @ slope
        uphill = (slope * (lower - found)).sum(dim=(1, 2), keepdim=True) > 0
        pace = pace.masked_fill(uphill, 1.0)
        faster = (1 + (1 + 4 * pace.square()).sqrt()) / 2
        ahead = lower + (pace - 1) / faster * (lower - found)
        found, pace = lower, faster
    return ahead


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
