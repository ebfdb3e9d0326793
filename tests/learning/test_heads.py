"""Linear heads against scikit-learn, against a closed form of their optimum, and in full space."""

import numpy as np
import pytest
import torch
from scipy.optimize import check_grad, minimize
from scipy.special import log_softmax, softmax
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold

from colab_utils.learning import heads, recipe
from colab_utils.learning.heads import LinearHead, balanced, linear_head, linear_heads
from colab_utils.learning.tasks import Batch, Tasks
from colab_utils.results.calibration import temperature


def blobs(n, dim, classes=3, seed=0, shift=0.0):
    rng = np.random.default_rng(seed)
    places = np.random.default_rng(99).normal(0, 1, (classes, dim))
    y = np.arange(n) % classes
    return places[y] + shift + rng.normal(0, 2, (n, dim)), y


@pytest.mark.parametrize(("n", "dim"), [(90, 7), (12, 40)])  # more utterances, more features
def test_without_a_prior_it_is_scikit_learns_regression(n, dim):
    x, y = blobs(n, dim)
    y[:4] = 0  # classes of different sizes
    head = linear_head(x, y, 3, 0.02)
    model = LogisticRegression(C=1 / 0.02, tol=1e-10, max_iter=100_000)
    model.fit(x / np.sqrt(dim), y, sample_weight=balanced(y, 3))
    assert np.allclose(
        softmax(head.logits(x), axis=1), model.predict_proba(x / np.sqrt(dim)), atol=1e-5
    )


def naive_loss(values, x, y, strength, prior, mass):
    """The objective as it is written, one utterance after the other."""
    weight = values[: prior.weight.size].reshape(prior.weight.shape)
    bias = values[prior.weight.size :]
    total = strength / 2 * ((weight - prior.weight) ** 2).sum()
    for row, label, count in zip(x, y, mass, strict=True):
        logits = row @ weight / np.sqrt(len(row)) + bias
        total -= count * log_softmax(logits)[label]
    return total


@pytest.mark.parametrize(("n", "dim"), [(30, 5), (6, 20)])
@pytest.mark.parametrize("twice", [False, True])
def test_with_a_prior_no_other_weights_are_better(n, dim, twice):
    x, y = blobs(n, dim)
    if twice:  # utterances that depend on each other
        x[1] = x[0]
        x[3] = x[0] + x[2]
    rng = np.random.default_rng(3)
    prior = LinearHead(rng.normal(size=(dim, 3)), rng.normal(size=3))
    mass = rng.uniform(0.5, 1, n) / n
    head = linear_head(x, y, 3, 0.05, prior, mass)
    arguments = x, y, 0.05, prior, mass
    ours = np.concatenate([head.weight.ravel(), head.bias])
    best = minimize(naive_loss, ours * 0, arguments, method="BFGS", options={"gtol": 1e-6})
    assert naive_loss(ours, *arguments) <= best.fun + 1e-9

    def slope(values):
        return np.zeros_like(values)

    assert check_grad(lambda v: naive_loss(v, *arguments), slope, ours) < 2e-6


def test_a_prior_that_is_sure_of_the_wrong_is_left_and_one_that_is_right_beside_it_stays():
    x, y = blobs(30, 5)
    truth, mass = np.eye(3)[np.stack([y, np.arange(30) % 3])], np.full((2, 30), 1 / 30)
    both = np.stack([x, np.zeros_like(x)])  # the second has nothing to learn: its slope is 0
    weight = np.zeros((2, 5, 3))
    weight[0] = 30 * np.random.default_rng(3).normal(size=(5, 3))  # logits of 60 and more
    prior = LinearHead(weight, np.zeros((2, 3)))
    found = linear_heads(both, truth, mass, prior, 0.05)
    assert not found.weight[1].any() and not found.bias[1].any()
    arguments = x, y, 0.05, LinearHead(weight[0], np.zeros(3)), mass[0]
    ours = np.concatenate([found.weight[0].ravel(), found.bias[0]])
    best = minimize(naive_loss, ours * 0, arguments, method="BFGS", options={"gtol": 1e-6})
    assert naive_loss(ours, *arguments) <= best.fun + 1e-9


def test_a_strong_prior_stays_and_a_weak_one_goes():
    x, y = blobs(30, 6)
    prior = LinearHead(np.ones((6, 3)) * [1, 2, 3], np.zeros(3))
    assert np.allclose(linear_head(x, y, 3, 1e6, prior).weight, prior.weight, atol=1e-5)
    far, near = (linear_head(x, y, 3, strength, prior) for strength in (1e-4, 1e-1))
    alone = linear_head(x, y, 3, 1e-4)
    apart = [np.abs(softmax(one.logits(x)) - softmax(alone.logits(x))).max() for one in (far, near)]
    assert apart[0] < apart[1]


def test_every_class_that_occurs_has_the_same_mass():
    y = np.array([0, 0, 0, 2])
    assert np.allclose(balanced(y, 3), [1 / 6, 1 / 6, 1 / 6, 1 / 2])


