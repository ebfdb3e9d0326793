"""The inner loop of MAML on torch.func: adaptation by gradient steps, and the meta-gradient through them.

Finn et al. 2017 (first and second order), Antoniou et al. 2019 (per-layer per-step rates, multi-step loss); method_facts §1.4, §6.1, §6.2, §7.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import nn
from torch.func import functional_call, grad, vmap

from colab_utils.methods.tasks import Batch, Tasks, probabilities

Loss = Callable[[torch.Tensor, torch.Tensor, Batch], torch.Tensor]      # (logits, embedding, batch) -> scalar
Parameters = dict[str, torch.Tensor]


class MetaGradient(NamedTuple):
    """Means over the tasks: the meta-gradient of each parameter and of each rate (steps,), and the query loss and accuracy (steps + 1,)
    after each inner step, NaN where the step's weight is 0 (the last one is always known)."""
    gradients: Parameters
    rate_gradients: Parameters
    query_losses: torch.Tensor
    query_accuracy: torch.Tensor


def adapt(model: nn.Module, loss: Loss, parameters: Parameters, rates: Parameters, support: Batch, first_order: bool,
          batched: bool = True) -> list[Parameters]:
    """The parameters before adaptation and after each inner step (steps + 1): theta_k+1 = theta_k - rate_k * gradient of the support loss.

    rates: (steps,) for each parameter that is adapted; the others stay. First order: the gradients are taken for constants. batched: inside
    a transform of torch.func; else the same gradients by torch.autograd, which is quicker for one task.
    """
    fixed = {name: value for name, value in parameters.items() if name not in rates}
    adapted = {name: parameters[name] for name in rates}
    path = [parameters]

    def support_loss(moving: Parameters, still: Parameters) -> torch.Tensor:
        return loss(*functional_call(model, {**still, **moving}, support.inputs), support)

    for k in range(len(next(iter(rates.values()), ()))):
        at = (_constant(adapted), _constant(fixed)) if first_order else (adapted, fixed)
        slopes = grad(support_loss)(*at) if batched else _slopes(support_loss, *at, create_graph=not first_order)
        adapted = {name: value - rates[name][k] * slopes[name] for name, value in adapted.items()}
        path.append({**fixed, **adapted})
    return path


def _slopes(support_loss: Callable, moving: Parameters, still: Parameters, create_graph: bool) -> Parameters:
    """The gradient of the support loss by the moving parameters, by torch.autograd."""
    with torch.enable_grad():
        moving = moving if create_graph else {name: value.requires_grad_() for name, value in moving.items()}
        found = torch.autograd.grad(support_loss(moving, still), list(moving.values()), create_graph=create_graph, materialize_grads=True,
                                    allow_unused=True)
    return dict(zip(moving, found, strict=True))


def _constant(parameters: Parameters) -> Parameters:
    """The same values, through which no gradient flows."""
    return {name: value.detach() for name, value in parameters.items()}


def task_objective(model: nn.Module, loss: Loss, query_loss: Loss, parameters: Parameters, rates: Parameters, task: Tasks,
                   step_weights: torch.Tensor, counted: list[int], first_order: bool,
                   batched: bool = True) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
    """What the outer loop minimises for one task: the weighted sum of the query losses after the inner steps `counted`.

    Also the loss and the accuracy of each of these steps, both (counted,).
    """
    path = adapt(model, loss, parameters, rates, task.support, first_order, batched)
    losses, accuracies = [], []
    for k in counted:
        logits, embedding = functional_call(model, path[k], task.query.inputs)
        losses.append(query_loss(logits, embedding, task.query))
        found = logits.detach().masked_fill(~task.query.active, float("-inf")).argmax(dim=-1)
        accuracies.append((found == task.query.y).to(logits.dtype).mean())
    losses = torch.stack(losses)
    return (step_weights[counted].to(losses) * losses).sum(), (losses, torch.stack(accuracies))


