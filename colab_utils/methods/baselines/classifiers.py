"""The simple classifiers that stand in every table, each as one function from vectors to scores."""
from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestCentroid
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

NOT_CALIBRATED = {"nearest-mean": "softmax of minus half the squared distance to each class mean",
                  "linear-svm": "softmax of the margins"}


def majority(x: np.ndarray, y: np.ndarray, tested: np.ndarray, n_labels: int) -> np.ndarray:
    """The class shares of the training side for every tested utterance (ties go to the first label)."""
    return np.tile(np.bincount(y, minlength=n_labels) / len(y), (len(tested), 1))


def nearest_mean(x: np.ndarray, y: np.ndarray, tested: np.ndarray, n_labels: int) -> np.ndarray:
    """Softmax of minus half the squared Euclidean distance to the mean of each class (prototypes of all training utterances)."""
    model = NearestCentroid().fit(x, y)
    distances = ((tested[:, None, :] - model.centroids_[None]) ** 2).sum(axis=2)
    return _spread(softmax(-0.5 * distances, axis=1), model.classes_, n_labels)


def logistic(x: np.ndarray, y: np.ndarray, tested: np.ndarray, n_labels: int, c: float) -> np.ndarray:
    """Multinomial logistic regression, L2 with inverse strength `c`, classes weighted to equal mass."""
    model = LogisticRegression(C=c, class_weight="balanced", max_iter=2000).fit(x, y)
    return _spread(model.predict_proba(tested), model.classes_, n_labels)


def linear_svm(x: np.ndarray, y: np.ndarray, tested: np.ndarray, n_labels: int, c: float, seed: int) -> np.ndarray:
    """Softmax of the margins of one-vs-rest linear support vector machines, classes weighted to equal mass."""
    model = LinearSVC(C=c, class_weight="balanced", max_iter=10000, random_state=seed).fit(x, y)
    margins = model.decision_function(tested)
    if margins.ndim == 1:                         # two classes: one margin
        margins = np.stack([-margins, margins], axis=1)
    return _spread(softmax(margins, axis=1), model.classes_, n_labels)


def _spread(scores: np.ndarray, classes: np.ndarray, n_labels: int) -> np.ndarray:
    """Scores in the columns of their label; labels that were not trained get 0."""
    spread = np.zeros((len(scores), n_labels))
    spread[:, classes] = scores
    return spread


def scores_of(classifier: str, c: float, seed: int) -> Callable[[np.ndarray, np.ndarray, np.ndarray, int], np.ndarray]:
    """The function (x (n, dim), y (n,) label indices, tested (m, dim), n_labels) -> scores (m, n_labels) in [0, 1] of a classifier."""
    return {"majority": majority, "nearest-mean": nearest_mean,
            "logistic": lambda x, y, tested, n: logistic(x, y, tested, n, c),
            "linear-svm": lambda x, y, tested, n: linear_svm(x, y, tested, n, c, seed)}[classifier]


def normalise(features: np.ndarray, training: np.ndarray, speakers: np.ndarray, how: str) -> np.ndarray:
    """Features with mean 0 and deviation 1 (a constant feature becomes 0), float64 of the same shape (utterances, dim).

    training: bool (utterances,). how = "inductive": mean and deviation of the training utterances, for all. "speaker-normalised":
    each speaker's own, from all of that speaker's clips without their labels; tested speakers too, so it is transductive.
    """
    features = features.astype(np.float64)
    if how == "inductive":
        return StandardScaler().fit(features[training]).transform(features)
    normalised = np.empty_like(features)
    for speaker in np.unique(speakers):
        own = speakers == speaker
        normalised[own] = StandardScaler().fit_transform(features[own])
    return normalised
