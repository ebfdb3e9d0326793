"""The inner loop of MAML on torch.func: steps on the support, and the gradient through them.

Finn et al. 2017 (first and second order), Antoniou et al. 2019 (per-layer per-step rates,
multi-step loss); method_facts §1.4, §6.1, §6.2, §7.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import nn
from torch.func import functional_call, vmap

from colab_utils.learning.tasks import Batch, Tasks, probabilities

Loss = Callable[[torch.Tensor, torch.Tensor, Batch], torch.Tensor]  # (logits, embedding, batch)
Parameters = dict[str, torch.Tensor]


class MetaGradient(NamedTuple):
    """Means over the tasks.

    gradients: of each parameter; rate_gradients: of each rate (steps,); query_losses and
    query_accuracy: after each inner step (steps + 1,), NaN where the step's weight is 0 (the last
    one is always known).
    """

    gradients: Parameters
    rate_gradients: Parameters
    query_losses: torch.Tensor
    query_accuracy: torch.Tensor


def adapt(
    model: nn.Module,
    loss: Loss,
    parameters: Parameters,
    rates: Parameters,
    support: Batch,
    first_order: bool,
    batched: bool = False,
) -> list[Parameters]:
    """theta_k+1 = theta_k - rate_k * gradient of the support loss at theta_k.

    Args:
        model: the network, called with `parameters`.
        loss: of the support.
        parameters: to start from, by name.
        rates: (steps,) for each parameter that is adapted; the others stay.
        support: one task's, or several with a leading dimension.
        first_order: whether gradients are taken for constants.
        batched: parameters and support have a leading dimension (tasks, ...); the gradient of the
            summed losses is that of each task's own.

    Returns:
        The parameters before adaptation and after each inner step, steps + 1 of them.
    """
    fixed = {name: value for name, value in parameters.items() if name not in rates}
    adapted = {name: parameters[name] for name in rates}
    path = [parameters]

    def support_loss(theta: Parameters, batch: Batch) -> torch.Tensor:
        return loss(*functional_call(model, theta, batch.inputs), batch)

    losses = vmap(support_loss) if batched else support_loss
    for k in range(number_of_steps(rates)):
        with torch.enable_grad():
            at = adapted
            if first_order:
                at = {name: value.detach().requires_grad_() for name, value in adapted.items()}
            total = losses({**fixed, **at}, support).sum()
            slopes = torch.autograd.grad(
                total,
                list(at.values()),
                create_graph=not first_order,
                materialize_grads=True,
                allow_unused=True,
            )
        stepped = {}
        for (name, value), slope in zip(adapted.items(), slopes, strict=True):
            # value - rate * slope, in one pass
            stepped[name] = torch.addcmul(value, rates[name][k], slope, value=-1)
        adapted = stepped
        path.append({**fixed, **adapted})
    return path


def query_value(
    model: nn.Module, loss: Loss, theta: Parameters, query: Batch
) -> tuple[torch.Tensor, torch.Tensor]:
    """Loss and accuracy of one task's query at the parameters theta, both scalars."""
    logits, embedding = functional_call(model, theta, query.inputs)
    found = logits.detach().masked_fill(~query.active, float("-inf")).argmax(dim=-1)
    return loss(logits, embedding, query), (found == query.y).to(logits.dtype).mean()


