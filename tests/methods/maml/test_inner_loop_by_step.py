"""The way back step by step against autograd through all steps; the setting names nothing."""

import dataclasses
import itertools

import pytest
import torch

from colab_utils import settings
from colab_utils.files import short_hash
from colab_utils.learning.tasks import Batch, Tasks, masked_cross_entropy
from colab_utils.methods.maml import inner_loop
from colab_utils.methods.maml.derivatives.slopes import curvature, parts, slopes_at, taped
from colab_utils.methods.maml.inner_loop import (
    as_function,
    clips_at_once,
    for_each_task,
    leaves_of,
    meta_gradient,
    outer_objective,
    portions,
)
from colab_utils.methods.maml.losses import WithProjection, episode_loss, step_weights
from colab_utils.methods.maml.maml import MamlLearner, MetaModel, engine_of
from colab_utils.methods.maml.settings import MULTI_STEP, MamlConfig, used_by
from colab_utils.models import network
from colab_utils.settings import SettingError

pytestmark = pytest.mark.usefixtures("double")
WAYS, DIM, FRAMES, STEPS = 3, 16, 20, 3
NAMES = ("mlp", "mlp-batch", "conv4", "conv4-batch", "conv4-paper-batch", "lstm")


def make_model(name):
    name, _, norm = name.partition("-")
    return network(name, DIM, WAYS, width=8, norm=norm or "group", frames=FRAMES)


def make_batch(name, each, number):
    """Random utterances: vectors, or clips of 5 frames at least."""
    n = WAYS * each
    inputs = (torch.randn(number, n, DIM),)
    if not name.startswith("mlp"):
        mask = torch.arange(FRAMES) < torch.randint(5, FRAMES + 1, (number, n, 1))
        inputs = (torch.randn(number, n, FRAMES, DIM) * mask.unsqueeze(-1), mask)
    y = torch.arange(WAYS).repeat_interleave(each).repeat(number, 1)
    return Batch(inputs, y, torch.ones(number, WAYS, dtype=torch.bool))


def make_tasks(name, number=2):
    return Tasks(make_batch(name, 2, number), make_batch(name, 4, number))


def make_rates(model, steps=STEPS, head_only=False):
    """Another rate for each tensor and step."""
    rates = {}
    for name, _ in model.named_parameters():
        if name.startswith("head") or not head_only:
            rates[name] = 0.1 * (1 + 0.3 * torch.rand(steps))
    return rates


def by_autograd(model, loss, rates, tasks, weights, first_order):
    """The gradients by parameters and rates as autograd gives them, the objective differentiated
    through all steps, and the mean query loss.
    """
    theta, alpha = leaves_of(dict(model.named_parameters())), leaves_of(rates)
    model_at = as_function(model, loss)
    total, query_loss = 0.0, 0.0
    for task in portions(tasks, 1):
        one, answer = outer_objective(model_at, theta, alpha, task, weights.tolist(), first_order)
        total = total + one / len(tasks.query.y)
        query_loss += answer.loss.item() / len(tasks.query.y)
    leaves = [*theta.values(), *alpha.values()]
    return torch.autograd.grad(total, leaves, materialize_grads=True), query_loss


def assert_same(found, expected, query_loss):
    """To 1e-9; no entry is far above 1."""
    mine = [*found.gradients.values(), *found.rate_gradients.values()]
    for one, other in zip(mine, expected, strict=True):
        assert torch.allclose(one, other, rtol=0, atol=1e-9)
    assert float(found.query_loss) == pytest.approx(query_loss, abs=1e-9)


CASES = [
    *itertools.product(("mlp", "conv4"), MULTI_STEP, (True, False), (True, False)),
    *itertools.product(("mlp-batch", "conv4-batch", "conv4-paper-batch", "lstm"), ("ramp",)),
]
CASES = [case if len(case) == 4 else (*case, False, False) for case in CASES]


