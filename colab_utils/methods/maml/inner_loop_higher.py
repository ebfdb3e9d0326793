"""The second engine of the inner loop: the library `higher` (Grefenstette et al. 2019)."""

from collections.abc import Sequence
from typing import Any

import higher
import torch
from torch import nn

from colab_utils.learning.tasks import Tasks
from colab_utils.methods.maml.inner_loop import (
    Answer,
    Loss,
    MetaGradient,
    Parameters,
    leaves_of,
    portions,
)


def meta_gradient(
    model: nn.Module,
    loss: Loss,
    rates: Parameters,
    tasks: Tasks,
    step_weights: torch.Tensor,
    first_order: bool = False,
    recompute: bool = False,
) -> MetaGradient:
    """What `inner_loop.meta_gradient` gives, task by task: `higher` has no batched tasks.

    Raises ValueError for `recompute`: `higher` keeps all steps.
    """
    if recompute:
        raise ValueError("higher keeps all inner steps: recompute is of engine = 'func'")
    theta = dict(model.named_parameters())
    alpha = leaves_of(rates)
    # The order in which `higher` takes the rates is that of the parameters.
    by_parameter = [alpha[name] for name in theta if name in rates]
    groups = [{"params": [value]} for name, value in theta.items() if name in rates]
    optimiser = torch.optim.SGD(groups or list(theta.values())[:1], lr=0.0)
    found = MetaGradient(theta, alpha, len(tasks.query.y))
    for task in portions(tasks, 1):
        # In first order, too, the steps themselves are kept: the rates learn through them.
        with higher.innerloop_ctx(model, optimiser, copy_initial_weights=False) as (fast, sgd):
            objective, answer = _objective(
                fast, sgd, loss, by_parameter, task, step_weights.tolist(), first_order
            )
            leaves = [*fast.parameters(time=0), *alpha.values()]
            slopes = torch.autograd.grad(objective, leaves, materialize_grads=True)
        found.add(slopes, answer, task.query)
    return found


def _objective(
    fast: nn.Module,
    sgd: Any,
    loss: Loss,
    rates: Sequence[torch.Tensor],
    task: Tasks,
    step_weights: Sequence[float],
    first_order: bool,
) -> tuple[torch.Tensor, Answer]:
    """The outer objective of one task; `fast` is adapted on the way."""
    callback = _constants if first_order else None
    objective = 0.0
    for k, weight in enumerate(step_weights):
        if weight > 0:
            logits, embedding = fast(*task.query.inputs)
            answer = Answer(loss(logits, embedding, task.query), logits)
            objective = objective + weight * answer.loss
        if rates and k < len(rates[0]):
            support_loss = loss(*fast(*task.support.inputs), task.support)
            step_rates = {"lr": [rate[k] for rate in rates]}
            sgd.step(support_loss, grad_callback=callback, override=step_rates)
    return objective, answer


def _constants(gradients: Sequence[torch.Tensor | None]) -> list[torch.Tensor | None]:
    """The gradients without their graph."""
    return [None if one is None else one.detach() for one in gradients]
