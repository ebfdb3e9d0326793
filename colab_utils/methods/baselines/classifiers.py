"""The simple classifiers that stand in every table: functions from vectors to scores, and a small
perceptron that is trained.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestCentroid
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from torch import nn

from colab_utils.learning.training import ModuleLearner
from colab_utils.results.rates import uar

NOT_CALIBRATED = {
    "nearest-mean": "softmax of minus half the squared distance to each class mean",
    "linear-svm": "softmax of the margins",
}


def majority(x: np.ndarray, y: np.ndarray, tested: np.ndarray, n_labels: int) -> np.ndarray:
    """The class shares of the training side for every tested utterance (ties go to the first
    label).
    """
    return np.tile(np.bincount(y, minlength=n_labels) / len(y), (len(tested), 1))


def nearest_mean(x: np.ndarray, y: np.ndarray, tested: np.ndarray, n_labels: int) -> np.ndarray:
    """Softmax of minus half the squared Euclidean distance to the mean of each class (prototypes of
    all training utterances).
    """
    model = NearestCentroid().fit(x, y)
    distances = ((tested[:, None, :] - model.centroids_[None]) ** 2).sum(axis=2)
    return _spread(softmax(-0.5 * distances, axis=1), model.classes_, n_labels)


def logistic(
    x: np.ndarray, y: np.ndarray, tested: np.ndarray, n_labels: int, c: float
) -> np.ndarray:
    """Multinomial logistic regression, L2 with inverse strength `c`, classes weighted to equal
    mass.
    """
    model = LogisticRegression(C=c, class_weight="balanced", max_iter=2000).fit(x, y)
    return _spread(model.predict_proba(tested), model.classes_, n_labels)


def linear_svm(
    x: np.ndarray, y: np.ndarray, tested: np.ndarray, n_labels: int, c: float, seed: int
) -> np.ndarray:
    """Softmax of the margins of one-vs-rest linear support vector machines, classes weighted to
    equal mass.
    """
    model = LinearSVC(C=c, class_weight="balanced", max_iter=10000, random_state=seed).fit(x, y)
    margins = model.decision_function(tested)
    if margins.ndim == 1:  # two classes: one margin
        margins = np.stack([-margins, margins], axis=1)
    return _spread(softmax(margins, axis=1), model.classes_, n_labels)


def _spread(scores: np.ndarray, classes: np.ndarray, n_labels: int) -> np.ndarray:
    """Scores in the columns of their label; labels that were not trained get 0."""
    spread = np.zeros((len(scores), n_labels))
    spread[:, classes] = scores
    return spread


def scores_of(
    classifier: str, c: float, seed: int
) -> Callable[[np.ndarray, np.ndarray, np.ndarray, int], np.ndarray]:
    """The function (x (n, dim), y (n,) label indices, tested (m, dim), n_labels) -> scores (m,
    n_labels) in [0, 1] of a classifier.
    """
    return {
        "majority": majority,
        "nearest-mean": nearest_mean,
        "logistic": lambda x, y, tested, n: logistic(x, y, tested, n, c),
        "linear-svm": lambda x, y, tested, n: linear_svm(x, y, tested, n, c, seed),
    }[classifier]


def normalise(
    features: np.ndarray, training: np.ndarray, speakers: np.ndarray, how: str
) -> np.ndarray:
    """Features with mean 0 and deviation 1 (a constant feature becomes 0), float64 of the same
    shape (utterances, dim).

    training: bool (utterances,). how = "inductive": mean and deviation of the training utterances,
    for all. "speaker-normalised": each speaker's own, from all of that speaker's clips without
    their labels; tested speakers too, so it is transductive.
    """
    features = features.astype(np.float64)
    if how == "inductive":
        return StandardScaler().fit(features[training]).transform(features)
    normalised = np.empty_like(features)
    for speaker in np.unique(speakers):
        own = speakers == speaker
        normalised[own] = StandardScaler().fit_transform(features[own])
    return normalised


class MlpLearner(ModuleLearner):
    """One hidden layer with ReLU and dropout, AdamW, cross-entropy with classes weighted to equal
    mass.

    x: float (n, dim); y: label indices (n,); valid: (x, y) whose UAR selects the epoch. A step is a
    batch; the order of an epoch follows from (seed, epoch) alone. Runs on the CPU, where a resumed
    training ends bit for bit like an uninterrupted one.
    """

    def __init__(
        self,
        x: np.ndarray,
        y: np.ndarray,
        valid: tuple[np.ndarray, np.ndarray],
        n_labels: int,
        *,
        hidden: int,
        dropout: float,
        learning_rate: float,
        weight_decay: float,
        batch: int,
        seed: int,
    ):
        self.x, self.y = (
            torch.as_tensor(x, dtype=torch.float32),
            torch.as_tensor(y, dtype=torch.int64),
        )
        self.valid, self.n_labels, self.batch, self.seed = valid, n_labels, batch, seed
        torch.manual_seed(seed)
        self.module = nn.Sequential(
            nn.Linear(x.shape[1], hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, n_labels),
        )
        self.optimiser = torch.optim.AdamW(
            self.module.parameters(), lr=learning_rate, weight_decay=weight_decay
        )
        counts = np.bincount(y, minlength=n_labels)
        weights = np.divide(len(y), n_labels * counts, out=np.zeros(n_labels), where=counts > 0)
        self.loss = nn.CrossEntropyLoss(weight=torch.as_tensor(weights, dtype=torch.float32))

    @property
    def steps_per_epoch(self) -> int:
        """Batches in one pass over the training utterances."""
        return -(-len(self.x) // self.batch)

    def step(self, i: int) -> dict[str, float]:
        """One update on batch i of the endless row of epochs; returns its loss."""
        epoch, position = divmod(i, self.steps_per_epoch)
        order = np.random.default_rng((self.seed, epoch)).permutation(len(self.x))
        rows = torch.as_tensor(order[position * self.batch : (position + 1) * self.batch])
        self.module.train()
        loss = self.loss(self.module(self.x[rows]), self.y[rows])
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return {"loss": loss.item()}

    def validate(self) -> float:
        """UAR on the validation utterances, in [0, 1]."""
        x, y = self.valid
        chosen = self.scores(x).argmax(axis=1)
        return float(
            uar(
                np.bincount(y * self.n_labels + chosen, minlength=self.n_labels**2).reshape(
                    self.n_labels, self.n_labels
                )
            )
        )

    @torch.no_grad()
    def scores(self, x: np.ndarray) -> np.ndarray:
        """Softmax probabilities, float64 (n, n_labels)."""
        self.module.eval()
        return torch.softmax(
            self.module(torch.as_tensor(x, dtype=torch.float32)).double(), dim=1
        ).numpy()