@pytest.mark.parametrize(("name", "kind", "head_only", "first_order"), CASES)
@pytest.mark.parametrize("recompute", [True, False])
def test_gradients_are_those_of_autograd(name, kind, head_only, first_order, recompute):
    model, tasks = make_model(name), make_tasks(name)
    rates, weights = make_rates(model, head_only=head_only), step_weights(kind, STEPS, 0.4)
    given = model, masked_cross_entropy, rates, tasks, weights, first_order
    found = meta_gradient(*given, recompute)
    assert_same(found, *by_autograd(*given))
    assert max(float(one.abs().max()) for one in found.rate_gradients.values()) > 1e-4
    assert all(value.grad is None for value in model.parameters())


@pytest.mark.parametrize("first_order", [True, False])
@pytest.mark.parametrize("kind", ["nt-xent", "supervised"])
@pytest.mark.parametrize("name", ["mlp", "conv4"])
def test_a_contrastive_loss_goes_back_by_step(name, kind, first_order):
    model, tasks = WithProjection(make_model(name), 4), make_tasks(name)
    rates, weights = make_rates(model), step_weights("ramp", STEPS, 0.0)
    given = model, episode_loss(kind, 0.5, 0.2), rates, tasks, weights, first_order
    assert_same(meta_gradient(*given, True), *by_autograd(*given))


def test_no_inner_step_is_plain_training():
    model, tasks = make_model("conv4"), make_tasks("conv4")
    given = model, masked_cross_entropy, make_rates(model, 0), tasks, torch.ones(1), False
    assert_same(meta_gradient(*given, True), *by_autograd(*given))


@pytest.mark.parametrize("most", [1, 2, 4, 5, 6])
def test_parts_of_a_batch_add_up_to_the_whole(most, monkeypatch):
    """6 and 12 utterances: equal parts, unequal ones, and one part."""
    model, tasks = make_model("conv4"), make_tasks("conv4")
    task = next(portions(tasks, 1))
    cut = parts(task.query, most)
    assert max(len(part.y) for part in cut) <= most
    assert torch.equal(torch.cat([part.y for part in cut]), task.query.y)
    assert torch.equal(torch.cat([part.inputs[1] for part in cut]), task.query.inputs[1])
    monkeypatch.setattr(inner_loop, "CLIPS_AT_ONCE", most)
    rates, weights = make_rates(model), step_weights("ramp", STEPS, 0.0)
    for first_order in (True, False):
        given = model, masked_cross_entropy, rates, tasks, weights, first_order
        assert_same(meta_gradient(*given), *by_autograd(*given))
    scores = inner_loop.adapted_scores(model, masked_cross_entropy, rates, tasks)
    monkeypatch.setattr(inner_loop, "clips_at_once", lambda *_: 0)
    whole = inner_loop.adapted_scores(model, masked_cross_entropy, rates, tasks)
    assert torch.allclose(scores, whole, rtol=0, atol=1e-12)


def test_clips_are_parted_only_where_none_sees_another():
    """Checked by the networks themselves: a clip's logits, alone and beside others."""
    batch = next(portions(make_tasks("conv4"), 1)).query
    for norm in ("group", "batch", "paper-batch"):
        model = make_model(f"conv4-{norm}")
        together = model(*batch.inputs)[0][:1]
        alone = model(*[value[:1] for value in batch.inputs])[0]
        parted = clips_at_once(model, masked_cross_entropy) > 0
        assert parted == torch.allclose(together, alone, atol=1e-9) == (norm == "group")
    model = make_model("conv4")
    assert clips_at_once(model, episode_loss("nt-xent", 0.5, 0.2)) == 0
    # these take many tasks at once instead
    assert clips_at_once(make_model("mlp"), masked_cross_entropy) == 0
    assert clips_at_once(make_model("lstm"), masked_cross_entropy) == 0


