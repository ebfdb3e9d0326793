"""The second engine of the inner loop: the library `higher` (Grefenstette et al. 2019)."""

from __future__ import annotations

from collections.abc import Sequence

import higher
import torch
from torch import nn

from colab_utils.learning.tasks import Tasks, accuracy
from colab_utils.methods.maml.inner_loop import (
    Loss,
    MetaGradient,
    Parameters,
    counted_steps,
    leaves_of,
    some_tasks,
)


def meta_gradient(
    model: nn.Module,
    loss: Loss,
    rates: Parameters,
    tasks: Tasks,
    step_weights: torch.Tensor,
    *,
    first_order: bool = False,
    tasks_at_once: int = 1,
) -> MetaGradient:
    """What `inner_loop.meta_gradient` gives, task by task: `higher` has no batched tasks."""
    number = len(tasks.query.y)
    last = len(step_weights) - 1
    counted = counted_steps(step_weights)
    parameters = list(model.parameters())
    names = [name for name, _ in model.named_parameters()]
    adapted = [name for name in names if name in rates]
    alpha = leaves_of(rates)
    total = [torch.zeros_like(value) for value in (*parameters, *alpha.values())]
    seen = torch.full(
        (2, last + 1), float("nan"), dtype=parameters[0].dtype, device=parameters[0].device
    )
    seen[:, counted] = 0
    groups = [{"params": [value]} for name, value in model.named_parameters() if name in rates]
    optimiser = torch.optim.SGD(groups or parameters[:1], lr=0.0)
    for i in range(number):
        task = some_tasks(tasks, i)
        value = 0.0
        # First order: each step's gradient is a constant, but the step itself is kept, since the
        # rates learn through it.
        with higher.innerloop_ctx(
            model, optimiser, copy_initial_weights=False, track_higher_grads=True
        ) as (fast, steps):
            for k in range(last + 1):
                if k in counted:
                    logits, embedding = fast(*task.query.inputs)
                    query = loss(logits, embedding, task.query)
                    value = value + step_weights[k].to(query) * query
                    scores = logits.detach().masked_fill(~task.query.active, float("-inf"))
                    right = accuracy(scores[None], task.query.y[None])[0]
                    seen[0, k] += query.detach() / number
                    seen[1, k] += right.to(seen) / number
                if k < last and rates:
                    support = loss(*fast(*task.support.inputs), task.support)
                    steps.step(
                        support,
                        grad_callback=_constants if first_order else None,
                        override={"lr": [alpha[name][k] for name in adapted]},
                    )
            leaves = [*fast.parameters(time=0), *alpha.values()]
            found = torch.autograd.grad(value, leaves, allow_unused=True)
        for mean, one in zip(total, found, strict=True):
            if one is not None:
                mean += one / number
    gradients = dict(zip(names, total, strict=False))
    rate_gradients = dict(zip(alpha, total[len(names) :], strict=True))
    return MetaGradient(gradients, rate_gradients, seen[0], seen[1])


def _constants(gradients: Sequence[torch.Tensor | None]) -> list[torch.Tensor | None]:
    """The gradients without their graph."""
    return [None if one is None else one.detach() for one in gradients]
