"""The simplest methods inside an episode: what meta-learning has to beat, on the same support and the same queries."""
from __future__ import annotations

import warnings

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from colab_utils.methods.tasks import Batch, Tasks, probabilities


def vectors(batch: Batch) -> torch.Tensor:
    """One vector for each utterance, (..., n, dim): as given, or the mean and deviation of the valid frames side by side, (..., n, 2 dim)."""
    values, *mask = batch.inputs
    if not mask:
        return values
    valid = mask[0].unsqueeze(-1).to(values)
    count = valid.sum(dim=-2).clamp(min=1)
    mean = (values * valid).sum(dim=-2) / count
    variance = ((values - mean.unsqueeze(-2)).square() * valid).sum(dim=-2) / count
    return torch.cat([mean, variance.sqrt()], dim=-1)


def class_means(x: torch.Tensor, y: torch.Tensor, classes: int) -> torch.Tensor:
    """The prototype of each class, (tasks, classes, dim), of x (tasks, n, dim) with ids y (tasks, n); 0 for a class without utterances."""
    member = torch.nn.functional.one_hot(y, classes).to(x)
    return member.transpose(1, 2) @ x / member.sum(dim=1).clamp(min=1).unsqueeze(-1)


def chance(tasks: Tasks, seed: int = 0) -> torch.Tensor:
    """Guessing: equal probabilities of the competing classes, float (tasks, n_query, classes), but for a seeded nudge that breaks the tie."""
    shape = (*tasks.query.y.shape, tasks.query.active.shape[1])
    nudge = torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 1e-3
    return probabilities(nudge.to(tasks.query.y.device), tasks.query.active)


def nearest_prototype(tasks: Tasks) -> torch.Tensor:
    """Softmax of minus half the squared distance to each class mean of the support: float (tasks, n_query, classes)."""
    support, query = vectors(tasks.support), vectors(tasks.query)
    distance = torch.cdist(query, class_means(support, tasks.support.y, tasks.support.active.shape[1]))
    return probabilities(-0.5 * distance.square(), tasks.query.active)


def logistic_regression(tasks: Tasks, c: float = 0.1) -> torch.Tensor:
    """Multinomial logistic regression on the support of each task, L2 with inverse strength `c`: float (tasks, n_query, classes)."""
    support, query = (vectors(batch).cpu().double().numpy() for batch in tasks)
    y = tasks.support.y.cpu().numpy()
    scores = np.zeros((*query.shape[:2], tasks.support.active.shape[1]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for i in range(len(y)):
            model = LogisticRegression(C=c, max_iter=200).fit(support[i], y[i])
            scores[i][:, model.classes_] = model.predict_proba(query[i])
    return torch.from_numpy(scores)
