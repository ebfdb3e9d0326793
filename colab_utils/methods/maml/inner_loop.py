"""The inner loop of MAML: gradient steps on the support set, and the gradient through them.

Finn et al. 2017 (first and second order); Antoniou et al. 2019 (a learnt rate for each layer and
step, the query loss of every step). Parameters are dictionaries {name: tensor}. Everything here is
written for one task; with `as_function(..., many=True)` the same code runs on many at once.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import nn
from torch.func import functional_call, vmap

from colab_utils.learning.tasks import Batch, Tasks, masked_cross_entropy, probabilities
from colab_utils.methods.maml.derivatives.by_step import backwards, descend
from colab_utils.methods.maml.derivatives.slopes import (
    Answer,
    ModelAt,
    Parameters,
    detached,
    leaves_of,
    number_of_steps,
    parts,
)
from colab_utils.models.conv4 import Conv4
from colab_utils.models.normalisation import MaskedNorm

MOST_AT_ONCE = 64  # tasks that are computed together: each holds its own weights after every step
CLIPS_AT_ONCE = 16  # of a task that is computed alone

Loss = Callable[[torch.Tensor, torch.Tensor, Batch], torch.Tensor]  # (logits, embedding, batch)


def as_function(model: nn.Module, loss: Loss, many: bool = False) -> ModelAt:
    """The network as a function of its parameters, so that they can be those after some steps.

    Args:
        model: called with the inputs of a batch, it gives logits (n, classes) and embedding
            (n, dim).
        loss: called with (logits, embedding, batch), it gives a scalar. The inner loop and the
            outer loop minimise the same one; a contrastive term is part of it.
        many: whether parameters {name: (tasks, ...)} and batch hold many tasks. Then loss
            (tasks,) and logits (tasks, n, classes) of the answer do, too.

    Returns:
        `model_at(theta, batch)`, which gives an `Answer`: `.loss` and `.logits`.

    Example:
        answer = as_function(network, loss)(theta, task.query)
    """

    def model_at(theta: Parameters, batch: Batch) -> Answer:
        logits, embedding = functional_call(model, theta, batch.inputs)
        return Answer(loss(logits, embedding, batch), logits)

    return vmap(model_at) if many else model_at


def adapt(
    model_at: ModelAt,
    theta: Parameters,
    rates: Parameters,
    support: Batch,
    first_order: bool = False,
) -> list[Parameters]:
    """The inner loop: gradient steps on the support set.

        theta_(k+1) = theta_k - rate_k * gradient of the support loss at theta_k

    Finn et al. 2017, equation 1, repeated; with a rate for each parameter tensor and step: Antoniou
    et al. 2019.

    Args:
        model_at: the network as a function of its parameters (`as_function`).
        theta: {name: tensor}, the parameters to start from; for many tasks (tasks, ...) each.
        rates: {name: (steps,)} of the parameters that are adapted. All others stay as they are
            (with those of the head alone: ANIL).
        support: the labelled utterances of a task.
        first_order: treat the gradients as constants, as if they did not depend on theta.

    Returns:
        [theta_0, theta_1, ...], the parameters after 0, 1, ... steps.

    Example:
        model_at = as_function(network, masked_cross_entropy)
        path = adapt(model_at, theta, rates, task.support)
        answer = model_at(path[-1], task.query)
    """
    path = [theta]
    for k in range(number_of_steps(rates)):
        before = path[-1]
        # first order: the gradient is taken at a detached copy, which makes it a constant
        at = leaves_of(before) if first_order else before
        # many tasks: each has its own parameters, so the sum gives each task its own gradient
        loss = model_at(at, support).loss.sum()
        adapted = [at[name] for name in rates]
        slopes = torch.autograd.grad(
            loss, adapted, create_graph=not first_order, materialize_grads=True
        )
        after = dict(before)
        for name, slope in zip(rates, slopes, strict=True):
            # before - rate * slope, in one pass; from `before`, not from the copy, so that the
            # outer gradient reaches theta_0 in first order, too
            after[name] = torch.addcmul(before[name], rates[name][k], slope, value=-1)
        path.append(after)
    return path


def outer_objective(
    model_at: ModelAt,
    theta: Parameters,
    rates: Parameters,
    task: Tasks,
    step_weights: Sequence[float],
    first_order: bool = False,
) -> tuple[torch.Tensor, Answer]:
    """What the outer loop minimises: the sum over k of weight_k * query loss at theta_k.

    With the last weight alone it is that of Finn et al. 2017, otherwise the multi-step loss of
    Antoniou et al. 2019, section 4.

    Args:
        model_at: the network as a function of its parameters (`as_function`).
        theta: {name: tensor}, the parameters that are learnt.
        rates: of the inner steps, see `adapt`.
        task: support and query of one task, or of many (leading dimension).
        step_weights: of the query losses after 0, 1, ... steps (`step_weights`); one of them at
            least is above 0.
        first_order: treat the gradients of the inner steps as constants.

    Returns:
        The objective, and the `Answer` to the query after the last step with a weight. Of many
        tasks the objective is the sum; its caller divides by their number.
    """
    path = adapt(model_at, theta, rates, task.support, first_order)
    objective = 0.0
    for weight, theta_k in zip(step_weights, path, strict=True):
        if weight > 0:
            query = model_at(theta_k, task.query)
            objective = objective + weight * query.loss.sum()
    return objective, query


class MetaGradient:
    """The gradient of the mean objective of some tasks, added up as they come.

    Args:
        theta: the parameters.
        rates: the rates of the inner steps.
        n_tasks: how many tasks there are.

    Attributes:
        gradients: of each parameter.
        rate_gradients: of each rate, (steps,).
        query_loss: mean after the last inner step, a scalar.
        query_accuracy: likewise, in [0, 1].
    """

    def __init__(self, theta: Mapping[str, torch.Tensor], rates: Parameters, n_tasks: int):
        self.gradients = {name: torch.zeros_like(value) for name, value in theta.items()}
        self.rate_gradients = {name: torch.zeros_like(value) for name, value in rates.items()}
        self.query_loss = 0.0
        self.query_accuracy = 0.0
        self._n_tasks = n_tasks

    def add(self, slopes: Sequence[torch.Tensor], answer: Answer, query: Batch) -> None:
        """Add one task, or the sum of some.

        Args:
            slopes: gradients of all parameters, then of all rates, in their order.
            answer: to the query after the last step.
            query: the batch that was asked.
        """
        means = [*self.gradients.values(), *self.rate_gradients.values()]
        for mean, slope in zip(means, slopes, strict=True):
            mean += slope / self._n_tasks
        loss = answer.loss.detach()
        self.query_loss += loss.sum() / self._n_tasks
        chosen = probabilities(answer.logits.detach(), query.active).argmax(dim=-1)
        right = chosen == query.y
        accuracy = right.double().mean(dim=-1)
        self.query_accuracy += accuracy.sum() / self._n_tasks


def meta_gradient(
    model: nn.Module,
    loss: Loss,
    rates: Parameters,
    tasks: Tasks,
    step_weights: torch.Tensor,
    first_order: bool = False,
    recompute: bool = False,
) -> MetaGradient:
    """The gradient of the mean `outer_objective` by the model's parameters and by the rates.

    The model itself is left as it is. The gradient is that of autograd through all steps, or is put
    together step by step (`backwards`), which gives the same.

    Args:
        model: called with the inputs of a batch, it gives logits and embedding.
        loss: of the inner steps and of the outer loop.
        rates: {parameter: (steps,)} of the adapted ones.
        tasks: with a leading dimension (tasks, ...).
        step_weights: float (steps + 1,), the weight of the query loss after k steps.
        first_order: treat the gradients of the inner steps as constants.
        recompute: compute each inner step again on the way back: the memory of one step.
    """
    theta = leaves_of(dict(model.named_parameters()))
    alpha = leaves_of(rates)
    n_tasks = len(tasks.query.y)
    at_once = tasks_at_once(model, n_tasks, loss)
    many = at_once > 1
    model_at = as_function(model, loss, many)
    weights = step_weights.tolist()
    found = MetaGradient(theta, alpha, n_tasks)
    for some in portions(tasks, at_once):
        start = for_each_task(theta, some) if many else theta
        if recompute or convolves_on_cpu(model):
            most = clips_at_once(model, loss)
            of_theta, of_alpha, answer = backwards(
                model_at, start, alpha, some, weights, first_order, most, recompute
            )
            if many:
                of_theta = {name: value.sum(0) for name, value in of_theta.items()}
            slopes = [*of_theta.values(), *of_alpha.values()]
        else:
            objective, answer = outer_objective(model_at, start, alpha, some, weights, first_order)
            leaves = [*theta.values(), *alpha.values()]
            slopes = torch.autograd.grad(objective, leaves, materialize_grads=True)
        found.add(slopes, answer, some.query)
    return found


def adapted_scores(model: nn.Module, loss: Loss, rates: Parameters, tasks: Tasks) -> torch.Tensor:
    """Probabilities of the query before adaptation and after each inner step.

    Args:
        model: called with the inputs of a batch, it gives logits and embedding; it stays as it is.
        loss: of the inner steps.
        rates: {parameter: (steps,)} of the adapted ones; {} for no steps.
        tasks: with a leading dimension (tasks, ...).

    Returns:
        float (tasks, steps + 1, n_query, classes); 0 for classes that do not compete.
    """
    theta = detached(dict(model.named_parameters()))
    at_once = tasks_at_once(model, len(tasks.query.y), loss)
    many = at_once > 1
    most = clips_at_once(model, loss)
    model_at = as_function(model, loss, many)

    def logits_at(theta: Parameters, query: Batch) -> torch.Tensor:
        return functional_call(model, theta, query.inputs)[0]

    if many:
        logits_at = vmap(logits_at)
    found = []
    for some in portions(tasks, at_once):
        start = for_each_task(theta, some) if many else theta
        path, _ = descend(model_at, start, rates, parts(some.support, most))
        query = parts(some.query, most)
        by_step = []
        for theta_k in path:
            logits = [logits_at(theta_k, part) for part in query]
            by_step.append(torch.cat(logits, dim=-2))
        scores = torch.stack(by_step, dim=-3)
        found.append(probabilities(scores, some.query.active.unsqueeze(-2)))
    return torch.cat(found) if many else torch.stack(found)


def adapted_parameters(model: nn.Module, loss: Loss, rates: Parameters, task: Tasks) -> Parameters:
    """The network's parameters after all inner steps on the support of one task.

    Args:
        model: as of `adapted_scores`.
        loss: as of `adapted_scores`.
        rates: as of `adapted_scores`.
        task: without a leading dimension.
    """
    theta = detached(dict(model.named_parameters()))
    model_at = as_function(model, loss)
    most = clips_at_once(model, loss)
    support = parts(task.support, most)
    path, _ = descend(model_at, theta, rates, support)
    return path[-1]


# --- how much at once -----------------------------------------------------------------------------


def tasks_at_once(model: nn.Module, n_tasks: int, loss: Loss | None = None) -> int:
    """How many tasks to compute together: MOST_AT_ONCE or all where that is faster, else one.

    One for convolutions on a CPU, where the tasks' own weights turn them into a grouped convolution
    (measured: 2.7 times slower than one by one), and for a loss with an attribute `one_by_one`,
    which vmap cannot take.
    """
    if convolves_on_cpu(model) or hasattr(loss, "one_by_one"):
        return 1
    return min(n_tasks, MOST_AT_ONCE)


def clips_at_once(model: nn.Module, loss: Loss) -> int:
    """How many utterances of one task to compute together; 0: all.

    CLIPS_AT_ONCE for convolutions on a CPU where the loss is a mean over utterances of which none
    sees another: cross-entropy, and statistics of each clip alone. As much in small parts takes
    less time: the feature maps are taken from memory that is there, and stay in the cache.
    """
    if not isinstance(model, Conv4) or not convolves_on_cpu(model):
        return 0
    norms = [module for module in model.modules() if isinstance(module, MaskedNorm)]
    apart = all(0 not in norm.dims for norm in norms)
    return CLIPS_AT_ONCE if apart and loss is masked_cross_entropy else 0


def convolves_on_cpu(model: nn.Module) -> bool:
    """Whether the network has convolutions, and is on a CPU."""
    convolutional = any(isinstance(module, nn.Conv2d) for module in model.modules())
    return convolutional and next(model.parameters()).device.type == "cpu"


# --- small steps ----------------------------------------------------------------------------------


def portions(tasks: Tasks, at_once: int) -> Iterator[Tasks]:
    """`at_once` tasks after another; 1: each without the leading dimension."""
    for first in range(0, len(tasks.query.y), at_once):
        which = slice(first, first + at_once) if at_once > 1 else first
        yield torch.utils._pytree.tree_map(lambda value, which=which: value[which], tasks)


def for_each_task(theta: Parameters, tasks: Tasks) -> Parameters:
    """The same parameters for every task, with a leading dimension (tasks, ...), uncopied."""
    number = len(tasks.query.y)
    return {name: value.expand(number, *value.shape) for name, value in theta.items()}
