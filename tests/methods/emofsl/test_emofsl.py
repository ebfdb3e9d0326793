"""EMOFSL on frozen features: many draws at once end as each does alone, losses do what they
promise, settings that clash are refused.
"""

import dataclasses
import functools
import time

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.spatial.distance import cdist
from scipy.special import softmax
from sklearn.covariance import ShrunkCovariance, ledoit_wolf_shrinkage
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from torch.nn import functional

from colab_utils.learning import training
from colab_utils.learning.heads import logistic_regression, nearest_prototype
from colab_utils.learning.training import TrainingError
from colab_utils.methods.emofsl.circumplex import coordinates_from_annotations, pair_levels
from colab_utils.methods.emofsl.emofsl import (
    decide,
    fine_tune,
    metric_loss,
    scale_of,
    source_learner,
)
from colab_utils.methods.emofsl.network import EmofslNet, forward
from colab_utils.methods.emofsl.pair_losses import emotion_distance, pair_distances, pair_masks
from colab_utils.methods.emofsl.rivals import as_tasks, lda, within_class_covariance
from colab_utils.methods.emofsl.settings import DECISIONS, METHODS, TUNING, EmofslConfig
from colab_utils.settings import RESULT, TRAINING, SettingError, check

FOUR = ["anger", "happiness", "neutral", "sadness"]
DIM = 10
train = functools.partial(training.train, progress=False, save_seconds=0.0)


PLAIN = {
    "margins": "paper",
    "alpha": 1.0,
    "beta": 0.6,
    "source_loss_weight": 0.0,
    "learning_rate": 1e-3,
    "epochs": 30,
    "decision": "prototype",
}


def config_with(**changes):
    """Settings near the paper's, but for what a test is about."""
    return EmofslConfig(**{**PLAIN, **changes})


def world(n, seed, shift=0.0, noise=1.0):
    """Utterances of four classes around fixed places: x float64 (4 n, DIM), y int64, class by
    class.
    """
    places = 2 * np.random.default_rng(0).normal(size=(4, DIM))
    y = np.repeat(np.arange(4), n)
    return places[y] + noise * np.random.default_rng(seed).normal(size=(4 * n, DIM)) + shift, y


def net(dtype=torch.float64, activation="none", seed=0, width=6):
    torch.manual_seed(seed)
    x = world(20, 1)[0]
    return EmofslNet(*scale_of(x), 4, width=width, activation=activation).to(dtype)


def draws(count, k, seed=2, dtype=torch.float64, shift=0.0):
    """Supports (count, 4 k, DIM) and their labels (4 k,)."""
    return torch.stack(
        [torch.as_tensor(world(k, seed + i, shift)[0], dtype=dtype) for i in range(count)]
    ), torch.arange(4).repeat_interleave(k)


