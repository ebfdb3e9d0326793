"""Baselines inside episodes: each against its definition or scikit-learn, task by task."""
import itertools

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestCentroid

from colab_utils.methods import episode_baselines, pooled
from colab_utils.methods.inner_loop import adapted_scores
from colab_utils.methods.protonet import ProtoNetLearner
from colab_utils.methods.tasks import Batch, Tasks, accuracy, cross_entropy
from colab_utils.methods.training import train
from colab_utils.models import network


def make_tasks(number=5, classes=6, chosen=(4, 0, 3), shots=3, queries=7, dim=8, spread=1.0, seed=0, shift=0.0):
    rng = np.random.default_rng(seed)
    places = np.random.default_rng(9).normal(size=(classes, dim))

    def batch(each):
        y = np.repeat(chosen, each)
        x = places[y] + shift + spread * rng.normal(size=(number, len(y), dim))
        active = np.isin(np.arange(classes), chosen)
        return Batch((torch.tensor(x, dtype=torch.float32),), torch.tensor(np.tile(y, (number, 1))), torch.tensor(np.tile(active, (number, 1))))
    return Tasks(batch(shots), batch(queries))


def test_nearest_prototype_is_scikit_learns_nearest_centroid():
    tasks = make_tasks()
    scores = episode_baselines.nearest_prototype(tasks)
    assert torch.allclose(scores.sum(-1), torch.ones(5, 21)) and (scores[..., [1, 2, 5]] == 0).all()
    for i in range(5):
        model = NearestCentroid().fit(tasks.support.inputs[0][i], tasks.support.y[i])
        assert np.array_equal(scores[i].argmax(-1), model.predict(tasks.query.inputs[0][i]))


def test_logistic_regression_is_scikit_learns():
    tasks = make_tasks()
    scores = episode_baselines.logistic_regression(tasks, c=0.5)
    for i in range(5):
        model = LogisticRegression(C=0.5, max_iter=5000, tol=1e-8).fit(tasks.support.inputs[0][i].double(), tasks.support.y[i])
        assert np.allclose(scores[i][:, model.classes_], model.predict_proba(tasks.query.inputs[0][i].double()), atol=2e-3)


def test_guessing_is_at_chance_and_repeatable():
    tasks = make_tasks(number=300)
    scores = episode_baselines.chance(tasks, seed=1)
    assert torch.equal(scores, episode_baselines.chance(tasks, seed=1)) and not torch.equal(scores, episode_baselines.chance(tasks, seed=2))
    assert abs(float(accuracy(scores, tasks.query.y).mean()) - 1 / 3) < 0.03


def test_frames_are_pooled_over_valid_frames_only():
    rng = np.random.default_rng(0)
    values, mask = rng.normal(size=(1, 2, 9, 4)), np.arange(9) < np.array([[[9], [4]]])
    pooled_vectors = episode_baselines.vectors(Batch((torch.tensor(values), torch.tensor(mask)), torch.zeros(1, 2), torch.ones(1, 1)))
    for n, length in enumerate((9, 4)):
        clip = values[0, n, :length]
        assert np.allclose(pooled_vectors[0, n], np.concatenate([clip.mean(0), clip.std(0)]))


def test_protonet_scores_follow_the_naive_loop_and_training_helps(tmp_path):
    torch.manual_seed(0)
    net = network("mlp", 8, 6, width=16)
    learner = ProtoNetLearner(net, lambda i: make_tasks(4, spread=1.5, seed=i, chosen=(0, 1, 2)),
                              make_tasks(60, spread=1.5, seed=5000, chosen=(0, 1, 2)))
    tasks = make_tasks(2)
    scores = learner.scores(tasks)
    for i in range(2):
        support, query = (net(side.inputs[0][i])[1].detach() for side in tasks)
        for n in range(len(query)):
            distance = {c: float((query[n] - support[tasks.support.y[i] == c].mean(0)).square().sum()) for c in (4, 0, 3)}
            weights = {c: np.exp(-d) for c, d in distance.items()}
            assert scores[i, n, 4].item() == pytest.approx(weights[4] / sum(weights.values()), abs=1e-5)
    before = learner.validate()
    history = train(learner, 60, tmp_path, every=20, progress=False)
    assert history.best_score > before + 0.02


def make_pooled():
    torch.manual_seed(0)
    net, data = network("mlp", 8, 6, width=16), make_tasks(1, chosen=tuple(range(6)), shots=30, queries=30)
    flat = [Batch((side.inputs[0][0],), side.y[0], side.active[0]) for side in data]
    return pooled.PooledLearner(net, lambda i: flat[0], pooled.class_weights(flat[0].y, 6), flat[1], rate=0.01)


def test_pooled_training_learns_and_resumes_bit_for_bit(tmp_path):
    whole = make_pooled()
    train(whole, 40, tmp_path / "whole", every=10, progress=False, save_seconds=0.0)
    assert whole.validate() > 0.5

    def broken(i):
        if i == 23:
            raise KeyError("killed")
        return whole.batches(i)
    first = make_pooled()
    first.batches = broken
    with pytest.raises(KeyError):
        train(first, 40, tmp_path / "killed", every=10, progress=False, save_seconds=0.0)
    again = make_pooled()
    history = train(again, 40, tmp_path / "killed", every=10, progress=False, save_seconds=0.0)
    assert history.resumed_from == 20
    assert all(torch.equal(a, b) for a, b in zip(whole.module.state_dict().values(), again.module.state_dict().values(), strict=True))


def test_fine_tuning_starts_at_the_pooled_answer_and_its_choice_is_the_best_of_the_grid():
    learner, tasks = make_pooled(), make_tasks(30, shift=0.7)
    rates = pooled.fine_tune_rates(learner.module, 0.1, 5, "all")
    scores = adapted_scores(learner.module, cross_entropy, rates, tasks, tasks_at_once=30)
    with torch.no_grad():
        logits = learner.module(tasks.query.inputs[0].flatten(0, 1))[0].unflatten(0, tasks.query.y.shape)
    expected = torch.softmax(logits.masked_fill(~tasks.query.active.unsqueeze(1), float("-inf")), -1)
    assert torch.allclose(scores[:, 0], expected, atol=1e-6)
    rate, part, steps, best = pooled.choose_fine_tuning(learner.module, tasks, (0.0, 0.1, 0.5), 5)
    grid = []
    for r, p, k in itertools.product((0.0, 0.1, 0.5), pooled.PARTS, range(1, 6)):
        last = adapted_scores(learner.module, cross_entropy, pooled.fine_tune_rates(learner.module, r, k, p), tasks, tasks_at_once=30)[:, -1]
        grid.append(float(accuracy(last, tasks.query.y).mean()))
    assert best == pytest.approx(max(grid)) and rate > 0 and part in pooled.PARTS and 1 <= steps <= 5
    assert set(pooled.fine_tune_rates(learner.module, 0.1, 2, "head")) == {"head.weight", "head.bias"}


def test_class_weights_give_equal_mass():
    y = torch.tensor([0, 0, 0, 2])
    weights = pooled.class_weights(y, 4)
    assert weights[1] == weights[3] == 0 and weights[0] * 3 == pytest.approx(float(weights[2]))