def outer_objective(
    model: nn.Module,
    loss: Loss,
    parameters: Parameters,
    rates: Parameters,
    tasks: Tasks,
    step_weights: torch.Tensor,
    counted: Sequence[int],
    first_order: bool,
    batched: bool,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """What the outer loop minimises: the weighted query losses after the inner steps `counted`.

    Args:
        model, loss, parameters, rates, first_order: as in `adapt`.
        tasks: one, or several with a leading dimension (`batched`).
        step_weights: (steps + 1,), of the query loss after k steps.
        counted: the steps after which the query is asked.

    Returns:
        The weighted sum, a scalar; the loss and the accuracy after each counted step (counted,),
        without gradient. All are summed over the tasks.
    """
    if batched:
        parameters = for_each_task(parameters, len(tasks.query.y))
    path = adapt(model, loss, parameters, rates, tasks.support, first_order, batched)

    def value(theta: Parameters, query: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        return query_value(model, loss, theta, query)

    asked = vmap(value) if batched else value
    losses, accuracies = [], []
    for k in counted:
        query_loss, accuracy = asked(path[k], tasks.query)
        losses.append(query_loss.sum())
        accuracies.append(accuracy.sum())
    losses = torch.stack(losses)
    weighted = (step_weights[list(counted)].to(losses) * losses).sum()
    return weighted, losses.detach(), torch.stack(accuracies)


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
    """The gradient of the mean task objective by the model's parameters and by the rates.

    The model itself is left as it is.

    Args:
        model: a network called with the inputs of a batch; it gives logits and embedding.
        loss: of the inner steps and of the outer loop.
        rates: {parameter: (steps,)} of the adapted ones.
        tasks: with a leading dimension (tasks, ...).
        step_weights: float (steps + 1,), the weight of the query loss after k steps.
        first_order: whether gradients of the inner steps are taken for constants.
        tasks_at_once: how many are batched by vmap; memory grows with it, not with the
            meta-batch. 1 needs no vmap, which a loss of pytorch-metric-learning could not do with.
    """
    theta = leaves_of(dict(model.named_parameters()))
    alpha = leaves_of(rates)
    leaves = [*theta.values(), *alpha.values()]
    number = len(tasks.query.y)
    last = len(step_weights) - 1
    batched = tasks_at_once > 1
    counted = counted_steps(step_weights)
    total = [torch.zeros_like(value) for value in leaves]
    seen = leaves[0].new_full((2, last + 1), float("nan"))
    seen[:, counted] = 0
    for first in range(0, number, tasks_at_once):
        which = slice(first, first + tasks_at_once) if batched else first
        value, losses, accuracies = outer_objective(
            model,
            loss,
            theta,
            alpha,
            some_tasks(tasks, which),
            step_weights,
            counted,
            first_order,
            batched,
        )
        slopes = torch.autograd.grad(value, leaves, materialize_grads=True, allow_unused=True)
        for mean, slope in zip(total, slopes, strict=True):
            mean += slope / number
        seen[:, counted] += torch.stack([losses, accuracies]) / number
    gradients = dict(zip(theta, total[: len(theta)], strict=True))
    rate_gradients = dict(zip(alpha, total[len(theta) :], strict=True))
    return MetaGradient(gradients, rate_gradients, seen[0], seen[1])


@torch.no_grad()
def adapted_scores(
    model: nn.Module, loss: Loss, rates: Parameters, tasks: Tasks, *, tasks_at_once: int = 1
) -> torch.Tensor:
    """Probabilities of the query before adaptation and after each inner step.

    There is no meta-gradient; arguments as of `meta_gradient`.

    Returns:
        float (tasks, steps + 1, n_query, classes).
    """
    parameters = {name: value.detach() for name, value in model.named_parameters()}
    rates = {name: value.detach() for name, value in rates.items()}
    batched = tasks_at_once > 1

    def logits(theta: Parameters, query: Batch) -> torch.Tensor:
        return functional_call(model, theta, query.inputs)[0]

    asked = vmap(logits) if batched else logits
    number = len(tasks.query.y)
    found = []
    for first in range(0, number, tasks_at_once):
        which = slice(first, first + tasks_at_once) if batched else first
        chunk = some_tasks(tasks, which)
        start = for_each_task(parameters, len(chunk.query.y)) if batched else parameters
        path = adapt(model, loss, start, rates, chunk.support, True, batched)
        by_step = torch.stack([asked(theta, chunk.query) for theta in path], dim=-3)
        found.append(probabilities(by_step, chunk.query.active.unsqueeze(-2)))
    return torch.cat(found) if batched else torch.stack(found)


def best_tasks_at_once(model: nn.Module, device: str, n_tasks: int) -> int:
    """How many tasks to batch: all where that is faster, else one.

    One for convolutions on a CPU, where the tasks' own weights turn them into a grouped convolution
    (measured: 2.7 times slower than one by one).
    """
    convolutional = any(isinstance(module, nn.Conv2d) for module in model.modules())
    slower = convolutional and not str(device).startswith("cuda")
    return 1 if slower or not getattr(model, "vmappable", True) else n_tasks


# --- small steps ----------------------------------------------------------------------------------


def some_tasks(tasks: Tasks, which: slice | int) -> Tasks:
    """Some of the tasks (a slice), or one of them without the leading dimension (an int)."""
    return torch.utils._pytree.tree_map(lambda value: value[which], tasks)


def leaves_of(values: Parameters) -> Parameters:
    """The same values as leaves of a graph of their own."""
    return {name: value.detach().requires_grad_() for name, value in values.items()}


def for_each_task(parameters: Parameters, number: int) -> Parameters:
    """The same parameters with a leading dimension (number, ...), without a copy."""
    return {name: value.expand(number, *value.shape) for name, value in parameters.items()}


def counted_steps(step_weights: torch.Tensor) -> list[int]:
    """The inner steps after which the query is asked: those with a weight, and the last."""
    last = len(step_weights) - 1
    return [k for k in range(last + 1) if step_weights[k] > 0 or k == last]


def number_of_steps(rates: Parameters) -> int:
    """How many inner steps there are; 0 where nothing is adapted."""
    return len(next(iter(rates.values()), ()))