def alone(module, support, y, config, metric):
    """One draw, fine-tuned the ordinary way: a module of its own, torch's Adam, a mean
    cross-entropy.
    """
    own = EmofslNet(
        module.mean.clone(),
        module.factor,
        4,
        width=module.embedding_dim,
        activation=module.activation,
    ).to(support.dtype)
    own.load_state_dict(module.state_dict())
    own.mean.copy_((1 - config.centre) * module.mean + config.centre * support.mean(dim=0))
    tuned = own.head.parameters() if config.tune == "head" else own.parameters()
    optimiser = torch.optim.Adam(tuned, lr=config.learning_rate)
    for epoch in range(config.epochs):
        for group in optimiser.param_groups:
            group["lr"] = config.learning_rate * config.decay**epoch
        logits, embedding = own(support)
        loss = functional.cross_entropy(logits, y)
        if metric is not None:
            loss = loss + config.loss_weight * metric(embedding, y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return own


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-5)])
@pytest.mark.parametrize(
    "changes",
    [
        {"method": "BTL"},
        {"method": "BTL", "tune": "head"},
        {"method": "FSTL"},
        {"method": "EMOFSL"},
        {
            "method": "EMOFSL",
            "margins": "graded",
            "activation": "relu",
            "centre": 0.7,
            "reduction": "sum",
        },
        {"method": "EMOFSL", "shots": 1},
    ],
    ids=str,
)
def test_draws_fine_tuned_together_end_as_each_does_alone(changes, dtype, tolerance):
    config = config_with(
        **{
            "epochs": 12,
            "learning_rate": 3e-3,
            "decay": 0.95,
            "loss_weight": 0.7,
            "shots": 3,
            "width": 6,
            **changes,
        }
    )
    module, metric = net(dtype, config.activation), metric_loss(config, FOUR)
    support, y = draws(4, config.shots, dtype=dtype)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    together = fine_tune(module, support, y, config, metric)
    for i in range(4):
        own = alone(module, support[i], y, config, metric)
        for name, value in own.state_dict().items():
            assert torch.allclose(together[name][i], value, rtol=0, atol=tolerance), name
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
    moved = {name for name, value in together.items() if not torch.equal(value[0], before[name])}
    assert moved == {"head.weight", "head.bias"} | (
        {"projection.weight", "projection.bias"} if config.tune == "all" else set()
    ) | ({"mean"} if config.centre else set())


def test_a_draw_does_not_depend_on_which_others_are_tuned_with_it_or_on_the_order_of_its_support():
    config, (support, y) = config_with(epochs=8, width=6), draws(5, 3)
    module, metric = net(), metric_loss(config, FOUR)
    together, two = (
        fine_tune(module, support, y, config, metric),
        fine_tune(module, support[[3, 1]], y, config, metric),
    )
    order = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    shuffled = fine_tune(module, support[:, order], y[order].expand(5, 12), config, metric)
    for name in together:
        assert torch.allclose(together[name][[3, 1]], two[name], atol=1e-12)
        assert torch.allclose(together[name], shuffled[name], atol=1e-9)


def test_the_network_with_many_parameters_is_the_network():
    module, (support, y) = net(activation="relu"), draws(3, 2)
    parameters = fine_tune(
        module, support, y, config_with(epochs=4, activation="relu", width=6), None
    )
    query = torch.as_tensor(world(5, 9)[0])
    logits, embedding = forward(parameters, query, "relu")
    for i in range(3):
        module.load_state_dict({name: value[i] for name, value in parameters.items()})
        for ours, theirs in zip((logits[i], embedding[i]), module(query), strict=True):
            assert torch.allclose(ours, theirs, atol=1e-12)
    scaled = (query - module.mean) * module.factor
    expected = module.head(module.projection(scaled).relu())
    assert torch.allclose(module(query)[0], expected, atol=1e-12)
    assert torch.allclose(
        torch.func.functional_call(module, dict(module.named_parameters()), (query,))[0],
        expected,
        atol=1e-12,
    )


def test_the_projection_may_act_on_pooled_features_because_it_commutes_with_the_mean_over_frames():
    module, frames = net(), torch.as_tensor(world(8, 3)[0])
    assert torch.allclose(
        module(frames)[1].mean(dim=0), module(frames.mean(dim=0, keepdim=True))[1][0]
    )


def test_no_epochs_leave_the_sources_weights():
    module, (support, y) = net(), draws(2, 2)
    parameters = fine_tune(module, support, y, config_with(epochs=0, width=6), None)
    assert all(
        torch.equal(parameters[name][1], value) for name, value in module.state_dict().items()
    )