# --- on the support of few-shot tasks -------------------------------------------------------------


def tasks_of(k, dim=8, classes=4, absent=None, n_tasks=2):
    """Tasks whose features are moved; `absent`: a class that does not compete."""
    there = [label for label in range(classes) if label != absent]
    support, query, y, query_y = [], [], [], []
    for task in range(n_tasks):
        labels = np.repeat(there, k)
        x, _ = blobs(classes * (k + 5), dim, classes, seed=task + 1, shift=0.7)
        of_class = [x[label::classes] for label in range(classes)]
        support.append(np.concatenate([of_class[label][:k] for label in there]))
        query.append(np.concatenate([of_class[label][k:] for label in there]))
        y.append(labels)
        query_y.append(np.repeat(there, 5))
    active = torch.zeros(n_tasks, classes, dtype=torch.bool)
    active[:, there] = True

    def batch(values, labels):
        return Batch((torch.tensor(np.stack(values)),), torch.tensor(np.stack(labels)), active)

    return Tasks(batch(support, y), batch(query, query_y))


@pytest.mark.parametrize("k", [1, 4])
@pytest.mark.parametrize("absent", [None, 1])
@pytest.mark.parametrize("corpora", [1, 3])
def test_the_recipe_is_the_source_as_prior_of_each_support(k, absent, corpora):
    x, y = blobs(120, 8, 4)
    source = heads.SourceHeads.of(x, y, 4, corpora)
    tasks = tasks_of(k, absent=absent)
    scores = heads.source_as_prior(tasks, source).numpy()
    there = [label for label in range(4) if label != absent]
    assert (
        np.allclose(scores.sum(axis=2), 1)
        and not scores[..., [absent or 0]].any()
        or absent is None
    )
    for task in range(2):
        own_x = tasks.support.inputs[0][task].numpy()
        own_y = np.searchsorted(there, tasks.support.y[task].numpy())
        head = linear_head(
            own_x,
            own_y,
            len(there),
            recipe.SUPPORT_PRECISION / len(own_y),
            source.prior.of(np.array(there)),
        )
        query, columns = tasks.query.inputs[0][task].numpy(), np.array(there)
        share = 1 / (1 + np.sqrt(k))
        logits = share * source.alone.of(columns).logits(query) / recipe.SOURCE_TEMPERATURE
        logits += (1 - share) * head.logits(query) / (1 + 1 / k)
        logits *= corpora**0.15
        assert np.allclose(scores[task][:, there], softmax(logits, axis=1), atol=1e-5)


def test_nothing_of_the_query_reaches_the_support_but_its_own_features():
    x, y = blobs(120, 8, 4)
    source, tasks = heads.SourceHeads.of(x, y, 4), tasks_of(3)
    scores = heads.source_as_prior(tasks, source)
    lied = tasks._replace(query=tasks.query._replace(y=tasks.query.y * 0))
    assert torch.equal(heads.source_as_prior(lied, source), scores)
    first = tasks._replace(query=tasks.query._replace(inputs=(tasks.query.inputs[0][:, :2],)))
    assert torch.allclose(heads.source_as_prior(first, source), scores[:, :2])


def test_source_and_support_are_one_regression_of_equal_mass():
    x, y = blobs(80, 8, 4)
    tasks = tasks_of(2, absent=3)
    scores = heads.source_and_support(tasks, x, y)
    used = y != 3
    for task in range(2):
        both_x = np.concatenate([x[used], tasks.support.inputs[0][task].numpy()]) / np.sqrt(8)
        both_y = np.concatenate([y[used], tasks.support.y[task].numpy()])
        mass = np.repeat([0.5 / used.sum(), 0.5 / 6], [used.sum(), 6])
        model = LogisticRegression(C=1 / recipe.PRIOR_STRENGTH, tol=1e-10, max_iter=100_000)
        model.fit(both_x, both_y, sample_weight=mass)
        expected = model.predict_proba(tasks.query.inputs[0][task].numpy() / np.sqrt(8))
        assert np.allclose(scores[task][:, :3], expected, atol=2e-4)
    assert not scores[..., 3].any()


def test_the_sources_temperature_is_of_speakers_that_were_left_out():
    x, y = blobs(200, 30, 4, seed=5)
    speakers = np.repeat(np.arange(10), 20)
    t = heads.source_temperature(x, y, speakers, 4)
    unseen = np.zeros((200, 4))
    for out in GroupKFold(5).split(x, y, speakers):
        head = linear_head(x[out[0]], y[out[0]], 4, recipe.SOURCE_STRENGTH)
        unseen[out[1]] = head.logits(x[out[1]])

    def loss(t):
        return -log_softmax(unseen / t, axis=1)[np.arange(200), y].mean()

    assert loss(t) < min(loss(1.02 * t), loss(t / 1.02))
    seen = linear_head(x, y, 4, recipe.SOURCE_STRENGTH).logits(x)
    assert t > 1.1 * temperature(seen, y), "its own clips would make it too sure"
    assert heads.source_temperature(x, y, np.zeros(200), 4) == 1.0
