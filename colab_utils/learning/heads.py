"""The simplest methods inside an episode: what meta-learning has to beat, on the same clips.

The same support, the same queries.
"""

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch.nn import functional

from colab_utils.learning.tasks import Batch, Tasks, probabilities


def vectors(batch: Batch) -> torch.Tensor:
    """One vector for each utterance of a batch.

    Args:
        batch: utterances as vectors, or as frames with the mask of those that are not padding.

    Returns:
        float (..., n, dim), the vectors as given; of frames their mean and standard deviation over
        time side by side, (..., n, 2 dim), padded frames left out.
    """
    if len(batch.inputs) == 1:
        return batch.inputs[0]
    values, mask = batch.inputs
    valid = mask.unsqueeze(-1).to(values)
    count = valid.sum(dim=-2).clamp(min=1)
    mean = (values * valid).sum(dim=-2) / count
    apart = values - mean.unsqueeze(-2)
    variance = (apart.square() * valid).sum(dim=-2) / count
    return torch.cat([mean, variance.sqrt()], dim=-1)


def class_means(x: torch.Tensor, y: torch.Tensor, classes: int) -> torch.Tensor:
    """The prototype of each class.

    Args:
        x: float (tasks, n, dim).
        y: class ids (tasks, n).
        classes: how many there are.

    Returns:
        float (tasks, classes, dim), 0 for a class without utterances.
    """
    member = functional.one_hot(y, classes).to(x)
    number = member.sum(dim=1).clamp(min=1).unsqueeze(-1)
    return member.transpose(1, 2) @ x / number


def chance(tasks: Tasks, seed: int = 0) -> torch.Tensor:
    """Guessing: equal probabilities of the competing classes, but for a nudge that breaks the tie.

    Args:
        tasks: whose queries are guessed.
        seed: of the nudge.

    Returns:
        float (tasks, n_query, classes).
    """
    y, active = tasks.query.y, tasks.query.active
    generator = torch.Generator().manual_seed(seed)
    shape = *y.shape, active.shape[1]
    nudge = 1e-3 * torch.rand(shape, generator=generator)
    return probabilities(nudge.to(y.device), active)


def nearest_prototype(tasks: Tasks) -> torch.Tensor:
    """Softmax of minus half the squared distance of each query to each class mean of the support.

    Returns:
        Probabilities, float (tasks, n_query, classes).
    """
    classes = tasks.support.active.shape[1]
    means = class_means(vectors(tasks.support), tasks.support.y, classes)
    # by differences: |a|^2 - 2ab + |b|^2 cancels where features are far from 0
    how = "donot_use_mm_for_euclid_dist"
    distance = torch.cdist(vectors(tasks.query), means, compute_mode=how)
    return probabilities(-0.5 * distance.square(), tasks.query.active)


def logistic_regression(tasks: Tasks, c: float = 0.1) -> torch.Tensor:
    """Multinomial logistic regression on the support of each task.

    Fitted until the gradient of the mean loss is below 1e-8: at scikit-learn's 1e-4 probabilities
    are off by 0.001 to 0.3, with `c`.

    Args:
        tasks: what is learnt and asked.
        c: inverse strength of the L2 penalty.

    Returns:
        Probabilities, float64 (tasks, n_query, classes).
    """
    support = vectors(tasks.support).cpu().double().numpy()
    query = vectors(tasks.query).cpu().double().numpy()
    y = tasks.support.y.cpu().numpy()
    if support.shape[2] > support.shape[1]:
        # the weights lie in the span of the support: the same optimum in fewer coordinates
        axes = np.linalg.qr(support.swapaxes(1, 2)).Q
        support = support @ axes
        query = query @ axes
    scores = np.zeros((*query.shape[:2], tasks.support.active.shape[1]))
    for task, labels in enumerate(y):
        model = LogisticRegression(C=c, tol=1e-8, max_iter=10_000)
        model.fit(support[task], labels)
        scores[task][:, model.classes_] = model.predict_proba(query[task])
    return torch.from_numpy(scores)
