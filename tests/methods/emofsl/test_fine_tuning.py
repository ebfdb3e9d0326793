"""Fine-tuning on frozen features: many draws at once end as each does alone, decide as scipy."""

import dataclasses
import time

import numpy as np
import pandas as pd
import pytest
import torch
from emofsl_toys import FOUR, config_with, draws, net, world
from scipy.spatial.distance import cdist
from scipy.special import softmax
from torch.nn import functional

from colab_utils.learning.clips import Scale
from colab_utils.learning.training import TrainingError
from colab_utils.methods.emofsl import emofsl
from colab_utils.methods.emofsl.circumplex import (
    coordinates_from_annotations,
    emotion_distances,
    pair_levels,
)
from colab_utils.methods.emofsl.emofsl import decide, fine_tune, levels_and_margins, metric_loss
from colab_utils.methods.emofsl.network import EmofslNet, forward
from colab_utils.methods.emofsl.pair_losses import emotion_distance, pair_distances, pair_masks
from colab_utils.methods.emofsl.settings import METHODS, EmofslConfig
from colab_utils.settings import SettingError


def far_of(emotions):
    levels = pair_levels(emotion_distances(emotions))
    return torch.as_tensor(levels.to_numpy() == "PN")


def alone(module, support, y, config, metric):
    """One draw, fine-tuned the ordinary way: a module of its own, torch's Adam, a mean
    cross-entropy.
    """
    own = net(support.dtype, module.activation)
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


GRADED = {"margins": "graded", "activation": "relu", "centre": 0.7, "reduction": "sum"}


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-5)])
@pytest.mark.parametrize(
    "changes",
    [
        {"method": "BTL"},
        {"method": "BTL", "tune": "head"},
        {"method": "FSTL"},
        {"method": "EMOFSL"},
        {"method": "EMOFSL", **GRADED},
        {"method": "EMOFSL", "shots": 1},
    ],
    ids=str,
)
def test_draws_fine_tuned_together_end_as_each_does_alone(changes, dtype, tolerance):
    start = {"epochs": 8, "learning_rate": 3e-3, "decay": 0.95, "loss_weight": 0.7, "shots": 3}
    config = config_with(**{**start, **changes})
    module, metric = net(dtype, config.activation), metric_loss(config, FOUR)
    support, y = draws(3, config.shots, dtype=dtype)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    together = fine_tune(module, support, y, config, metric)
    for i in range(3):
        own = alone(module, support[i], y, config, metric)
        for name, value in own.state_dict().items():
            assert torch.allclose(together[name][i], value, rtol=0, atol=tolerance), name
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
    moved = {name for name, value in together.items() if not torch.equal(value[0], before[name])}
    expected = {"head.weight", "head.bias"}
    if config.tune == "all":
        expected |= {"projection.weight", "projection.bias"}
    if config.centre:
        expected |= {"mean"}
    assert moved == expected


def test_a_draw_does_not_depend_on_which_others_are_tuned_with_it_or_on_the_order_of_its_support():
    config, (support, y) = config_with(epochs=8), draws(5, 3)
    module, metric = net(), metric_loss(config, FOUR)
    together = fine_tune(module, support, y, config, metric)
    two = fine_tune(module, support[[3, 1]], y, config, metric)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    shuffled = fine_tune(module, support[:, order], y[order].expand(5, 12), config, metric)
    for name in together:
        assert torch.allclose(together[name][[3, 1]], two[name], atol=1e-12)
        assert torch.allclose(together[name], shuffled[name], atol=1e-9)


def test_the_network_with_many_parameters_is_the_network():
    module, (support, y) = net(activation="relu"), draws(3, 2)
    config = config_with(epochs=4, activation="relu")
    parameters = fine_tune(module, support, y, config, None)
    query = torch.as_tensor(world(5, 9)[0])
    logits, embedding = forward(parameters, query, "relu")
    for i in range(3):
        module.load_state_dict({name: value[i] for name, value in parameters.items()})
        for ours, theirs in zip((logits[i], embedding[i]), module(query), strict=True):
            assert torch.allclose(ours, theirs, atol=1e-12)
    scaled = (query - module.mean) * module.factor
    expected = module.head(module.projection(scaled).relu())
    assert torch.allclose(module(query)[0], expected, atol=1e-12)


def test_layers_are_weighed_as_a_naive_loop_does_alone_and_for_many_draws():
    torch.manual_seed(0)
    mean, factor, values = torch.randn(12), torch.rand(12) + 0.5, torch.randn(5, 12)
    module = EmofslNet(Scale(mean, factor), 3, width=4, layers=3)
    with torch.no_grad():
        module.layer_weights.copy_(torch.tensor([0.3, -1.0, 2.0]))
    weights = torch.softmax(module.layer_weights, dim=0)
    expected = sum(weights[i] * ((values - mean) * factor)[:, 4 * i : 4 * i + 4] for i in range(3))
    assert torch.allclose(module.scaled(values), expected, atol=1e-6)
    parameters = {}
    for i, (name, value) in enumerate(module.state_dict().items()):
        parameters[name] = torch.stack([value, value + 0.1 * i])
    together = forward(parameters, values)
    for draw in range(2):
        single = forward({name: value[draw] for name, value in parameters.items()}, values)
        for one, other in zip(together, single, strict=True):
            assert torch.allclose(one[draw], other, atol=1e-5)
    with pytest.raises(SettingError, match="layers = 5: 12 features"):
        EmofslNet(Scale(mean, factor), 3, layers=5)


