"""What EMOFSL has to beat on the same support draws, without any training of features: the episode baselines, and linear discriminant analysis."""
from __future__ import annotations

import numpy as np
import torch
from scipy.linalg import cho_factor, cho_solve
from scipy.special import softmax
from sklearn.covariance import ledoit_wolf

from colab_utils.learning.heads import vectors
from colab_utils.learning.tasks import Batch, Tasks
from colab_utils.methods.emofsl.network import EmofslNet
from colab_utils.settings import SettingError


def as_tasks(module: EmofslNet, support: torch.Tensor, y: torch.Tensor, query: torch.Tensor) -> Tasks:
    """Support draws of one fold as Tasks, for the functions of `episode_baselines` and `lda`: features as the source's projection sees them.

    support: float (draws, n, dim), y: class ids (draws, n) or (n,), query: (n_query, dim) for all draws. The query's labels are not known (0).
    """
    y = torch.as_tensor(y, device=support.device).expand(support.shape[:2])
    active = torch.nn.functional.one_hot(y, module.head.out_features).any(dim=1)
    with torch.no_grad():
        support, query = module.scaled(support), module.scaled(query)
    query = query.expand(len(support), *query.shape)
    return Tasks(Batch((support,), y, active), Batch((query,), torch.zeros(query.shape[:2], dtype=torch.int64, device=y.device), active))


def within_class_covariance(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Covariance of utterances about the mean of their class, shrunk by the rule of Ledoit & Wolf (2004), float64 (dim, dim) of x (n, dim)."""
    classes, inverse, counts = np.unique(y, return_inverse=True, return_counts=True)
    means = np.stack([x[inverse == i].mean(axis=0, dtype=np.float64) for i in range(len(classes))])
    if counts.max() < 2:
        raise SettingError("one shot says nothing of the spread within a class: give lda the covariance of the source, or leave it out")
    return ledoit_wolf(x - means[inverse], assume_centered=True)[0]


def lda(tasks: Tasks, covariance: np.ndarray | None = None) -> torch.Tensor:
    """Linear discriminant analysis with equal priors on the support of each task: probabilities, float64 (tasks, n_query, classes).

    covariance: (dim, dim) within a class, such as `within_class_covariance` of the source's standardised features, which serves one shot, too;
    None: that of each support, shrunk. Equals scikit-learn's with solver="lsqr" and the same shrinkage, without a decomposition for each draw.
    Raises SettingError for one shot without `covariance`.
    """
    support, query = (vectors(batch).cpu().double().numpy() for batch in tasks)
    y, active = tasks.support.y.cpu().numpy(), tasks.support.active.cpu().numpy()
    shared = None if covariance is None else cho_factor(covariance)
    scores = np.full((*query.shape[:2], active.shape[1]), -np.inf)
    for i, labels in enumerate(y):
        classes = np.flatnonzero(active[i])
        means = np.stack([support[i][labels == label].mean(axis=0) for label in classes])
        directions = cho_solve(shared or cho_factor(within_class_covariance(support[i], labels)), means.T)
        scores[i][:, classes] = query[i] @ directions - 0.5 * (means.T * directions).sum(axis=0)
    return torch.from_numpy(softmax(scores, axis=-1))
