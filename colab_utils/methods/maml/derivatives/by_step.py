"""The gradient through the inner loop, one step after another: nothing but parameters is held.

Autograd through all steps holds the feature maps of all of them. Here those of one step are there
at a time; the others are computed again on the way back.
"""

from collections.abc import Sequence

import torch

from colab_utils.learning.tasks import Batch, Tasks
from colab_utils.methods.maml.derivatives.slopes import (
    Answer,
    ModelAt,
    Parameters,
    curvature,
    detached,
    number_of_steps,
    parts,
    slopes_at,
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
        before = path[-1]
        down, _ = slopes_at(model_at, before, rates, support)
        after = dict(before)
        for name, slope in down.items():
            after[name] = torch.addcmul(before[name], rates[name][k].detach(), slope, value=-1)
        path.append(after)
        slopes.append(down)
    return path, slopes


def backwards(
    model_at: ModelAt,
    theta: Parameters,
    rates: Parameters,
    task: Tasks,
    step_weights: Sequence[float],
    first_order: bool = False,
    most: int = 0,
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

    Returns:
        a_0, which is the gradient by each parameter, of many tasks (tasks, ...); the gradients by
        the rates, (steps,); and the answer to the query after the last step with a weight.
    """
    support, query = parts(task.support, most), parts(task.query, most)
    path, slopes = descend(model_at, theta, rates, support)
    gradients = {name: torch.zeros_like(value) for name, value in path[0].items()}
    of_rates = {name: torch.zeros_like(value) for name, value in detached(rates).items()}
    last = None
    for k in reversed(range(len(path))):
        if k < len(slopes):
            step = {}
            for name, slope in slopes[k].items():
                of_rates[name][k] = -(gradients[name] * slope).sum()
                step[name] = rates[name][k].detach() * gradients[name]
            if not first_order and step:
                turned = curvature(model_at, path[k], step, support)
                for name, gradient in gradients.items():
                    gradient -= turned[name]
        if step_weights[k] > 0:
            found, answer = slopes_at(model_at, path[k], path[k], query)
            for name, gradient in gradients.items():
                gradient += step_weights[k] * found[name]
            last = last or answer
    return gradients, of_rates, last
