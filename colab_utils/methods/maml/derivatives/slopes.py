"""Derivatives of the loss of a task's batch by a network's parameters, as constants.

A batch is given in parts (`parts`): with few utterances at a time the feature maps stay in the
processor's cache, and no memory is asked of the system. Of many tasks there is one part.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import torch

from colab_utils.learning.tasks import Batch

Parameters = dict[str, torch.Tensor]


class Answer(NamedTuple):
    """What a network makes of a batch.

    Attributes:
        loss: a scalar; of many tasks (tasks,).
        logits: float (n, classes); of many tasks (tasks, n, classes).
    """

    loss: torch.Tensor
    logits: torch.Tensor


ModelAt = Callable[[Parameters, Batch], Answer]


def parts(batch: Batch, most: int) -> list[Batch]:
    """The batch of a task in equal parts of at most so many utterances; 0: in one part."""
    n = len(batch.y)
    if most == 0 or n <= most:
        return [batch]
    number = math.ceil(n / most)
    labels = batch.y.chunk(number)
    inputs = zip(*[value.chunk(number) for value in batch.inputs], strict=True)
    return [Batch(some, y, batch.active) for some, y in zip(inputs, labels, strict=True)]


def share_of(part: Batch, batch: Sequence[Batch]) -> float:
    """The share of a batch's utterances that a part of it has."""
    return part.y.shape[-1] / sum(one.y.shape[-1] for one in batch)


def together(answers: Sequence[Answer], batch: Sequence[Batch]) -> Answer:
    """The answer to a batch from those to its parts."""
    loss = 0.0
    logits = []
    for answer, part in zip(answers, batch, strict=True):
        share = share_of(part, batch)
        loss = loss + answer.loss * share
        logits.append(answer.logits)
    return Answer(loss, torch.cat(logits, dim=-2))


def slopes_at(
    model_at: ModelAt, theta: Parameters, names: Iterable[str], batch: Sequence[Batch]
) -> tuple[Parameters, Answer]:
    """The gradient of a batch's loss by some parameters.

    Args:
        model_at: the network as a function of its parameters (`inner_loop.as_function`).
        theta: {name: tensor}, all parameters; of many tasks (tasks, ...).
        names: of those by which to differentiate.
        batch: in `parts`.

    Returns:
        {name: gradient}, and the answer, both constants.
    """
    wanted = leaves_of({name: theta[name] for name in names})
    at = detached(theta) | wanted
    total = {name: torch.zeros_like(theta[name]) for name in wanted}
    answers = []
    for part in batch:
        answer = model_at(at, part)
        # many tasks: each has its own parameters, so the sum gives each task its own gradient
        loss = answer.loss.sum() * share_of(part, batch)
        found = torch.autograd.grad(loss, list(wanted.values()), materialize_grads=True)
        for mean, slope in zip(total.values(), found, strict=True):
            mean += slope
        answers.append(Answer(answer.loss.detach(), answer.logits.detach()))
    return total, together(answers, batch)


class Taped(NamedTuple):
    """The slope of a part of a batch, which can be differentiated again.

    Attributes:
        at: all parameters, leaves.
        slopes: {name: gradient} by some of them; they hold the graph.
    """

    at: Parameters
    slopes: Parameters


def taped(
    model_at: ModelAt, theta: Parameters, names: Iterable[str], batch: Sequence[Batch]
) -> Iterator[Taped]:
    """The slopes of all parts of a batch, which add up to that of `slopes_at`, one by one.

    Args:
        model_at: as of `slopes_at`.
        theta: as of `slopes_at`.
        names: as of `slopes_at`.
        batch: as of `slopes_at`.
    """
    at = leaves_of(theta)
    names = list(names)
    wanted = [at[name] for name in names]
    for part in batch:
        loss = model_at(at, part).loss.sum() * share_of(part, batch)
        slopes = torch.autograd.grad(loss, wanted, create_graph=True, materialize_grads=True)
        yield Taped(at, dict(zip(names, slopes, strict=True)))


def curvature(tape: Iterable[Taped], direction: Parameters) -> Parameters:
    """The second derivatives of a batch's loss times a direction, by all parameters.

    They are the gradient of the product of slope and direction (Pearlmutter 1994).

    Args:
        tape: of all parts; what each holds is free afterwards.
        direction: {name: tensor} for every name on the tape.

    Returns:
        {name: tensor} for every parameter, constants.
    """
    total = {}
    for at, slopes in tape:
        along = 0.0
        for name, slope in slopes.items():
            along = along + (slope * direction[name]).sum()
        found = torch.autograd.grad(along, list(at.values()), materialize_grads=True)
        for name, one in zip(at, found, strict=True):
            total[name] = total[name] + one if name in total else one
    return total


def detached(values: Mapping[str, torch.Tensor]) -> Parameters:
    """The same values as constants."""
    return {name: value.detach() for name, value in values.items()}


def leaves_of(values: Mapping[str, torch.Tensor]) -> Parameters:
    """The same values as constants, by which can be differentiated."""
    return {name: value.detach().requires_grad_() for name, value in values.items()}


def number_of_steps(rates: Parameters) -> int:
    """How many inner steps there are; 0 where nothing is adapted."""
    return len(next(iter(rates.values()), ()))
