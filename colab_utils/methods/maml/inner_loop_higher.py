"""The second engine of the inner loop: the library `higher` (Grefenstette et al. 2019), behind the call of `inner_loop.meta_gradient`."""
from __future__ import annotations

import higher
import torch
from torch import nn

from colab_utils.learning.tasks import Tasks, accuracy
from colab_utils.methods.maml.inner_loop import Loss, MetaGradient, Parameters, some_tasks


def meta_gradient(model: nn.Module, loss: Loss, rates: Parameters, tasks: Tasks, step_weights: torch.Tensor, *, query_loss: Loss | None = None,
                  first_order: bool = False) -> MetaGradient:
    """What `inner_loop.meta_gradient` gives, task by task: `higher` has no batched tasks."""
    query_loss, number, last = query_loss or loss, len(tasks.query.y), len(step_weights) - 1
    counted = {k for k in range(last + 1) if step_weights[k] > 0} | {last}
    parameters = list(model.parameters())
    alpha = {name: value.detach().requires_grad_() for name, value in rates.items()}
    total = [torch.zeros_like(value) for value in (*parameters, *alpha.values())]
    seen = torch.full((2, last + 1), float("nan"), dtype=parameters[0].dtype, device=parameters[0].device)
    seen[:, sorted(counted)] = 0
    groups = [{"params": [value]} for name, value in model.named_parameters() if name in rates]
    optimiser = torch.optim.SGD(groups or parameters[:1], lr=0.0)
    for i in range(number):
        task, value = some_tasks(tasks, i), 0.0
        # first order: each step's gradient is a constant, but the step itself is kept, since the rates learn through it
        with higher.innerloop_ctx(model, optimiser, copy_initial_weights=False, track_higher_grads=True) as (fast, steps):
            for k in range(last + 1):
                if k in counted:
                    logits, embedding = fast(*task.query.inputs)
                    query = query_loss(logits, embedding, task.query)
                    value = value + step_weights[k].to(query) * query
                    scores = logits.detach().masked_fill(~task.query.active, float("-inf"))
                    seen[0, k] += query.detach() / number
                    seen[1, k] += accuracy(scores[None], task.query.y[None])[0].to(seen) / number
                if k < last and rates:
                    slopes = (lambda g: [None if one is None else one.detach() for one in g]) if first_order else None
                    steps.step(loss(*fast(*task.support.inputs), task.support), grad_callback=slopes,
                               override={"lr": [alpha[name][k] for name, _ in model.named_parameters() if name in rates]})
            found = torch.autograd.grad(value, [*fast.parameters(time=0), *alpha.values()], allow_unused=True)
        for mean, one in zip(total, found, strict=True):
            mean += 0 if one is None else one / number
    names = [name for name, _ in model.named_parameters()]
    return MetaGradient(dict(zip(names, total, strict=False)), dict(zip(alpha, total[len(names):], strict=True)), seen[0], seen[1])
