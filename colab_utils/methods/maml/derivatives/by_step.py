"""The gradient through the inner loop, put together step by step.

Autograd through all steps holds the feature maps of all of them. Here those of each step stand
apart: they can be computed again on the way back, and then those of one step are there at a time.
"""

from collections.abc import Sequence

import torch

from colab_utils.learning.tasks import Batch, Tasks
from colab_utils.methods.maml.derivatives.slopes import (
    Answer,
    ModelAt,
    Parameters,
    Taped,
    curvature,
    detached,
    number_of_steps,
    parts,
    slopes_at,
    taped,
)


def descend(
    model_at: ModelAt, theta: Parameters, rates: Parameters, support: Sequence[Batch]
) -> tuple[list[Parameters], list[Parameters]]:
    """The steps of `inner_loop.adapt`, all of it constants.

    Args:
        model_at: the network as a function of its parameters.
        theta: {name: tensor}, the parameters to start from.
        rates: {name: (steps,)} of the parameters that are adapted.
        support: the labelled utterances of a task in `parts`.

    Returns:
        The parameters after 0, 1, ... steps, and the slopes that each step went down.
    """
    path, slopes = [detached(theta)], []
    for k in range(number_of_steps(rates)):
        down, _ = slopes_at(model_at, path[-1], rates, support)
        path.append(stepped(path[-1], rates, k, down))
        slopes.append(down)
    return path, slopes


def descend_taped(
    model_at: ModelAt, theta: Parameters, rates: Parameters, support: Sequence[Batch]
) -> tuple[list[Parameters], list[Parameters], list[list[Taped]]]:
    """As `descend`, and the tape of each step, by which it can be differentiated."""
    path, slopes, tapes = [detached(theta)], [], []
    for k in range(number_of_steps(rates)):
        tape = list(taped(model_at, path[-1], rates, support))
        down = {name: torch.zeros_like(path[-1][name]) for name in rates}
        for one in tape:
            for name, slope in one.slopes.items():
                down[name] += slope.detach()
        path.append(stepped(path[-1], rates, k, down))
        slopes.append(down)
        tapes.append(tape)
    return path, slopes, tapes


def stepped(before: Parameters, rates: Parameters, k: int, down: Parameters) -> Parameters:
    """The parameters after step k: before - rate_k * slope."""
    after = dict(before)
    for name, slope in down.items():
        rate = rates[name][k].detach()
        after[name] = torch.addcmul(before[name], rate, slope, value=-1)
    return after


def backwards(
    model_at: ModelAt,
    theta: Parameters,
    rates: Parameters,
    task: Tasks,
    step_weights: Sequence[float],
    first_order: bool = False,
    most: int = 0,
    recompute: bool = False,
) -> tuple[Parameters, Parameters, Answer]:
    """The gradient of `inner_loop.outer_objective`, from the last inner step to the first.

    Let a_k be the gradient by theta_k of all query losses that come after k steps or more:

        a_k = a_(k+1) - H_k (rate_k * a_(k+1)) + weight_k * gradient of the query loss at theta_k

    H_k are the second derivatives of the support loss at theta_k, which first order leaves out. By
    rate_k the gradient is - a_(k+1) * slope_k.

    Args:
        model_at: the network as a function of its parameters.
        theta: {name: tensor}; of many tasks (tasks, ...).
        rates: of the inner steps.
        task: support and query of one task, or of many.
        step_weights: of the query losses after 0, 1, ... steps, one of them above 0.
        first_order: treat the slopes of the inner steps as constants.
        most: utterances that are computed together (`parts`); 0: all.
        recompute: compute each H_k again from theta_k, instead of keeping what it is made of.

    Returns:
        a_0, which is the gradient by each parameter, of many tasks (tasks, ...); the gradients by
        the rates, (steps,); and the answer to the query after the last step with a weight.
    """
    support, query = parts(task.support, most), parts(task.query, most)
    tapes: list = []
    if first_order or recompute:
        path, slopes = descend(model_at, theta, rates, support)
    else:
        path, slopes, tapes = descend_taped(model_at, theta, rates, support)
    gradients = {name: torch.zeros_like(value) for name, value in path[0].items()}
    of_rates = {name: torch.zeros_like(value) for name, value in detached(rates).items()}
    last = None
    for k in reversed(range(len(path))):
        if k < len(slopes):
            step = {}
            for name, slope in slopes[k].items():
                of_rates[name][k] = -(gradients[name] * slope).sum()
                step[name] = rates[name][k].detach() * gradients[name]
            if not first_order:
                tape = tapes.pop() if tapes else taped(model_at, path[k], step, support)
                turned = curvature(tape, step)
                for name, gradient in gradients.items():
                    gradient -= turned[name]
        if step_weights[k] > 0:
            found, answer = slopes_at(model_at, path[k], path[k], query)
            for name, gradient in gradients.items():
                gradient += step_weights[k] * found[name]
            last = last or answer
    return gradients, of_rates, last