def meta_gradient(model: nn.Module, loss: Loss, rates: Parameters, tasks: Tasks, step_weights: torch.Tensor, *, query_loss: Loss | None = None,
                  first_order: bool = False, engine: str = "func", tasks_at_once: int = 1) -> MetaGradient:
    """The gradient of the mean task objective by the model's parameters and by the rates; the model itself is left as it is.

    loss: of the inner steps, and of the outer loop where query_loss is None. rates: {parameter: (steps,)} of the adapted ones. step_weights:
    float (steps + 1,), the weight of the query loss after k steps. tasks_at_once: how many are batched by vmap; memory grows with
    it, not with the meta-batch; 1 needs no vmap, which a loss of pytorch-metric-learning could not do with. engine: "func" or "higher".
    """
    if engine == "higher":
        from colab_utils.methods.inner_loop_higher import meta_gradient as by_higher  # late: the second engine is optional
        return by_higher(model, loss, rates, tasks, step_weights, query_loss=query_loss, first_order=first_order)
    parameters = {name: value.detach() for name, value in model.named_parameters()}
    rates = {name: value.detach() for name, value in rates.items()}
    number, last = len(tasks.query.y), len(step_weights) - 1
    counted = sorted({k for k in range(last + 1) if step_weights[k] > 0} | {last})

    def objective(theta: Parameters, alpha: Parameters, task: Tasks) -> tuple:
        return task_objective(model, loss, query_loss or loss, theta, alpha, task, step_weights, counted, first_order)

    def single(theta: Parameters, alpha: Parameters, task: Tasks) -> tuple:
        leaves = [{name: value.detach().requires_grad_() for name, value in values.items()} for values in (theta, alpha)]
        value, seen = task_objective(model, loss, query_loss or loss, *leaves, task, step_weights, counted, first_order, batched=False)
        found = iter(torch.autograd.grad(value, [one for values in leaves for one in values.values()], materialize_grads=True, allow_unused=True))
        return tuple({name: next(found) for name in values} for values in leaves), tuple(part.detach() for part in seen)

    def batch_objective(theta: Parameters, alpha: Parameters, chunk: Tasks) -> tuple:
        values, seen = vmap(objective, in_dims=(None, None, 0))(theta, alpha, chunk)
        return values.sum(), tuple(part.sum(dim=0) for part in seen)

    total = None
    for first in range(0, number, tasks_at_once):
        if tasks_at_once == 1:
            found = single(parameters, rates, some_tasks(tasks, first))
        else:
            chunk = some_tasks(tasks, slice(first, first + tasks_at_once))
            found = grad(batch_objective, argnums=(0, 1), has_aux=True)(parameters, rates, chunk)
        total = found if total is None else torch.utils._pytree.tree_map(torch.add, total, found)
    (gradients, rate_gradients), (losses, accuracies) = torch.utils._pytree.tree_map(lambda value: value / number, total)
    seen = torch.full((2, last + 1), float("nan"), dtype=losses.dtype, device=losses.device)
    seen[0, counted], seen[1, counted] = losses, accuracies
    return MetaGradient(gradients, rate_gradients, seen[0], seen[1])


def some_tasks(tasks: Tasks, which: slice | int) -> Tasks:
    """Some of the tasks (a slice), or one of them without the leading dimension (an int)."""
    return torch.utils._pytree.tree_map(lambda value: value[which], tasks)


@torch.no_grad()
def adapted_scores(model: nn.Module, loss: Loss, rates: Parameters, tasks: Tasks, *, tasks_at_once: int = 1,
                   parameters: Parameters | None = None) -> torch.Tensor:
    """Probabilities of the query before adaptation and after each inner step: float (tasks, steps + 1, n_query, classes).

    parameters: to adapt from (default: the model's own). No meta-gradient; otherwise as `meta_gradient`.
    """
    parameters = {name: value.detach() for name, value in (parameters or dict(model.named_parameters())).items()}
    rates = {name: value.detach() for name, value in rates.items()}

    def scores(task: Tasks) -> torch.Tensor:
        path = adapt(model, loss, parameters, rates, task.support, first_order=True, batched=tasks_at_once > 1)
        logits = torch.stack([functional_call(model, theta, task.query.inputs)[0] for theta in path])
        return probabilities(logits, task.query.active)

    number = len(tasks.query.y)
    if tasks_at_once == 1:
        return torch.stack([scores(some_tasks(tasks, i)) for i in range(number)])
    return torch.cat([vmap(scores)(some_tasks(tasks, slice(i, i + tasks_at_once))) for i in range(0, number, tasks_at_once)])


def best_tasks_at_once(model: nn.Module, device: str, n_tasks: int) -> int:
    """How many tasks to batch: all where that is faster, one for convolutions on a CPU, where the tasks' own weights turn them into a
    grouped convolution (measured: 2.7 times slower than one by one)."""
    convolutional = any(isinstance(module, nn.Conv2d) for module in model.modules())
    return 1 if (convolutional and not str(device).startswith("cuda")) or not getattr(model, "vmappable", True) else n_tasks