def test_each_method_lowers_its_own_loss():
    support, y = draws(6, 5)
    module, far = net(), torch.as_tensor(pair_levels(FOUR) == "PN")
    embeddings = {}
    for method in METHODS:
        config = config_with(
            method=method,
            epochs=40,
            learning_rate=5e-3,
            width=6,
            loss_weight=3.0,
            alpha=1.8,
            beta=0.6,
        )
        parameters = fine_tune(module, support, y, config, metric_loss(config, FOUR))
        logits, embeddings[method] = forward(parameters, support)
        start = functional.cross_entropy(module(support)[0].flatten(0, 1), y.repeat(6))
        assert functional.cross_entropy(logits.flatten(0, 1), y.repeat(6)) < start
        if method != "BTL":
            metric = metric_loss(config, FOUR)
            assert (metric(embeddings[method], y) < metric(embeddings["BTL"], y)).all()
    same, distant, _ = pair_masks(y, far)
    d = {method: pair_distances(embedding) for method, embedding in embeddings.items()}
    assert d["EMOFSL"][:, distant].mean() > d["BTL"][:, distant].mean()
    assert d["EMOFSL"][:, same].mean() < d["BTL"][:, same].mean()


def test_a_weight_of_zero_is_the_basic_method():
    support, y = draws(2, 3)
    basic = config_with(method="BTL", epochs=6, width=6)
    none = dataclasses.replace(basic, method="EMOFSL", loss_weight=0.0)
    one, other = (
        fine_tune(net(), support, y, config, metric_loss(config, FOUR)) for config in (basic, none)
    )
    assert all(torch.allclose(one[name], other[name], atol=1e-12) for name in one)


def test_ones_own_metric_loss_takes_the_place_of_ours():
    support, y = draws(2, 3)
    config = config_with(epochs=20, learning_rate=1e-2, width=6, loss_weight=5.0)
    parameters = fine_tune(
        net(), support, y, config, lambda embedding, y: embedding.square().mean(dim=(1, 2))
    )
    assert forward(parameters, support)[1].square().mean() < 0.5 * net()(support)[1].square().mean()


def test_the_loss_of_the_settings_is_that_of_eq_2_with_pairs_of_the_circumplex():
    embedding, y = (
        torch.randn(3, 20, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0)),
        draws(1, 5)[1],
    )
    config = config_with(alpha=1.2, beta=0.5, kappa1=0.7, kappa2=0.2, reduction="sum")
    order = ["sadness", "anger", "neutral", "happiness"]
    far = torch.as_tensor(pair_levels(order) == "PN")
    expected = emotion_distance(
        embedding, y, far, alpha=1.2, beta=0.5, kappa1=0.7, kappa2=0.2, reduction="sum"
    )
    assert torch.allclose(metric_loss(config, order)(embedding, y), expected)
    assert not torch.allclose(metric_loss(config, FOUR)(embedding, y), expected)
    graded = dataclasses.replace(config, margins="graded")
    assert not torch.allclose(metric_loss(graded, order)(embedding, y), expected)
    # sadness is loud here
    loud = pd.DataFrame(
        {"emotion": FOUR, "valence": [2, 4.5, 3, 2], "arousal": [4, 4, 3, 4.2], "dominance": 3}
    )
    places = coordinates_from_annotations(loud)
    assert not torch.allclose(
        metric_loss(graded, order, places)(embedding, y), metric_loss(graded, order)(embedding, y)
    )
    assert metric_loss(dataclasses.replace(config, method="BTL"), order) is None


def test_graded_weights_go_from_kappa_2_at_the_nearest_pair_to_kappa_1_at_the_farthest():
    three, y = ["anger", "happiness", "sadness"], torch.arange(3)
    config = config_with(
        margins="graded", alpha=1.9, beta=1.8, kappa1=0.9, kappa2=0.2, valence=0.0, reduction="sum"
    )
    angles = torch.tensor([0.0, 0.4, 1.0], dtype=torch.float64)
    d = pair_distances(torch.stack([angles.cos(), angles.sin()], dim=1))
    # by arousal: anger-happiness 0.08, happiness-sadness 0.78, anger-sadness 0.86
    share = (0.78 - 0.08) / (0.86 - 0.08)
    expected = (
        0.2 * (1.8 - d[0, 1])
        + 0.9 * (1.9 - d[0, 2])
        + (0.2 + 0.7 * share) * (1.8 + 0.1 * share - d[1, 2])
    )
    assert torch.allclose(
        metric_loss(config, three)(torch.stack([angles.cos(), angles.sin()], dim=1)[None], y),
        expected,
    )


