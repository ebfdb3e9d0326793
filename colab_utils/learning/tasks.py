"""Few-shot tasks as tensors: what inner loop, networks and baselines hand to each other."""

from typing import NamedTuple

import torch
from torch.nn import functional


class Batch(NamedTuple):
    """Utterances of one task, or of several with a leading dimension (tasks, ...) everywhere.

    Attributes:
        inputs: what the network is called with: `(values,)`, float (n, dim), for one vector an
            utterance; `(values, mask)`, float (n, frames, dim) and bool (n, frames), True where
            there is speech, for frames.
        y: class ids, int64 (n,).
        active: the classes that compete in this task, bool (classes,).
    """

    inputs: tuple[torch.Tensor, ...]
    y: torch.Tensor
    active: torch.Tensor


class Tasks(NamedTuple):
    """Support and query of several tasks: every tensor has a leading dimension (tasks, ...)."""

    support: Batch
    query: Batch


def masked_cross_entropy(
    logits: torch.Tensor, embedding: torch.Tensor, batch: Batch
) -> torch.Tensor:
    """Mean cross-entropy over the classes that compete, a scalar.

    Args:
        logits: float (n, classes).
        embedding: not used; other losses of an episode look at it.
        batch: one task's.
    """
    return functional.cross_entropy(logits.masked_fill(~batch.active, float("-inf")), batch.y)


def probabilities(logits: torch.Tensor, active: torch.Tensor) -> torch.Tensor:
    """Softmax over the classes that compete; the others get 0.

    Args:
        logits: float (..., n, classes).
        active: bool (..., classes).

    Returns:
        A tensor of the shape of `logits`.
    """
    return torch.softmax(logits.masked_fill(~active.unsqueeze(-2), float("-inf")), dim=-1)


def accuracy(scores: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Share of right answers in each task.

    Args:
        scores: float (tasks, ..., n, classes).
        y: class ids (tasks, n).

    Returns:
        float64 (tasks, ...).
    """
    between = [1] * (scores.dim() - 3)
    right = scores.argmax(dim=-1) == y.reshape(len(y), *between, -1)
    return right.double().mean(dim=-1)