def test_the_projection_may_act_on_pooled_features_because_it_commutes_with_the_mean_over_frames():
    module, frames = net(), torch.as_tensor(world(8, 3)[0])
    pooled = module(frames.mean(dim=0, keepdim=True))[1][0]
    assert torch.allclose(module(frames)[1].mean(dim=0), pooled)


def test_no_epochs_leave_the_sources_weights():
    module, (support, y) = net(), draws(2, 2)
    parameters = fine_tune(module, support, y, config_with(epochs=0), None)
    for name, value in module.state_dict().items():
        assert torch.equal(parameters[name][1], value)


def test_each_method_lowers_its_own_loss():
    support, y = draws(6, 5)
    module = net()
    embeddings = {}
    for method in METHODS:
        config = config_with(
            method=method, epochs=40, learning_rate=5e-3, loss_weight=3.0, alpha=1.8, beta=0.6
        )
        metric = metric_loss(config, FOUR)
        logits, embeddings[method] = forward(fine_tune(module, support, y, config, metric), support)
        start = functional.cross_entropy(module(support)[0].flatten(0, 1), y.repeat(6))
        assert functional.cross_entropy(logits.flatten(0, 1), y.repeat(6)) < start
        if method != "BTL":
            assert (metric(embeddings[method], y) < metric(embeddings["BTL"], y)).all()
    same, distant, _ = pair_masks(y, far_of(FOUR))
    d = {method: pair_distances(embedding) for method, embedding in embeddings.items()}
    assert d["EMOFSL"][:, distant].mean() > d["BTL"][:, distant].mean()
    assert d["EMOFSL"][:, same].mean() < d["BTL"][:, same].mean()


def test_a_weight_of_zero_is_the_basic_method():
    support, y = draws(2, 3)
    basic = config_with(method="BTL", epochs=6)
    none = dataclasses.replace(basic, method="EMOFSL", loss_weight=0.0)
    one, other = (
        fine_tune(net(), support, y, config, metric_loss(config, FOUR)) for config in (basic, none)
    )
    assert all(torch.allclose(one[name], other[name], atol=1e-12) for name in one)


@pytest.mark.parametrize(
    "zero",
    [
        lambda embedding, y: 0 * embedding.sum(dim=(1, 2)),
        lambda embedding, y: 0 * embedding.square().mean(dim=(1, 2)),
        lambda embedding, y: 0 * emotion_distance(embedding, y, far_of(FOUR)),
    ],
)
@pytest.mark.parametrize("width", [6, 256])
def test_a_loss_of_zero_ends_as_none_does_to_the_last_bit(zero, width):
    """Its gradient lies otherwise in memory, and products are rounded by their order of sums."""
    support, y = draws(4, 3, dtype=torch.float32)
    config = config_with(epochs=10, learning_rate=1e-2)
    module = net(torch.float32, width=width)
    one, other = (fine_tune(module, support, y, config, metric) for metric in (zero, None))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_ones_own_metric_loss_takes_the_place_of_ours():
    def small(embedding, y):
        return embedding.square().mean(dim=(1, 2))

    support, y = draws(2, 3)
    config = config_with(epochs=20, learning_rate=1e-2, loss_weight=5.0)
    parameters = fine_tune(net(), support, y, config, small)
    after, before = forward(parameters, support)[1], net()(support)[1]
    assert after.square().mean() < 0.5 * before.square().mean()


def test_the_loss_of_the_settings_is_that_of_equation_2_with_pairs_of_the_circumplex():
    generator = torch.Generator().manual_seed(0)
    embedding = torch.randn(3, 20, 8, dtype=torch.float64, generator=generator)
    y = draws(1, 5)[1]
    margins = {"alpha": 1.2, "beta": 0.5, "kappa1": 0.7, "kappa2": 0.2, "reduction": "sum"}
    config = config_with(**margins)
    order = ["sadness", "anger", "neutral", "happiness"]
    expected = emotion_distance(embedding, y, far_of(order), **margins)
    assert torch.allclose(metric_loss(config, order)(embedding, y), expected)
    assert not torch.allclose(metric_loss(config, FOUR)(embedding, y), expected)
    graded = metric_loss(dataclasses.replace(config, margins="graded"), order)(embedding, y)
    assert not torch.allclose(graded, expected)
    # sadness is loud here
    loud = pd.DataFrame({"emotion": FOUR, "valence": [2, 4.5, 3, 2], "arousal": [4, 4, 3, 4.2]})
    rated = metric_loss(
        dataclasses.replace(config, margins="annotated"), order, coordinates_from_annotations(loud)
    )
    assert not torch.allclose(rated(embedding, y), graded)
    assert metric_loss(dataclasses.replace(config, method="BTL"), order) is None