def test_the_limit_of_far_emotions_is_a_setting():
    embedding, y = torch.eye(2, dtype=torch.float64)[None] + 0.8, torch.arange(2)
    near, far = (
        metric_loss(config_with(far=limit), ["anger", "neutral"])(embedding, y)
        for limit in (0.73, 0.5)
    )
    d = pair_distances(embedding)[0, 0, 1]
    assert near == pytest.approx(0.3 * max(0.6 - float(d), 0)) and far == pytest.approx(
        0.6 * (1.0 - float(d))
    )


@pytest.mark.parametrize("k", [1, 4])
def test_both_decisions_equal_scipy(k):
    support, y = draws(3, k)
    module, query = net(), torch.as_tensor(world(7, 11)[0])
    config = config_with(epochs=3, width=6)
    parameters = fine_tune(module, support, y, config, metric_loss(config, FOUR))
    scores = decide(parameters, query, support, y, config)
    cosine = decide(
        parameters, query, support, y, dataclasses.replace(config, similarity="cosine")
    )["prototype"]
    raw = decide(parameters, query, support, y, dataclasses.replace(config, normalise=False))[
        "prototype"
    ]
    for i in range(3):
        own = {name: value[i].numpy() for name, value in parameters.items()}
        scaled = ((x.numpy() - own["mean"]) * own["factor"] for x in (query, support[i]))
        found, known = (x @ own["projection.weight"].T + own["projection.bias"] for x in scaled)
        assert np.allclose(
            scores["head"][i], softmax(found @ own["head.weight"].T + own["head.bias"], axis=1)
        )
        assert np.allclose(
            raw[i], softmax(-cdist(found, [known[y == c].mean(axis=0) for c in range(4)]), axis=1)
        )
        found, known = (one / np.linalg.norm(one, axis=1, keepdims=True) for one in (found, known))
        centres = [known[y == c].mean(axis=0) for c in range(4)]
        assert np.allclose(scores["prototype"][i], softmax(-cdist(found, centres), axis=1))
        assert np.allclose(cosine[i], softmax(1 - cdist(found, centres, "cosine"), axis=1))


def test_a_query_of_each_draw_and_a_class_without_support():
    support, y = draws(2, 3)
    config, query = config_with(epochs=2, width=6), torch.as_tensor(world(4, 5)[0])
    parameters = fine_tune(net(), support, y, config, None)
    once, each = (
        decide(parameters, one, support, y, config)
        for one in (query, query.expand(2, *query.shape))
    )
    assert all(torch.equal(once[rule], each[rule]) for rule in DECISIONS)
    scores = decide(parameters, query, support[:, 3:], y[3:], config)["prototype"]
    assert (scores[..., 0] == 0).all() and torch.allclose(
        scores.sum(dim=-1), torch.ones(2, 16, dtype=torch.float64)
    )


def source(tmp_path, config, steps=None, seed=1):
    (x, y), valid = world(30, seed), world(10, seed + 50)
    learner = source_learner(x, y, valid, 4, config)
    return learner, train(
        learner,
        steps or learner.steps,
        tmp_path,
        every=learner.steps_per_epoch,
        patience=config.source_patience,
    )


def test_the_three_stages_carry_the_source_over_to_a_shifted_target(tmp_path):
    config = config_with(width=16, source_epochs=12, source_rate=1e-2, epochs=30)
    learner, history = source(tmp_path, config)
    assert history.best_score > 0.9 and learner.steps_per_epoch == 4
    support, y = draws(8, 5, seed=100, dtype=torch.float32, shift=2.0)
    x, true = world(50, 200, shift=2.0)
    query, true = torch.as_tensor(x, dtype=torch.float32), torch.as_tensor(true)

    def right(scores):
        return float((scores.argmax(dim=-1) == true).float().mean())

    untouched = right(learner.module(query)[0])
    for method in METHODS:
        own = dataclasses.replace(config, method=method)
        scores = decide(
            fine_tune(learner.module, support, y, own, metric_loss(own, FOUR)),
            query,
            support,
            y,
            own,
        )
        assert (
            right(scores["head"]) > untouched + 0.1 and right(scores["prototype"]) > untouched + 0.1
        )


