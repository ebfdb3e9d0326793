"""Pooled training on all source utterances, and k-shot fine-tuning from there: the plain alternative to meta-learning."""
from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import nn

from colab_utils.learning.tasks import Tasks, accuracy, cross_entropy
from colab_utils.methods.maml.inner_loop import adapted_scores, best_tasks_at_once
from colab_utils.settings import SettingError

PARTS = ("all", "head")
_TASKS_AT_ONCE = 64          # each holds its own weights after every step


def with_new_head(module: nn.Module, n: int) -> nn.Module:
    """A copy of the network whose head has `n` outputs and is 0, for permuted class ids: it guesses until it is fine-tuned."""
    module = copy.deepcopy(module)
    head = module.head
    head.weight, head.bias = nn.Parameter(head.weight.new_zeros(n, head.in_features)), nn.Parameter(head.bias.new_zeros(n))
    head.out_features = n
    return module


def fine_tune_rates(module: nn.Module, rate: float, steps: int, part: str = "all") -> dict[str, torch.Tensor]:
    """One rate for `steps` gradient steps on all parameters, or on the head alone: {parameter: (steps,)}, for `inner_loop.adapted_scores`.

    Raises SettingError for a part that is not in PARTS.
    """
    if part not in PARTS:
        raise SettingError(f"part = {part!r}: fine-tune {' or '.join(map(repr, PARTS))}")
    return {name: torch.full((steps,), rate, dtype=value.dtype, device=value.device) for name, value in module.named_parameters()
            if part == "all" or "head" in name.split(".")[-2:-1]}


def choose_fine_tuning(module: nn.Module, valid: Tasks, rates: Sequence[float], steps: int,
                       parts: Sequence[str] = PARTS) -> tuple[float, str, int, float]:
    """The rate, the part, the number of steps (at most `steps`, at least one) and the mean accuracy that do best in the validation episodes.

    Of equal ones the first part, rate and smallest number. The episodes are of the source: the target takes no part in the choice.
    Raises SettingError where there is nothing to choose from.
    """
    if not rates or not parts or steps < 1:
        raise SettingError(f"rates = {tuple(rates)}, parts = {tuple(parts)}, steps = {steps}: fine-tuning needs a rate, a part and a step at least")
    at_once = best_tasks_at_once(module, str(valid.query.y.device), min(_TASKS_AT_ONCE, len(valid.query.y)))
    best = (0.0, "", 0, -1.0)
    for part in parts:
        for rate in rates:
            scores = adapted_scores(module, cross_entropy, fine_tune_rates(module, rate, steps, part), valid, tasks_at_once=at_once)
            means = accuracy(scores, valid.query.y).mean(dim=0)[1:]
            top = int(means.argmax())
            if float(means[top]) > best[3]:
                best = (rate, part, top + 1, float(means[top]))
    return best
