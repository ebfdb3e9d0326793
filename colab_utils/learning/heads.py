"""The simplest methods inside an episode: what meta-learning has to beat, on the same support and
the same queries.
"""

from __future__ import annotations

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch.nn import functional

from colab_utils.learning.tasks import Batch, Tasks, probabilities
from colab_utils.settings import SettingError

DISTANCES = ("euclidean", "cosine")


def vectors(batch: Batch) -> torch.Tensor:
    """One vector for each utterance, (..., n, dim): as given, or the mean and deviation of the
    valid frames side by side, (..., n, 2 dim).
    """
    values, *mask = batch.inputs
    if not mask:
        return values
    valid = mask[0].unsqueeze(-1).to(values)
    count = valid.sum(dim=-2).clamp(min=1)
    mean = (values * valid).sum(dim=-2) / count
    variance = ((values - mean.unsqueeze(-2)).square() * valid).sum(dim=-2) / count
    return torch.cat([mean, variance.sqrt()], dim=-1)


def class_means(x: torch.Tensor, y: torch.Tensor, classes: int) -> torch.Tensor:
    """The prototype of each class, (tasks, classes, dim), of x (tasks, n, dim) with ids y (tasks,
    n); 0 for a class without utterances.
    """
    member = functional.one_hot(y, classes).to(x)
    return member.transpose(1, 2) @ x / member.sum(dim=1).clamp(min=1).unsqueeze(-1)


def chance(tasks: Tasks, seed: int = 0) -> torch.Tensor:
    """Guessing: equal probabilities of the competing classes, float (tasks, n_query, classes), but
    for a seeded nudge that breaks the tie.
    """
    shape = (*tasks.query.y.shape, tasks.query.active.shape[1])
    nudge = torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 1e-3
    return probabilities(nudge.to(tasks.query.y.device), tasks.query.active)


def nearest_prototype(tasks: Tasks, distance: str = "euclidean") -> torch.Tensor:
    """Softmax of minus half the squared distance to each class mean of the support: float (tasks,
    n_query, classes).

    distance: "euclidean", or "cosine": between queries and means scaled to length 1, which is the
    softmax of their cosines. Raises SettingError.
    """
    if distance not in DISTANCES:
        raise SettingError(
            f"no distance is called {distance!r}: choose from {', '.join(DISTANCES)}"
        )
    query, means = (
        vectors(tasks.query),
        class_means(vectors(tasks.support), tasks.support.y, tasks.support.active.shape[1]),
    )
    if distance == "cosine":
        query, means = functional.normalize(query, dim=-1), functional.normalize(means, dim=-1)
    # by differences: |a|^2 - 2ab + |b|^2 cancels where features are far from 0
    apart = torch.cdist(query, means, compute_mode="donot_use_mm_for_euclid_dist")
    return probabilities(-0.5 * apart.square(), tasks.query.active)


def logistic_regression(tasks: Tasks, c: float = 0.1) -> torch.Tensor:
    """Multinomial logistic regression on the support of each task, L2 with inverse strength `c`:
    float64 (tasks, n_query, classes).

    Fitted until the gradient of the mean loss is below 1e-8: at scikit-learn's 1e-4 probabilities
    are off by 0.001 to 0.3, with `c`.
    """
    support, query = (vectors(batch).cpu().double().numpy() for batch in tasks)
    # the weights lie in the span of the support: the same optimum in fewer coordinates
    if support.shape[2] > support.shape[1]:
        axes = np.linalg.qr(support.swapaxes(1, 2))[0]
        support, query = support @ axes, query @ axes
    y = tasks.support.y.cpu().numpy()
    scores = np.zeros((*query.shape[:2], tasks.support.active.shape[1]))
    for i in range(len(y)):
        model = LogisticRegression(C=c, tol=1e-8, max_iter=10_000).fit(support[i], y[i])
        scores[i][:, model.classes_] = model.predict_proba(query[i])
    return torch.from_numpy(scores)