def test_the_metric_loss_of_the_source_makes_its_classes_compact_and_is_off_by_default(tmp_path):
    (x, y), valid = world(30, 1), world(10, 51)
    query, true = (torch.as_tensor(one) for one in world(20, 70))
    same, spread = pair_masks(true)[0], {}
    for weight in (0.0, 5.0):
        config = config_with(
            width=16, source_epochs=12, source_rate=1e-2, source_loss_weight=weight
        )
        learner = source_learner(x, y, valid, 4, config, metric_loss(config, FOUR))
        batch = learner.batches(0)
        logits, embedding = (part.detach() for part in learner.module(*batch.inputs))
        plain = functional.cross_entropy(logits, batch.y)  # the source is balanced here
        assert learner.step(0)["loss"] == pytest.approx(
            float(plain + weight * metric_loss(config, FOUR)(embedding, batch.y))
        )
        train(learner, learner.steps, tmp_path / str(weight), every=4)
        spread[weight] = pair_distances(learner.module(query.float())[1])[same].mean().item()
    assert spread[5.0] < 0.8 * spread[0.0]


def test_centring_on_the_support_removes_a_shift_of_the_target(tmp_path):
    config = config_with(width=16, source_epochs=12, source_rate=1e-2, epochs=0, centre=1.0)
    learner, _ = source(tmp_path, config)
    x, true = world(50, 200)
    scores = []
    for shift in (0.0, 7.0):
        support, y = draws(3, 5, seed=100, dtype=torch.float32, shift=shift)
        parameters = fine_tune(learner.module, support, y, config, None)
        scores.append(
            decide(parameters, torch.as_tensor(x + shift, dtype=torch.float32), support, y, config)
        )
    for rule in DECISIONS:
        assert torch.allclose(scores[0][rule], scores[1][rule], atol=1e-4)
    assert float((scores[0]["head"].argmax(dim=-1) == torch.as_tensor(true)).float().mean()) > 0.9


def test_source_training_resumes_to_the_same_weights(tmp_path):
    config = config_with(width=8, source_epochs=6, source_patience=100)
    whole, _ = source(tmp_path / "whole", config)

    class Killed(Exception):
        pass

    (x, y), valid = world(30, 1), world(10, 51)
    killed = source_learner(x, y, valid, 4, config)
    step = killed.step
    killed.step = lambda i: step(i) if i < 10 else (_ for _ in ()).throw(Killed)
    with pytest.raises(Killed):
        train(killed, killed.steps, tmp_path / "part", every=killed.steps_per_epoch, patience=100)
    resumed, history = source(tmp_path / "part", config)
    assert history.resumed_from == 8
    assert all(
        torch.equal(value, whole.module.state_dict()[name])
        for name, value in resumed.module.state_dict().items()
    )


def test_the_scale_is_that_of_the_training_utterances_and_ignores_constants(tmp_path):
    x, y = world(30, 1)
    x[:, 3] = 123.456
    learner = source_learner(x, y, world(10, 51), 4, config_with(width=8))
    varies = np.arange(DIM) != 3
    assert np.allclose(learner.module.mean, x.mean(axis=0)) and learner.module.factor[3] == 0
    assert np.allclose(learner.module.factor[varies], 1 / x[:, varies].std(axis=0))


def test_the_rate_of_the_source_decays_by_epoch():
    config = config_with(width=8, source_rate=1e-2, decay=0.5)
    learner = source_learner(*world(30, 1), world(10, 51), 4, config)
    rates = []
    for i in (0, 3, 4, 9):
        learner.step(i)
        rates.append(learner.optimiser.param_groups[0]["lr"])
    assert rates == [1e-2, 1e-2, 5e-3, 2.5e-3]


