"""The baselines on support draws: LDA is scikit-learn's, and all see what the projection sees."""

import numpy as np
import pytest
import torch
from emofsl_toys import draws, net, world
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestCentroid
from sklearn.preprocessing import normalize

from colab_utils.learning.heads import logistic_regression, nearest_prototype
from colab_utils.methods.emofsl.rivals import as_tasks, baseline, lda, within_class_covariance
from colab_utils.methods.emofsl.settings import EmofslConfig
from colab_utils.settings import SettingError

MODULE = net()
SOURCE_X, SOURCE_Y = world(100, 60)
SOURCE = torch.as_tensor(SOURCE_X), SOURCE_Y
QUERY = torch.as_tensor(world(25, 30)[0])
TRUE = np.repeat(np.arange(4), 25)


def scaled(x):
    return (np.asarray(x) - MODULE.mean.numpy()) * MODULE.factor.numpy()


class Fixed:
    """A covariance that scikit-learn takes as it is."""

    def __init__(self, covariance):
        self.covariance_ = covariance

    def fit(self, x):
        return self


@pytest.mark.parametrize("k", [1, 5])
def test_lda_equals_scikit_learn_with_the_covariance_of_the_source(k):
    support, y = draws(3, k)
    tasks = as_tasks(MODULE.scaled, 4, support, y, QUERY)
    covariance = within_class_covariance(scaled(SOURCE_X), SOURCE_Y)
    ours = lda(tasks, covariance)
    theirs = LinearDiscriminantAnalysis(
        "lsqr", priors=[0.25] * 4, covariance_estimator=Fixed(covariance)
    )
    repeats = 2 if k == 1 else 1  # it refuses one utterance a class; the mean stays
    for i in range(3):
        x, labels = np.repeat(scaled(support[i]), repeats, axis=0), np.repeat(y, repeats)
        expected = theirs.fit(x, labels).predict_proba(scaled(QUERY))
        assert np.allclose(ours[i], expected, atol=1e-9)
    one = baseline("LDA", EmofslConfig(shrinkage=0.0), tasks, MODULE, SOURCE)
    assert torch.allclose(one, ours, atol=1e-9)


@pytest.mark.parametrize("shrinkage", [0.0, 0.4, 1.0])
def test_lda_shrinks_its_covariance_as_scikit_learn_does(shrinkage):
    support, y = draws(3, 4)
    tasks = as_tasks(MODULE.scaled, 4, support, y, QUERY)
    ours = baseline("LDA", EmofslConfig(shrinkage=shrinkage), tasks, MODULE, SOURCE)
    covariance = within_class_covariance(scaled(SOURCE_X), SOURCE_Y)
    mixed = (1 - shrinkage) * covariance
    mixed += shrinkage * np.eye(len(mixed)) * np.trace(covariance) / len(mixed)
    assert torch.allclose(ours, lda(tasks, mixed), atol=1e-9)
    if shrinkage == 1:
        assert torch.equal(ours.argmax(dim=-1), nearest_prototype(tasks).argmax(dim=-1))


@pytest.mark.parametrize("nearest", ["length 1", "centred"])
def test_features_of_length_1_are_compared_as_scikit_learn_normalises_them(nearest):
    support, y = draws(3, 4)
    tasks = as_tasks(MODULE.scaled, 4, support, y, QUERY)
    ours = baseline("nearest prototype", EmofslConfig(nearest=nearest), tasks, MODULE, SOURCE)
    for i in range(3):
        middle = scaled(support[i]).mean(axis=0) if nearest == "centred" else 0
        known, asked = (normalize(scaled(x) - middle) for x in (support[i], QUERY))
        expected = NearestCentroid().fit(known, y).predict(asked)
        assert np.array_equal(ours[i].argmax(dim=-1), expected)


def test_logistic_regression_has_the_strength_of_the_settings():
    support, y = draws(2, 4)
    tasks = as_tasks(MODULE.scaled, 4, support, y, QUERY)
    ours = baseline("logistic regression", EmofslConfig(C=0.003), tasks, MODULE, SOURCE)
    theirs = LogisticRegression(C=0.003, tol=1e-8).fit(scaled(support[1]), y)
    assert np.allclose(ours[1], theirs.predict_proba(scaled(QUERY)), atol=1e-6)


def test_the_covariance_is_that_of_the_noise_about_the_means():
    covariance = within_class_covariance(scaled(SOURCE_X), SOURCE_Y)
    factor = MODULE.factor.numpy()
    # the noise has deviation 1
    assert np.allclose(covariance, np.diag(factor**2), atol=0.15 * factor.max() ** 2)
    with pytest.raises(SettingError, match="one utterance a class"):
        within_class_covariance(SOURCE_X[::100], SOURCE_Y[::100])


def test_baselines_at_one_shot_see_what_the_projection_sees():
    support, y = draws(4, 1)
    tasks = as_tasks(MODULE.scaled, 4, support, y, QUERY)
    assert np.allclose(tasks.query.inputs[0][3], scaled(QUERY))
    found = {}
    for name, alone in (("nearest prototype", nearest_prototype), ("LDA", None)):
        scores = baseline(name, EmofslConfig(nearest="plain"), tasks, MODULE, SOURCE)
        found[name] = (scores.argmax(dim=-1).numpy() == TRUE).mean()
        assert alone is None or torch.equal(scores, alone(tasks))
    assert found["LDA"] >= found["nearest prototype"] > 0.7
    scores = baseline("logistic regression", EmofslConfig(C=0.1), tasks, MODULE, SOURCE)
    assert torch.equal(scores, logistic_regression(tasks)) and scores.shape == (4, 100, 4)
