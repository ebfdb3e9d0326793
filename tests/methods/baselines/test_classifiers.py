"""The simple classifiers, each against its definition; no test information in the scaler."""

import dataclasses

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

from colab_utils.learning.training import train
from colab_utils.methods.baselines import classifiers
from colab_utils.methods.baselines.settings import BaselineConfig

FITTED = ["majority", "nearest-mean", "logistic", "linear-svm"]


@pytest.fixture(scope="module")
def blobs():
    """Training x and y of three classes, and tested x."""
    rng = np.random.default_rng(1)
    y = np.arange(60) % 3
    x = rng.normal(0, 1, (60, 4)) + y[:, None]
    return x[:45], y[:45], x[45:]


def scores_of(name, x, y, tested, n_labels=3, c=0.1):
    return classifiers.scores_of(BaselineConfig(classifier=name, C=c), x, y, tested, n_labels)


def test_classifiers_do_what_they_are_called(blobs):
    x, y, tested = blobs
    shares = scores_of("majority", x[:3], np.array([2, 2, 1]), tested)
    np.testing.assert_array_equal(shares, np.tile([0, 1 / 3, 2 / 3], (15, 1)))
    means = np.stack([x[y == label].mean(axis=0) for label in range(3)])
    nearest = cdist(tested, means).argmin(1)
    np.testing.assert_array_equal(scores_of("nearest-mean", x, y, tested).argmax(1), nearest)
    model = LogisticRegression(C=0.3, class_weight="balanced", max_iter=2000).fit(x, y)
    logistic = scores_of("logistic", x, y, tested, c=0.3)
    np.testing.assert_allclose(logistic, model.predict_proba(tested))
    model = LinearSVC(C=0.1, class_weight="balanced", max_iter=10000, random_state=0).fit(x, y)
    svm = scores_of("linear-svm", x, y, tested)
    np.testing.assert_array_equal(svm.argmax(1), model.predict(tested))


@pytest.mark.parametrize("name", FITTED)
@pytest.mark.parametrize("classes", [(0, 1, 2), (0, 2)])
def test_scores_are_distributions_with_a_column_for_every_label(blobs, name, classes):
    x, y, tested = blobs
    keep = np.isin(y, classes)
    scores = scores_of(name, x[keep], y[keep], tested, 4)
    assert scores.shape == (15, 4) and np.allclose(scores.sum(axis=1), 1) and (scores >= 0).all()
    assert not scores[:, [c for c in range(4) if c not in classes]].any()


def test_the_perceptron_learns_weighs_classes_alike_and_takes_every_utterance(blobs, tmp_path):
    x, y, tested = blobs
    keep = np.flatnonzero((y != 0) | (np.arange(45) < 15))
    x, y = x[keep], y[keep]
    config = BaselineConfig("mlp", batch=8, learning_rate=0.01)
    learner = classifiers.MlpLearner(x, y, (x, y), 4, config)
    mass = learner.weights.numpy() * np.bincount(y, minlength=4)
    np.testing.assert_allclose(mass, [len(y) / 3] * 3 + [0], rtol=1e-6)
    assert learner.steps_per_epoch == -(-len(x) // 8)
    train(learner, 20 * learner.steps_per_epoch, tmp_path, every=1000, progress=False)
    scores = learner.scores(tested)
    assert scores.shape == (15, 4) and np.allclose(scores.sum(axis=1), 1)
    assert learner.validate() > 0.5 and (learner.scores(tested) == scores).all()
    other = dataclasses.replace(config, seed=1)
    assert not np.allclose(classifiers.MlpLearner(x, y, (x, y), 4, other).scores(tested), scores)


def test_a_rare_class_counts_as_much_as_the_others_in_an_epoch_of_the_perceptron():
    rng = np.random.default_rng(0)
    y = rng.permutation(np.repeat([0, 1, 2], [50, 10, 4]))
    x = rng.normal(size=(64, 4))
    config = BaselineConfig("mlp", batch=8, learning_rate=0.0, dropout=0.0)
    learner = classifiers.MlpLearner(x, y, (x, y), 3, config)
    losses = [learner.step(i)["loss"] for i in range(8)]
    each = -np.log(learner.scores(x)[np.arange(64), y])
    of_classes = [each[y == label].mean() for label in range(3)]
    assert np.mean(losses) == pytest.approx(np.mean(of_classes), rel=1e-5)