def test_the_paper_preset_has_table_1():
    paper = EmofslConfig.from_preset("paper")
    values = (
        paper.learning_rate,
        paper.decay,
        paper.epochs,
        paper.alpha,
        paper.beta,
        paper.kappa,
        paper.kappa1,
        paper.kappa2,
        paper.loss_weight,
    )
    assert values == (1e-4, 0.98, 10, 1.0, 0.6, 1.0, 0.6, 0.3, 1.0)
    assert paper.changed() == dataclasses.replace(paper, method="FSTL", seed=3).changed() == {}
    assert dataclasses.replace(paper, shots=15).changed() == {"shots": 15}
    assert dataclasses.replace(paper, alpha=1.1).changed() == {"alpha": 1.1}
    for name in EmofslConfig.PRESETS:
        check(EmofslConfig.from_preset(name))
    with pytest.raises(SettingError, match="choose from default, paper"):
        EmofslConfig.from_preset("best")


def different(one, other):
    """The settings in which two configs differ."""
    return {name for name in dataclasses.asdict(one) if getattr(one, name) != getattr(other, name)}


def changed_everywhere(method):
    """Settings of a method with every number and choice other than in the defaults."""
    values = {
        "method": method,
        "tune_layers": 2,
        "margins": "paper",
        "decision": "prototype",
        "activation": "relu",
        "normalise": False,
        "similarity": "cosine",
        "reduction": "sum",
        "tune": "head" if method == "BTL" else "all",
    }
    for field in dataclasses.fields(EmofslConfig):
        if field.name not in values and field.name != "preset":
            values[field.name] = type(field.default)(field.default * 1.25 + 1)
    return dataclasses.replace(EmofslConfig(), **values)


SHARED = {
    "seed",
    "source_epochs",
    "source_rate",
    "source_batch",
    "source_patience",
    "decay",
    "width",
    "activation",
    "tune_layers",
    "layers_rate",
}
EVERY = {"shots", "n_draws", "seed", "n_seeds", "n_boot"}
TUNED = {"learning_rate", "epochs", "tune", "centre", "normalise", "similarity", "decision"}
METRIC = {
    "BTL": set(),
    "FSTL": {"source_loss_weight", "kappa", "cap", "reduction"},
    "EMOFSL": {
        "source_loss_weight",
        "alpha",
        "beta",
        "kappa1",
        "kappa2",
        "margins",
        "valence",
        "far",
        "reduction",
    },
}


@pytest.mark.parametrize("method", METHODS)
def test_what_a_method_does_not_look_at_decides_nothing(method):
    start, config = EmofslConfig(), changed_everywhere(method)
    metric = METRIC[method] | ({"loss_weight"} if METRIC[method] else set())
    expected = SHARED | EVERY | TUNED | metric | {"method"}
    if method == "EMOFSL":
        expected -= {"method", "tune"}  # as in the defaults
    expected -= {"tune"} if method == "FSTL" else set()
    assert different(config.only(), start) == expected
    assert (
        different(config.of_baselines(), dataclasses.replace(start, method="BTL")) == SHARED | EVERY
    )
    same_source = METRIC[method] | ({"normalise"} if METRIC[method] else set())
    assert (
        different(config.of_source(), dataclasses.replace(start, method=method))
        == SHARED | same_source
    )
    plain = dataclasses.replace(config, source_loss_weight=0.0)
    assert plain.of_source() == dataclasses.replace(changed_everywhere("BTL")).of_source()


