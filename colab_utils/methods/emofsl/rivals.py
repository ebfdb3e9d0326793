"""What EMOFSL has to beat on the same support draws, without any training of features.

The baselines of `learning.heads`, and linear discriminant analysis.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.linalg import cho_factor, cho_solve
from scipy.special import softmax
from sklearn.covariance import ledoit_wolf

from colab_utils.learning.heads import logistic_regression, nearest_prototype, vectors
from colab_utils.learning.tasks import Batch, Tasks
from colab_utils.methods.emofsl.network import EmofslNet
from colab_utils.settings import SettingError


def as_tasks(
    module: EmofslNet, support: torch.Tensor, y: torch.Tensor, query: torch.Tensor
) -> Tasks:
    """Support draws of one fold as Tasks, for `learning.heads` and `lda`.

    Features are as the source's projection sees them. The query's labels are not known (0).

    Args:
        module: the source's network.
        support: float (draws, n, dim).
        y: class ids, (draws, n) or (n,).
        query: float (n_query, dim), the same for all draws.
    """
    y = torch.as_tensor(y, device=support.device).expand(support.shape[:2])
    active = torch.nn.functional.one_hot(y, module.head.out_features).any(dim=1)
    with torch.no_grad():
        support = module.scaled(support)
        query = module.scaled(query)
    query = query.expand(len(support), *query.shape)
    unknown = torch.zeros(query.shape[:2], dtype=torch.int64, device=y.device)
    return Tasks(Batch((support,), y, active), Batch((query,), unknown, active))


def baseline(
    kind: str, tasks: Tasks, module: EmofslNet, source_x: torch.Tensor, source_y: np.ndarray
) -> torch.Tensor:
    """Probabilities of a baseline on support draws, float (draws, n_query, classes).

    Args:
        kind: "nearest prototype", "logistic regression" or "LDA".
        tasks: of `as_tasks`.
        module: the source's network.
        source_x, source_y: the source's training utterances, float (n, dim) and class ids (n,).
            One shot says nothing of the spread within a class: that of the source serves all k.
    """
    if kind == "nearest prototype":
        return nearest_prototype(tasks)
    if kind == "logistic regression":
        return logistic_regression(tasks)
    scaled = module.scaled(source_x).detach().cpu().numpy()
    return lda(tasks, within_class_covariance(scaled, source_y))


def within_class_covariance(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Covariance of utterances about the mean of their class, float64 (dim, dim).

    Shrunk by the rule of Ledoit & Wolf (2004).

    Args:
        x: float (n, dim).
        y: class ids (n,).

    Raises:
        SettingError: no class has two utterances.
    """
    classes, inverse, counts = np.unique(y, return_inverse=True, return_counts=True)
    if counts.max() < 2:
        raise SettingError(
            "one shot says nothing of the spread within a class: give lda the "
            "covariance of the source, or leave it out"
        )
    means = [x[inverse == i].mean(axis=0, dtype=np.float64) for i in range(len(classes))]
    return ledoit_wolf(x - np.stack(means)[inverse], assume_centered=True)[0]


def lda(tasks: Tasks, covariance: np.ndarray | None = None) -> torch.Tensor:
    """Linear discriminant analysis with equal priors on the support of each task.

    Equals scikit-learn's with solver="lsqr" and the same shrinkage, without a decomposition for
    each draw.

    Args:
        tasks: of `as_tasks`.
        covariance: (dim, dim) within a class, such as `within_class_covariance` of the source's
            standardised features, which serves one shot, too; None: that of each support, shrunk.

    Returns:
        Probabilities, float64 (tasks, n_query, classes).

    Raises:
        SettingError: one shot without `covariance`.
    """
    support = vectors(tasks.support).cpu().double().numpy()
    query = vectors(tasks.query).cpu().double().numpy()
    y = tasks.support.y.cpu().numpy()
    active = tasks.support.active.cpu().numpy()
    shared = None if covariance is None else cho_factor(covariance)
    scores = np.full((*query.shape[:2], active.shape[1]), -np.inf)
    for i, labels in enumerate(y):
        classes = np.flatnonzero(active[i])
        means = np.stack([support[i][labels == label].mean(axis=0) for label in classes])
        factor = shared or cho_factor(within_class_covariance(support[i], labels))
        directions = cho_solve(factor, means.T)
        offsets = 0.5 * (means.T * directions).sum(axis=0)
        scores[i][:, classes] = query[i] @ directions - offsets
    return torch.from_numpy(softmax(scores, axis=-1))