@pytest.mark.parametrize("name", NAMES)
def test_slope_and_curvature_by_finite_differences(name):
    """The slope along a direction from losses, the curvature times it from slopes."""
    model, tasks = make_model(name), make_tasks(name)
    batch = next(portions(tasks, 1)).support
    model_at = as_function(model, masked_cross_entropy)
    theta = {key: value.detach() for key, value in model.named_parameters()}
    way = {key: torch.randn_like(value) for key, value in theta.items()}
    small, there = 1e-5, []
    for sign in (1, -1):
        at = {key: value + sign * small * way[key] for key, value in theta.items()}
        there.append((float(model_at(at, batch).loss), slopes_at(model_at, at, at, [batch])[0]))
    (loss_up, slope_up), (loss_down, slope_down) = there
    slope, _ = slopes_at(model_at, theta, theta, [batch])
    along = sum(float((slope[key] * way[key]).sum()) for key in theta)
    assert along == pytest.approx((loss_up - loss_down) / (2 * small), rel=1e-5, abs=1e-7)
    found = curvature(taped(model_at, theta, theta, [batch]), way)
    for key, value in found.items():
        expected = (slope_up[key] - slope_down[key]) / (2 * small)
        assert torch.allclose(value, expected, rtol=1e-4, atol=1e-5), key


def test_many_tasks_go_back_together():
    """The same for 3 tasks at once and for each alone."""
    model, tasks = make_model("lstm"), make_tasks("lstm", 3)
    theta, rates = dict(model.named_parameters()), make_rates(model)
    weights = step_weights("ramp", STEPS, 0.0).tolist()
    start = for_each_task(theta, tasks)
    many = as_function(model, masked_cross_entropy, many=True)
    one = as_function(model, masked_cross_entropy)
    together, of_rates, answer = inner_loop.backwards(many, start, rates, tasks, weights)
    summed = {name: torch.zeros_like(value) for name, value in of_rates.items()}
    for i, task in enumerate(portions(tasks, 1)):
        alone, by_rate, mine = inner_loop.backwards(one, theta, rates, task, weights)
        for name, value in alone.items():
            assert torch.allclose(together[name][i], value, atol=1e-11)
        for name, value in by_rate.items():
            summed[name] += value
        assert torch.allclose(answer.logits[i], mine.logits)
    assert all(torch.allclose(of_rates[name], value) for name, value in summed.items())


# --- the setting ----------------------------------------------------------------------------------


def test_it_reaches_the_gradient(monkeypatch):
    """A training with it goes back by step, also where the setting comes by its training alone."""
    asked = []
    config = MamlConfig.from_form("default", {"recompute": "true"}, steps=2, ways=WAYS)
    trained = used_by("maml", config)
    model = MetaModel(trained, DIM, WAYS)
    tasks = make_tasks("mlp")
    learner = MamlLearner(trained, model, lambda i: tasks, tasks)
    real = inner_loop.backwards
    monkeypatch.setattr(inner_loop, "backwards", lambda *given: (asked.append(1), real(*given))[1])
    learner.step(0)
    assert asked
    asked.clear()
    MamlLearner(dataclasses.replace(trained, recompute=False), model, lambda i: tasks, tasks).step(
        0
    )
    assert not asked


def test_it_names_nothing():
    """Neither a training nor a result; a form has it, and what a preset changed does not."""
    for preset in MamlConfig.PRESETS:
        plain = MamlConfig.from_preset(preset)
        with_it = MamlConfig.from_preset(preset, recompute=True)
        assert with_it == plain and hash(with_it) == hash(plain)
        assert settings.as_dict(with_it) == settings.as_dict(plain)
        assert "recompute" not in settings.as_dict(plain) and not with_it.changed()
        for kept in (with_it.only(), used_by("maml", with_it), used_by("protonet", with_it)):
            assert kept.recompute
        assert "'recompute': True" in settings.as_form(with_it)


def test_the_names_of_trainings_are_as_before_there_was_the_setting():
    """Hashes of the settings as trainings have them; another one leaves old trainings behind."""
    known = {"default": "88ddc8822dac", "paper-second-order": "38194d68acbd"}
    for preset, digits in known.items():
        config = MamlConfig.from_preset(preset)
        assert short_hash(settings.as_dict(used_by("maml", config))) == digits


def test_higher_refuses_it():
    with pytest.raises(SettingError, match="recompute = True: higher keeps all inner steps"):
        MamlConfig.from_preset("default", recompute=True, engine="higher")
    model, tasks = make_model("mlp"), make_tasks("mlp")
    given = model, masked_cross_entropy, make_rates(model), tasks, torch.eye(STEPS + 1)[-1]
    with pytest.raises(ValueError, match="higher keeps all inner steps"):
        engine_of("higher")(*given, False, True)