def test_each_setting_has_one_of_the_scopes():
    scopes = {
        field.metadata["scope"]
        for field in dataclasses.fields(EmofslConfig)
        if field.name != "preset"
    }
    assert scopes == {TRAINING, TUNING, RESULT}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"alpha": 0.6}, "far emotions need the larger margin"),
        ({"tune": "head"}, "would not move"),
        ({"method": "SVM"}, "choose from 'BTL'"),
        ({"shots": 0}, "at least 1"),
        ({"centre": 1.5}, "at most 1"),
    ],
)
def test_settings_that_cannot_work_are_refused(changes, message):
    config = config_with(**changes)
    support, y = draws(1, 2)
    for act in (
        lambda: metric_loss(config, FOUR),
        lambda: fine_tune(net(), support, y, config, None),
        lambda: source_learner(*world(5, 1), world(2, 2), 4, config),
    ):
        with pytest.raises(SettingError, match=message):
            act()


def test_an_emotion_without_coordinates_is_refused_only_where_it_matters():
    with pytest.raises(SettingError, match="other has no coordinates"):
        metric_loss(config_with(), ["anger", "other"])
    assert metric_loss(config_with(method="FSTL"), ["anger", "other"]) is not None


def test_a_network_of_another_activation_is_refused():
    support, y = draws(1, 2)
    with pytest.raises(SettingError, match="trained with 'relu'"):
        fine_tune(net(activation="relu"), support, y, config_with(width=6), None)


def test_broken_features_end_in_a_sentence():
    support, y = draws(2, 2)
    support[1, 3, 2] = float("nan")
    with pytest.raises(TrainingError, match="not finite"):
        fine_tune(net(), support, y, config_with(epochs=2, width=6), None)


def test_lda_equals_scikit_learn_with_the_same_shrinkage():
    support, y = draws(3, 5)
    module, query = net(), torch.as_tensor(world(6, 30)[0])
    tasks = as_tasks(module, support, y, query)
    ours = lda(tasks)
    for i in range(3):
        x = ((support[i] - module.mean) * module.factor).numpy()
        residuals = np.concatenate([x[y == c] - x[y == c].mean(axis=0) for c in range(4)])
        shrunk = ShrunkCovariance(shrinkage=ledoit_wolf_shrinkage(residuals, assume_centered=True))
        theirs = LinearDiscriminantAnalysis(
            solver="lsqr", covariance_estimator=shrunk, priors=[0.25] * 4
        ).fit(x, y)
        assert np.allclose(
            ours[i],
            theirs.predict_proba(((query - module.mean) * module.factor).numpy()),
            atol=1e-9,
        )


def test_lda_at_one_shot_takes_the_covariance_of_the_source():
    support, y = draws(4, 1)
    x, labels = world(100, 60)
    module, query = net(), torch.as_tensor(world(25, 30)[0])
    tasks = as_tasks(module, support, y, query)
    with pytest.raises(SettingError, match="one shot"):
        lda(tasks)
    covariance = within_class_covariance((x - module.mean.numpy()) * module.factor.numpy(), labels)
    # the noise has deviation 1
    assert np.allclose(
        covariance, np.diag(module.factor.numpy() ** 2), atol=0.15 * float(module.factor.max()) ** 2
    )
    scores = lda(tasks, covariance)
    truth = np.repeat(np.arange(4), 25)
    assert (
        (scores.argmax(dim=-1).numpy() == truth).mean()
        >= (nearest_prototype(tasks).argmax(dim=-1).numpy() == truth).mean()
        > 0.7
    )
    assert logistic_regression(tasks).shape == scores.shape == (4, 100, 4)


def test_fifty_draws_of_three_methods_take_little_time():
    torch.manual_seed(0)
    module = EmofslNet(torch.zeros(576), torch.ones(576), 4)
    support, y, threads = torch.randn(50, 20, 576), draws(1, 5)[1], torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        spent = time.process_time()
        for method in METHODS:
            config = config_with(method=method, epochs=10)
            fine_tune(module, support, y, config, metric_loss(config, FOUR))
        assert time.process_time() - spent < 5  # seconds of one core; 0.8 measured
    finally:
        torch.set_num_threads(threads)