def test_levels_and_margins_are_the_papers_for_its_emotions_and_graded_ones_lie_between():
    paper = EmofslConfig.from_preset("paper")
    levels, margins = levels_and_margins(paper, FOUR)
    far = {frozenset(pair) for pair in levels.stack()[lambda one: one == "PN"].index}
    assert far == {frozenset({"happiness", "sadness"}), frozenset({"anger", "sadness"})}
    assert (margins == levels.map({"PP": 0.0, "PN": 1.0, "MN": 0.6}.get)).all(axis=None)
    graded = levels_and_margins(dataclasses.replace(paper, margins="graded"), FOUR)[1]
    between = graded.to_numpy()[~np.eye(4, dtype=bool)]
    assert between.min() == pytest.approx(0.6) and between.max() == pytest.approx(1.0)


def test_graded_weights_go_from_kappa_2_at_the_nearest_pair_to_kappa_1_at_the_farthest():
    three, y = ["anger", "happiness", "sadness"], torch.arange(3)
    config = config_with(
        margins="graded", alpha=1.9, beta=1.8, kappa1=0.9, kappa2=0.2, valence=0.0, reduction="sum"
    )
    angles = torch.tensor([0.0, 0.4, 1.0], dtype=torch.float64)
    embedding = torch.stack([angles.cos(), angles.sin()], dim=1)
    d = pair_distances(embedding)
    # by arousal: anger-happiness 0.08, happiness-sadness 0.78, anger-sadness 0.86
    share = (0.78 - 0.08) / (0.86 - 0.08)
    nearest = 0.2 * (1.8 - d[0, 1])
    farthest = 0.9 * (1.9 - d[0, 2])
    between = (0.2 + 0.7 * share) * (1.8 + 0.1 * share - d[1, 2])
    value = metric_loss(config, three)(embedding[None], y)
    assert torch.allclose(value, nearest + farthest + between)


def test_the_limit_of_far_emotions_is_a_setting():
    embedding, y = torch.eye(2, dtype=torch.float64)[None] + 0.8, torch.arange(2)
    near, far = (
        metric_loss(config_with(far=limit), ["anger", "neutral"])(embedding, y)
        for limit in (0.73, 0.5)
    )
    d = float(pair_distances(embedding)[0, 0, 1])
    assert near == pytest.approx(0.3 * max(0.6 - d, 0)) and far == pytest.approx(0.6 * (1.0 - d))


@pytest.mark.parametrize("k", [1, 4])
def test_both_decisions_equal_scipy(k, monkeypatch):
    monkeypatch.setattr(emofsl, "_MOST", 100)  # the query goes through in parts
    support, y = draws(3, k)
    module, query = net(), torch.as_tensor(world(7, 11)[0])
    config = config_with(epochs=3)
    parameters = fine_tune(module, support, y, config, metric_loss(config, FOUR))

    def scores_with(**changes):
        return decide(parameters, query, support, y, dataclasses.replace(config, **changes))

    scores = scores_with()
    cosine = scores_with(similarity="cosine")["prototype"]
    raw = scores_with(normalise=False)["prototype"]
    for i in range(3):
        own = {name: value[i].numpy() for name, value in parameters.items()}
        scaled = ((x.numpy() - own["mean"]) * own["factor"] for x in (query, support[i]))
        found, known = (x @ own["projection.weight"].T + own["projection.bias"] for x in scaled)
        logits = found @ own["head.weight"].T + own["head.bias"]
        assert np.allclose(scores["head"][i], softmax(logits, axis=1))
        centres = [known[y == c].mean(axis=0) for c in range(4)]
        assert np.allclose(raw[i], softmax(-cdist(found, centres), axis=1))
        found, known = (one / np.linalg.norm(one, axis=1, keepdims=True) for one in (found, known))
        centres = [known[y == c].mean(axis=0) for c in range(4)]
        assert np.allclose(scores["prototype"][i], softmax(-cdist(found, centres), axis=1))
        assert np.allclose(cosine[i], softmax(1 - cdist(found, centres, "cosine"), axis=1))


def test_a_class_without_support_is_never_chosen_by_prototypes():
    support, y = draws(2, 3)
    config, query = config_with(epochs=2), torch.as_tensor(world(4, 5)[0])
    parameters = fine_tune(net(), support, y, config, None)
    scores = decide(parameters, query, support[:, 3:], y[3:], config)["prototype"]
    assert (scores[..., 0] == 0).all()
    assert torch.allclose(scores.sum(dim=-1), torch.ones(2, 16, dtype=torch.float64))


def test_broken_features_end_in_a_sentence():
    support, y = draws(2, 2)
    support[1, 3, 2] = float("nan")
    with pytest.raises(TrainingError, match="not finite"):
        fine_tune(net(), support, y, config_with(epochs=2), None)


@pytest.mark.slow
def test_fifty_draws_of_three_methods_take_little_time():
    torch.manual_seed(0)
    module = EmofslNet(Scale(torch.zeros(576), torch.ones(576)), 4)
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
