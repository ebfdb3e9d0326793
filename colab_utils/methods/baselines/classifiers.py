"""The simple classifiers that stand in every table.

Models of scikit-learn, asked for scores, and a small perceptron that is trained.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from scipy.special import softmax
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestCentroid
from sklearn.svm import LinearSVC
from torch import nn

from colab_utils.learning.kept.steps import Dense, Linear, Nearest, Relu, Step
from colab_utils.learning.supervised import balanced_cross_entropy, class_weights
from colab_utils.learning.training import ModuleLearner
from colab_utils.methods.baselines.settings import BaselineConfig
from colab_utils.results.rates import confusion, uar

NOT_CALIBRATED = {
    "nearest-mean": "softmax of minus half the squared distance to each class mean",
    "linear-svm": "softmax of the margins",
}


def fitted(config: BaselineConfig, x: np.ndarray, y: np.ndarray) -> Any:
    """A classifier of scikit-learn.

    "majority": the class shares of the training side (ties go to the first label). "nearest-mean":
    the mean of each class. "logistic": multinomial logistic regression, L2 with inverse strength C.
    "linear-svm": one-vs-rest support vector machines. The last two weight classes to equal mass.

    Args:
        config: names the classifier, C and seed.
        x: training utterances (n, dim).
        y: their label indices (n,).
    """
    if config.classifier == "majority":
        return DummyClassifier(strategy="prior").fit(x, y)
    if config.classifier == "nearest-mean":
        return NearestCentroid().fit(x, y)
    if config.classifier == "logistic":
        return LogisticRegression(C=config.C, class_weight="balanced", max_iter=2000).fit(x, y)
    return LinearSVC(
        C=config.C, class_weight="balanced", max_iter=10000, random_state=config.seed
    ).fit(x, y)


def scores_of(
    config: BaselineConfig, x: np.ndarray, y: np.ndarray, tested: np.ndarray, n_labels: int
) -> np.ndarray:
    """Scores of tested utterances by a classifier that is fitted to others, see `fitted`.

    "nearest-mean": softmax of minus half the squared Euclidean distance to each mean (prototypes of
    all training utterances). "linear-svm": softmax of the margins.

    Args:
        config: as of `fitted`.
        x: as of `fitted`.
        y: as of `fitted`.
        tested: utterances (m, dim).
        n_labels: how many labels there are.

    Returns:
        (m, n_labels) in [0, 1]; 0 for labels that were not trained.
    """
    model = fitted(config, x, y)
    if config.classifier == "nearest-mean":
        apart = tested[:, None, :] - model.centroids_
        found = softmax(-0.5 * (apart**2).sum(axis=2), axis=1)
    elif config.classifier == "linear-svm":
        margins = model.decision_function(tested)
        if margins.ndim == 1:  # two classes: one margin
            margins = np.stack([-margins, margins], axis=1)
        found = softmax(margins, axis=1)
    else:
        found = model.predict_proba(tested)
    scores = np.zeros((len(tested), n_labels))
    scores[:, model.classes_] = found
    return scores


def steps_of(
    config: BaselineConfig, x: np.ndarray, y: np.ndarray
) -> tuple[Sequence[int], list[Step]]:
    """What `scores_of` computes as the steps of a kept model.

    Args:
        config: as of `fitted`.
        x: as of `fitted`.
        y: as of `fitted`.

    Returns:
        The label indices that it knows, and the steps to their logits.
    """
    model = fitted(config, x, y)
    known = list(model.classes_)
    if config.classifier == "nearest-mean":
        return known, [Nearest.of(model.centroids_, "half square")]
    if config.classifier == "majority":
        nothing = np.zeros((x.shape[1], len(known)))
        return known, [Linear.of(nothing, np.log(model.class_prior_))]
    weight, bias = model.coef_.T, model.intercept_
    if len(known) == 2:  # one margin: of the second class, and of the SVM minus it of the first
        first = -1.0 if config.classifier == "linear-svm" else 0.0
        weight = np.concatenate([first * weight, weight], axis=1)
        bias = np.concatenate([first * bias, bias])
    return known, [Linear.of(weight, bias)]


def steps_of_mlp(learner: "MlpLearner") -> list[Step]:
    """A trained perceptron as the steps of a kept model."""
    before, _, _, after = learner.module
    return [Dense.of(before.weight, before.bias), Relu(), Dense.of(after.weight, after.bias)]


class MlpLearner(ModuleLearner):
    """One hidden layer with ReLU and dropout, AdamW, cross-entropy.

    Classes are weighted to equal mass. A step is a batch; the order of an epoch follows from
    (seed, epoch) alone. Runs on the CPU, where a resumed training ends bit for bit like an
    uninterrupted one.

    Args:
        x: float (n, dim).
        y: label indices (n,).
        valid: (x, y) whose UAR selects the epoch.
        n_labels: how many labels there are.
        config: the settings.
    """

    def __init__(
        self,
        x: np.ndarray,
        y: np.ndarray,
        valid: tuple[np.ndarray, np.ndarray],
        n_labels: int,
        config: BaselineConfig,
    ):
        self.x = torch.as_tensor(x, dtype=torch.float32)
        self.y = torch.as_tensor(y, dtype=torch.int64)
        self.valid, self.n_labels, self.config = valid, n_labels, config
        torch.manual_seed(config.seed)
        self.module = nn.Sequential(
            nn.Linear(x.shape[1], config.hidden),
            nn.ReLU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.hidden, n_labels),
        )
        self.optimiser = torch.optim.AdamW(
            self.module.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        self.weights = class_weights(self.y, n_labels)

    @property
    def steps_per_epoch(self) -> int:
        """Batches in one pass over the training utterances."""
        return -(-len(self.x) // self.config.batch)

    def step(self, i: int) -> dict[str, float]:
        """One update on batch i of the endless row of epochs; returns its loss."""
        epoch, position = divmod(i, self.steps_per_epoch)
        order = np.random.default_rng((self.config.seed, epoch)).permutation(len(self.x))
        first = position * self.config.batch
        rows = torch.as_tensor(order[first : first + self.config.batch])
        self.module.train()
        loss = balanced_cross_entropy(self.module(self.x[rows]), self.y[rows], self.weights)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return {"loss": loss.item()}

    def validate(self) -> float:
        """UAR on the validation utterances, in [0, 1]."""
        x, y = self.valid
        found = self.scores(x).argmax(axis=1)
        return float(uar(confusion(y, found, range(self.n_labels))))

    @torch.no_grad()
    def scores(self, x: np.ndarray) -> np.ndarray:
        """Softmax probabilities, float64 (n, n_labels)."""
        self.module.eval()
        logits = self.module(torch.as_tensor(x, dtype=torch.float32))
        return torch.softmax(logits.double(), dim=1).numpy()
