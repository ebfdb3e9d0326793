"""Few-shot tasks as tensors: what the inner loop, the networks and the baselines in episodes hand
to each other.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch.nn import functional


class Batch(NamedTuple):
    """Utterances of one task, or of several with a leading dimension (tasks, ...) on every tensor.

    inputs: what the network is called with: `(values,)`, float (n, dim), for one vector an
    utterance; `(values, mask)`, float (n, frames, dim) and bool (n, frames), True where there is
    speech, for frames. y: class ids, int64 (n,). active: bool (classes,), the classes that compete
    in this task.
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
    """Softmax over the classes that compete, of the shape of `logits` (..., n, classes); the others
    get 0. active: (..., classes).
    """
    return torch.softmax(logits.masked_fill(~active.unsqueeze(-2), float("-inf")), dim=-1)


def accuracy(scores: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Share of right answers in each task, float (tasks, ...): scores (tasks, ..., n, classes), y
    (tasks, n).
    """
    y = y.reshape(len(y), *[1] * (scores.dim() - 3), y.shape[-1])
    return (scores.argmax(dim=-1) == y).to(torch.float64).mean(dim=-1)
