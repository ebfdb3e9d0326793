"""The source model of EMOFSL: what it is trained on, how it is resumed, what is carried over."""

import dataclasses
import functools

import numpy as np
import pytest
import torch
from emofsl_toys import DIM, FOUR, config_with, data_of, draws, source_learner, world
from torch.nn import functional

from colab_utils.learning import training
from colab_utils.methods.emofsl.emofsl import decide, fine_tune, metric_loss
from colab_utils.methods.emofsl.pair_losses import pair_distances, pair_masks
from colab_utils.methods.emofsl.settings import DECISIONS, METHODS

train = functools.partial(training.train, progress=False, save_seconds=0.0)
CONFIG = config_with(width=16, source_epochs=12, source_rate=1e-2)


def share_of_right(scores, true):
    return float((scores.argmax(dim=-1) == torch.as_tensor(true)).float().mean())


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A trained source model, and what happened."""
    learner = source_learner(CONFIG)
    folder = tmp_path_factory.mktemp("source")
    every = learner.steps_per_epoch
    return learner, train(learner, learner.steps, folder, every=every, patience=8)


def test_the_three_stages_carry_the_source_over_to_a_shifted_target(source):
    learner, history = source
    assert history.best_score > 0.9 and learner.steps_per_epoch == 4
    support, y = draws(8, 5, seed=100, dtype=torch.float32, shift=2.0)
    x, true = world(50, 200, shift=2.0)
    query = torch.as_tensor(x, dtype=torch.float32)
    untouched = share_of_right(learner.module(query)[0], true)
    for method in METHODS:
        own = dataclasses.replace(CONFIG, method=method)
        parameters = fine_tune(learner.module, support, y, own, metric_loss(own, FOUR))
        scores = decide(parameters, query, support, y, own)
        for decision in DECISIONS:
            assert share_of_right(scores[decision], true) > untouched + 0.1


def test_centring_on_the_support_removes_a_shift_of_the_target(source):
    learner, _ = source
    config = dataclasses.replace(CONFIG, epochs=0, centre=1.0)
    x, true = world(50, 200)
    scores = []
    for shift in (0.0, 7.0):
        support, y = draws(3, 5, seed=100, dtype=torch.float32, shift=shift)
        parameters = fine_tune(learner.module, support, y, config, None)
        query = torch.as_tensor(x + shift, dtype=torch.float32)
        scores.append(decide(parameters, query, support, y, config))
    for rule in DECISIONS:
        assert torch.allclose(scores[0][rule], scores[1][rule], atol=1e-4)
    assert share_of_right(scores[0]["head"], true) > 0.9


def test_the_metric_loss_of_the_source_makes_its_classes_compact(tmp_path):
    x, true = (torch.as_tensor(one) for one in world(20, 70))
    same, spread = pair_masks(true)[0], {}
    for weight in (0.0, 5.0):
        config = dataclasses.replace(CONFIG, source_loss_weight=weight)
        learner = source_learner(config, metric_loss(config, FOUR))
        rows = learner.batch(0)
        logits, embedding = (part.detach() for part in learner.module(*learner.data.inputs(rows)))
        y = learner.data.y[rows]
        plain = functional.cross_entropy(logits, y)  # the source is balanced here
        expected = plain + weight * metric_loss(config, FOUR)(embedding, y)
        assert learner.step(0)["loss"] == pytest.approx(float(expected))
        train(learner, learner.steps, tmp_path / str(weight), every=4)
        spread[weight] = pair_distances(learner.module(x.float())[1])[same].mean().item()
    assert spread[5.0] < 0.8 * spread[0.0]


def test_a_rare_emotion_of_the_source_counts_as_much_as_the_others():
    x, y = (np.concatenate(both) for both in zip(world(31, 1), world(10, 51), strict=True))
    keep = np.flatnonzero((np.arange(len(x)) >= 124) | (y != 0) | (np.arange(len(x)) < 3))
    x, y = x[keep], y[keep]  # 3 of 96 training utterances are angry, in batches of 8
    config = config_with(source_batch=8, source_rate=1e-6)
    learner = source_learner(config, x=x, y=y)
    losses = [learner.step(i)["loss"] for i in range(learner.steps_per_epoch)]
    rows = learner.train_rows
    each = functional.cross_entropy(
        learner.module(*learner.data.inputs(rows))[0], learner.data.y[rows], reduction="none"
    )
    of_classes = [each[learner.data.y[rows] == label].mean().item() for label in range(4)]
    assert np.mean(losses) == pytest.approx(np.mean(of_classes), rel=1e-3)


def test_source_training_resumes_to_the_same_weights(tmp_path):
    class Killed(Exception):
        pass

    config = config_with(width=8, source_epochs=6)
    whole, killed, resumed = (source_learner(config) for _ in range(3))
    train(whole, whole.steps, tmp_path / "whole", every=4)
    step = killed.step

    def stop(i):
        if i == 10:
            raise Killed
        return step(i)

    killed.step = stop
    with pytest.raises(Killed):
        train(killed, killed.steps, tmp_path / "part", every=4)
    assert train(resumed, resumed.steps, tmp_path / "part", every=4).resumed_from == 8
    for name, value in whole.module.state_dict().items():
        assert torch.equal(value, resumed.module.state_dict()[name])


def test_every_epoch_passes_once_over_the_training_utterances_in_an_order_of_its_own():
    learner = source_learner(config_with(source_batch=32))
    orders = [np.concatenate([learner.batch(4 * epoch + i) for i in range(4)]) for epoch in (0, 1)]
    assert all(sorted(order) == list(range(120)) for order in orders)
    assert list(orders[0]) != list(orders[1])


def test_the_scale_is_that_of_the_training_utterances_and_ignores_constants():
    x, y = world(40, 1)
    x[:, 3] = 123.456
    scale = data_of(x, y, 120).scale(np.arange(120))
    varies = np.arange(DIM) != 3
    assert np.allclose(scale.mean, x[:120].mean(axis=0)) and scale.factor[3] == 0
    assert np.allclose(scale.factor[varies], 1 / x[:120, varies].std(axis=0))


def test_rows_of_both_sides_are_not_read_at_once():
    x, y = world(4, 1)
    data = data_of(x, y, 12)
    data.split = data.split.assign(role=np.repeat(["train", "test"], [12, 4]))
    both = type(data)(data.rows, data.split, data.store, data.labels)
    assert both.vectors(np.arange(12, 16)).shape == (4, DIM)
    with pytest.raises(KeyError, match="both sides"):
        both.vectors(np.arange(10, 14))


def test_the_rate_of_the_source_decays_by_epoch():
    learner = source_learner(config_with(source_rate=1e-2, decay=0.5))
    rates = []
    for i in (0, 3, 4, 9):
        learner.step(i)
        rates.append(learner.optimiser.param_groups[0]["lr"])
    assert rates == [1e-2, 1e-2, 5e-3, 2.5e-3]


def test_the_layer_that_tells_emotions_apart_gets_the_weight():
    rng = np.random.default_rng(0)
    y = np.arange(160) % 3
    x = rng.normal(size=(160, 3, 6)).astype(np.float32)
    x[:, 1, :3] += 2 * np.eye(3, dtype=np.float32)[y]
    config = config_with(source_epochs=40, source_rate=0.02, width=8)
    learner = source_learner(config, layers=3, labels=FOUR[:3], x=x.reshape(160, 18), y=y)
    for i in range(learner.steps):
        learner.step(i)
    weights = torch.softmax(learner.module.layer_weights, dim=0)
    assert weights.argmax() == 1 and weights[1] > 0.5
