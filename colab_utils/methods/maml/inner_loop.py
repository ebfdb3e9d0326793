"""The inner loop of MAML on torch.func: adaptation by gradient steps, and the meta-gradient through them.

Finn et al. 2017 (first and second order), Antoniou et al. 2019 (per-layer per-step rates, multi-step loss); method_facts §1.4, §6.1, §6.2, §7.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import nn
from torch.func import functional_call, vmap

from colab_utils.learning.tasks import Batch, Tasks, probabilities

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
          batched: bool = False) -> list[Parameters]:
    """The parameters before adaptation and after each inner step (steps + 1): theta_k+1 = theta_k - rate_k * gradient of the support loss.

    rates: (steps,) for each parameter that is adapted; the others stay. First order: the gradients are taken for constants. batched:
    parameters and support have a leading dimension (tasks, ...); the gradient of the summed losses is that of each task's own.
    """
    fixed = {name: value for name, value in parameters.items() if name not in rates}
    adapted = {name: parameters[name] for name in rates}
    path = [parameters]

    def support_loss(theta: Parameters, batch: Batch) -> torch.Tensor:
        return loss(*functional_call(model, theta, batch.inputs), batch)

    for k in range(len(next(iter(rates.values()), ()))):
        with torch.enable_grad():
            at = {name: value.detach().requires_grad_() for name, value in adapted.items()} if first_order else adapted
            value = vmap(support_loss)({**fixed, **at}, support).sum() if batched else support_loss({**fixed, **at}, support)
            slopes = torch.autograd.grad(value, list(at.values()), create_graph=not first_order, materialize_grads=True, allow_unused=True)
        adapted = {name: torch.addcmul(value, rates[name][k], slope, value=-1)        # value - rate * slope, in one pass
                   for (name, value), slope in zip(adapted.items(), slopes, strict=True)}
        path.append({**fixed, **adapted})
    return path


def query_value(model: nn.Module, query_loss: Loss, theta: Parameters, query: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Loss and accuracy of one task's query at the parameters theta, both scalars."""
    logits, embedding = functional_call(model, theta, query.inputs)
    found = logits.detach().masked_fill(~query.active, float("-inf")).argmax(dim=-1)
    return query_loss(logits, embedding, query), (found == query.y).to(logits.dtype).mean()


def outer_objective(model: nn.Module, loss: Loss, query_loss: Loss, parameters: Parameters, rates: Parameters, tasks: Tasks,
                    step_weights: torch.Tensor, counted: list[int], first_order: bool,
                    batched: bool) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
    """What the outer loop minimises: the weighted sum of the query losses after the inner steps `counted`, summed over the tasks.

    Also the loss and the accuracy of each of these steps, summed over the tasks, both (counted,).
    """
    if batched:
        parameters = {name: value.expand(len(tasks.query.y), *value.shape) for name, value in parameters.items()}
    path = adapt(model, loss, parameters, rates, tasks.support, first_order, batched)

    def value(theta: Parameters, query: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        return query_value(model, query_loss, theta, query)

    seen = [(vmap(value) if batched else value)(path[k], tasks.query) for k in counted]
    losses, accuracies = (torch.stack([one.sum() for one in part]) for part in zip(*seen, strict=True))
    return (step_weights[counted].to(losses) * losses).sum(), (losses.detach(), accuracies)


def meta_gradient(model: nn.Module, loss: Loss, rates: Parameters, tasks: Tasks, step_weights: torch.Tensor, *, query_loss: Loss | None = None,
                  first_order: bool = False, engine: str = "func", tasks_at_once: int = 1) -> MetaGradient:
    """The gradient of the mean task objective by the model's parameters and by the rates; the model itself is left as it is.

    loss: of the inner steps, and of the outer loop where query_loss is None. rates: {parameter: (steps,)} of the adapted ones. step_weights:
    float (steps + 1,), the weight of the query loss after k steps. tasks_at_once: how many are batched by vmap; memory grows with
    it, not with the meta-batch; 1 needs no vmap, which a loss of pytorch-metric-learning could not do with. engine: "func" or "higher".
    """
    if engine == "higher":
        from colab_utils.methods.maml.inner_loop_higher import meta_gradient as by_higher  # late: the second engine is optional
        return by_higher(model, loss, rates, tasks, step_weights, query_loss=query_loss, first_order=first_order)
    theta, alpha = ({name: value.detach().requires_grad_() for name, value in values.items()} for values in (dict(model.named_parameters()), rates))
    leaves, number, last, batched = [*theta.values(), *alpha.values()], len(tasks.query.y), len(step_weights) - 1, tasks_at_once > 1
    counted = sorted({k for k in range(last + 1) if step_weights[k] > 0} | {last})
    total, seen = [torch.zeros_like(value) for value in leaves], leaves[0].new_full((2, last + 1), float("nan"))
    seen[:, counted] = 0
    for first in range(0, number, tasks_at_once):
        chunk = some_tasks(tasks, slice(first, first + tasks_at_once) if batched else first)
        value, found = outer_objective(model, loss, query_loss or loss, theta, alpha, chunk, step_weights, counted, first_order, batched)
        for mean, slope in zip(total, torch.autograd.grad(value, leaves, materialize_grads=True, allow_unused=True), strict=True):
            mean += slope / number
        seen[:, counted] += torch.stack(found) / number
    gradients, rate_gradients = (dict(zip(names, part, strict=True)) for names, part in ((theta, total[:len(theta)]), (alpha, total[len(theta):])))
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

    def logits(theta: Parameters, query: Batch) -> torch.Tensor:
        return functional_call(model, theta, query.inputs)[0]

    def scores(chunk: Tasks, batched: bool) -> torch.Tensor:
        start = {name: value.expand(len(chunk.query.y), *value.shape) for name, value in parameters.items()} if batched else parameters
        path = adapt(model, loss, start, rates, chunk.support, True, batched)
        found = torch.stack([(vmap(logits) if batched else logits)(theta, chunk.query) for theta in path], dim=-3)
        return probabilities(found, chunk.query.active.unsqueeze(-2))

    number = len(tasks.query.y)
    if tasks_at_once == 1:
        return torch.stack([scores(some_tasks(tasks, i), False) for i in range(number)])
    return torch.cat([scores(some_tasks(tasks, slice(i, i + tasks_at_once)), True) for i in range(0, number, tasks_at_once)])


def best_tasks_at_once(model: nn.Module, device: str, n_tasks: int) -> int:
    """How many tasks to batch: all where that is faster, one for convolutions on a CPU, where the tasks' own weights turn them into a
    grouped convolution (measured: 2.7 times slower than one by one)."""
    convolutional = any(isinstance(module, nn.Conv2d) for module in model.modules())
    return 1 if (convolutional and not str(device).startswith("cuda")) or not getattr(model, "vmappable", True) else n_tasks
