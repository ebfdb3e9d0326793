"""The inner loop against closed forms, finite differences, plain SGD on copies, and `higher`."""

import copy
import itertools

import pytest
import torch
from torch import nn

from colab_utils.learning.tasks import Batch, Tasks, masked_cross_entropy, probabilities
from colab_utils.methods.maml import inner_loop
from colab_utils.methods.maml.inner_loop import (
    adapt,
    adapted_scores,
    as_function,
    for_each_task,
    leaves_of,
    meta_gradient,
    outer_objective,
    portions,
    tasks_at_once,
)
from colab_utils.methods.maml.losses import (
    WithProjection,
    episode_loss,
    first_order_at,
    step_weights,
)
from colab_utils.methods.maml.maml import engine_of
from colab_utils.methods.maml.settings import ENGINES, MULTI_STEP
from colab_utils.models import network

pytestmark = pytest.mark.usefixtures("double")
WAYS, SHOTS, QUERIES, DIM, FRAMES = 3, 2, 4, 16, 20
NAMES = ("mlp", "conv4", "lstm", "mlp-batch", "conv4-batch")


def make_batch(each, frames, number, classes, rng):
    n = WAYS * each
    inputs = (torch.randn(number, n, DIM, generator=rng),)
    if frames:
        lengths = torch.randint(5, FRAMES + 1, (number, n, 1), generator=rng)
        mask = torch.arange(FRAMES) < lengths
        values = torch.randn(number, n, FRAMES, DIM, generator=rng)
        inputs = (values * mask.unsqueeze(-1), mask)
    y = torch.arange(WAYS).repeat_interleave(each).repeat(number, 1)
    active = (torch.arange(classes) < WAYS).repeat(number, 1)
    return Batch(inputs, y, active)


def make_tasks(name, number=3, classes=WAYS):
    """Random tasks for a network: vectors for the mlp, frames for the others."""
    rng = torch.Generator().manual_seed(0)
    frames = not name.startswith("mlp")
    support = make_batch(SHOTS, frames, number, classes, rng)
    return Tasks(support, make_batch(QUERIES, frames, number, classes, rng))


def make_model(name, classes=WAYS):
    name, _, norm = name.partition("-")
    return network(name, DIM, classes, width=8, norm=norm or "group")


def make_rates(model, steps, rate=0.1, head_only=False):
    torch.manual_seed(1)
    return {
        name: rate * (1 + 0.3 * torch.rand(steps))
        for name, _ in model.named_parameters()
        if not head_only or name.startswith("head")
    }


def assert_equal(a, b, **tolerance):
    """Two dictionaries of tensors."""
    assert list(a) == list(b)
    for name in a:
        assert torch.allclose(a[name], b[name], **{"rtol": 0, "atol": 1e-10, **tolerance}), name


class Point(nn.Module):
    """A scalar theta; with the loss below a task is the quadratic 0.5 a (theta - c)^2."""

    def __init__(self, theta):
        super().__init__()
        self.theta = nn.Parameter(torch.tensor(theta))

    def forward(self, values):
        return self.theta - values, self.theta[None]


def quadratic(logits, _embedding, batch):
    return 0.5 * (batch.inputs[0].abs() * logits**2).sum()


@pytest.mark.parametrize("first_order", [True, False])
@pytest.mark.parametrize("steps", [0, 1, 4])
def test_the_closed_form_on_a_quadratic(first_order, steps):
    """Support 0.5 |s| (theta - s)^2, query 0.5 |q| (theta - q)^2: theta_K = s + (1 - rate |s|)^K
    (theta - s).
    """
    theta, rate = 1.7, 0.1
    model = Point(theta)

    def side(*values):
        n = len(values)
        return Batch(
            (torch.tensor(values)[:, None],),
            torch.zeros(n, 1, dtype=torch.int64),
            torch.ones(n, 1, dtype=torch.bool),
        )

    supports, queries = (0.5, -2.0), (1.5, 0.3)
    found = meta_gradient(
        model,
        quadratic,
        {"theta": torch.full((steps,), rate)},
        Tasks(side(*supports), side(*queries)),
        torch.eye(steps + 1)[-1],
        first_order,
    )
    expected = 0.0
    for s, q in zip(supports, queries, strict=True):
        shrink = (1 - rate * abs(s)) ** steps
        last = s + shrink * (theta - s)
        expected += (1.0 if first_order else shrink) * abs(q) * (last - q) / 2
    assert found.gradients["theta"].item() == pytest.approx(expected, abs=1e-12)
    assert model.theta.item() == theta


def objective(model, rates, tasks, weights):
    """The mean weighted query loss, by plain SGD steps on the parameters, with nothing but
    autograd's first derivatives.
    """
    total = 0.0
    for task in portions(tasks, 1):
        copied = copy.deepcopy(model)
        for k in range(len(weights)):
            if weights[k]:
                loss = masked_cross_entropy(*copied(*task.query.inputs), task.query)
                total += weights[k] * loss.item()
            if k < len(weights) - 1:
                copied.zero_grad()
                masked_cross_entropy(*copied(*task.support.inputs), task.support).backward()
                with torch.no_grad():
                    for name, value in copied.named_parameters():
                        if name in rates:
                            value -= rates[name][k] * value.grad
    return total / len(tasks.query.y)


def slope_of(value, place, function, small=1e-5):
    """The derivative of `function()` by one entry of a tensor, by central differences."""
    flat, values = value.data.view(-1), []
    for sign in (1, -1):
        flat[place] += sign * small
        values.append(function())
        flat[place] -= sign * small
    return (values[0] - values[1]) / (2 * small)


@pytest.mark.parametrize("name", NAMES)
def test_the_meta_gradient_by_finite_differences(name):
    model, tasks = make_model(name), make_tasks(name, number=2)
    rates, weights = make_rates(model, 2), step_weights("ramp", 2, 0.0)
    found = meta_gradient(model, masked_cross_entropy, rates, tasks, weights)

    def function():
        return objective(model, rates, tasks, weights)

    for key, value in model.named_parameters():
        place = int(torch.randint(value.numel(), ()))
        expected = slope_of(value, place, function)
        assert found.gradients[key].view(-1)[place].item() == pytest.approx(expected, abs=2e-6), key
    for key in ("head.weight", next(iter(rates))):
        expected = slope_of(rates[key], 1, function)
        assert found.rate_gradients[key][1].item() == pytest.approx(expected, abs=2e-6), key


@pytest.mark.parametrize("first_order", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_many_tasks_together_are_adapted_like_each_alone(name, first_order):
    model, tasks = make_model(name), make_tasks(name)
    theta, rates = leaves_of(dict(model.named_parameters())), leaves_of(make_rates(model, 2))
    leaves = [*theta.values(), *rates.values()]
    one, many = (as_function(model, masked_cross_entropy, many) for many in (False, True))
    start = for_each_task(theta, tasks)
    path = adapt(many, start, rates, tasks.support, first_order)
    value, answer = outer_objective(many, start, rates, tasks, (0.0, 0.4, 0.6), first_order)
    slopes = torch.autograd.grad(value, leaves)
    total = [torch.zeros_like(slope) for slope in slopes]
    for i, task in enumerate(portions(tasks, 1)):
        alone = adapt(one, theta, rates, task.support, first_order)
        for theirs, mine in zip(path, alone, strict=True):
            assert_equal({key: value[i] for key, value in theirs.items()}, mine)
        mine, query = outer_objective(one, theta, rates, task, (0.0, 0.4, 0.6), first_order)
        assert torch.allclose(answer.logits[i], query.logits)
        for mean, slope in zip(total, torch.autograd.grad(mine, leaves), strict=True):
            mean += slope
    assert all(torch.allclose(a, b, atol=1e-10) for a, b in zip(slopes, total, strict=True))


def test_tasks_are_computed_together_where_that_is_faster_and_can_be():
    mlp, conv4 = make_model("mlp"), make_model("conv4")
    assert [tasks_at_once(mlp, number) for number in (1, 8, 200)] == [1, 8, 64]
    assert tasks_at_once(conv4, 8) == 1
    assert tasks_at_once(mlp, 8, episode_loss("none", 0.0, 1.0)) == 8
    assert tasks_at_once(mlp, 8, episode_loss("nt-xent", 0.5, 0.2)) == 1


# All choices on the quickest network; the others differ in their layers alone.
ENGINE_CASES = [
    *itertools.product(("mlp",), MULTI_STEP, (True, False), (True, False)),
    *itertools.product(NAMES[1:], ("ramp",), (False,), (True, False)),
]


@pytest.mark.parametrize(("name", "kind", "head_only", "first_order"), ENGINE_CASES)
def test_the_two_engines_agree(name, kind, head_only, first_order):
    model, tasks = make_model(name), make_tasks(name, number=2)
    rates, weights = make_rates(model, 3, head_only=head_only), step_weights(kind, 3, 0.4)
    a, b = (
        engine_of(one)(model, masked_cross_entropy, rates, tasks, weights, first_order)
        for one in ENGINES
    )
    assert_equal(a.gradients, b.gradients)
    assert_equal(a.rate_gradients, b.rate_gradients)
    assert torch.allclose(a.query_loss, b.query_loss)
    assert torch.equal(a.query_accuracy, b.query_accuracy)


@pytest.mark.parametrize("kind", ["nt-xent", "supervised"])
def test_a_contrastive_loss_goes_through_both_engines(kind):
    model, tasks = WithProjection(make_model("mlp"), 4), make_tasks("mlp", number=2)
    loss, weights = episode_loss(kind, 0.5, 0.2), step_weights("final", 2, 1.0)
    a, b = (engine_of(name)(model, loss, make_rates(model, 2), tasks, weights) for name in ENGINES)
    plain = meta_gradient(model, masked_cross_entropy, make_rates(model, 2), tasks, weights)
    assert_equal(a.gradients, b.gradients)
    assert a.gradients["projection.weight"].abs().max() > 0
    assert not torch.allclose(
        a.gradients["network.head.weight"], plain.gradients["network.head.weight"]
    )


def test_every_weighted_step_has_a_gradient_of_its_own():
    model, tasks = make_model("mlp"), make_tasks("mlp")
    rates, weights = make_rates(model, 3), step_weights("ramp", 3, 0.0)
    single = [
        meta_gradient(model, masked_cross_entropy, rates, tasks, torch.eye(4)[k]) for k in range(4)
    ]
    assert all(found.gradients["head.weight"].abs().max() > 1e-4 for found in single)
    together = meta_gradient(model, masked_cross_entropy, rates, tasks, weights)
    weighted = {}
    for key in together.gradients:
        parts = zip(weights, single, strict=True)
        weighted[key] = sum(weight * found.gradients[key] for weight, found in parts)
    assert_equal(together.gradients, weighted, atol=1e-12)


def test_an_inner_rate_of_zero_is_plain_training():
    model, tasks = make_model("mlp"), make_tasks("mlp")
    rates = make_rates(model, 3, rate=0.0)
    found = meta_gradient(model, masked_cross_entropy, rates, tasks, torch.eye(4)[-1])
    loss = 0.0
    for task in portions(tasks, 1):
        loss = loss + masked_cross_entropy(*model(*task.query.inputs), task.query) / 3
    slopes = torch.autograd.grad(loss, list(model.parameters()))
    assert_equal(found.gradients, dict(zip(found.gradients, slopes, strict=True)), atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_first_order_differs_from_second_and_the_order_of_tasks_does_not_matter(name, monkeypatch):
    model, tasks = make_model(name), make_tasks(name)
    rates, weights = make_rates(model, 2), step_weights("annealed", 2, 0.5)
    before = copy.deepcopy(model.state_dict())

    def found(tasks, at_once=1, first_order=False):
        monkeypatch.setattr(inner_loop, "tasks_at_once", lambda *_: at_once)
        return meta_gradient(
            model, masked_cross_entropy, rates, tasks, weights, first_order
        ).gradients

    second = found(tasks)
    first = found(tasks, first_order=True)
    assert (second["head.weight"] - first["head.weight"]).abs().max() > 1e-6
    turned = torch.utils._pytree.tree_map(lambda value: value.flip(0), tasks)
    for other in (found(turned), found(tasks, at_once=2), found(tasks, at_once=3)):
        assert_equal(second, other)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert all(value.grad is None for value in model.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_adapted_scores_are_those_of_plain_sgd_on_a_copy(name, monkeypatch):
    model, tasks = make_model(name, classes=5), make_tasks(name, classes=5)
    rates = {key: torch.full((3,), 0.2) for key, _ in model.named_parameters()}
    scores = adapted_scores(model, masked_cross_entropy, rates, tasks)
    assert scores.shape == (3, 4, WAYS * QUERIES, 5) and (scores[..., WAYS:] == 0).all()
    for at_once in (1, 2, 3):
        monkeypatch.setattr(inner_loop, "tasks_at_once", lambda *_, at_once=at_once: at_once)
        others = adapted_scores(model, masked_cross_entropy, rates, tasks)
        assert torch.allclose(scores, others, atol=1e-10)
    for i, task in enumerate(portions(tasks, 1)):
        copied = copy.deepcopy(model)
        optimiser = torch.optim.SGD(copied.parameters(), lr=0.2)
        for k in range(4):
            logits = copied(*task.query.inputs)[0].detach()
            expected = probabilities(logits, task.query.active)
            assert torch.allclose(scores[i, k], expected, atol=1e-10)
            optimiser.zero_grad()
            masked_cross_entropy(*copied(*task.support.inputs), task.support).backward()
            optimiser.step()


def test_classes_that_do_not_compete_take_no_gradient():
    model, tasks = make_model("mlp", classes=5), make_tasks("mlp", classes=5)
    rates, weights = make_rates(model, 2), torch.eye(3)[-1]
    found = meta_gradient(model, masked_cross_entropy, rates, tasks, weights)
    slope = found.gradients["head.weight"]
    assert (slope[WAYS:] == 0).all() and slope[:WAYS].abs().min() > 0


@pytest.mark.parametrize("steps", [1, 5])
def test_step_weights_sum_to_one_and_follow_their_formulas(steps):
    for kind in MULTI_STEP:
        for progress in (0.0, 0.3, 0.999, 1.0):
            weights = step_weights(kind, steps, progress)
            assert weights.sum() == pytest.approx(1) and weights[0] == 0 and (weights >= 0).all()
    assert torch.allclose(step_weights("ramp", 4, 0.0), torch.tensor([0.0, 0.1, 0.2, 0.3, 0.4]))
    assert torch.allclose(step_weights("annealed", 4, 0.0)[1:], torch.full((4,), 0.25))
    e, epochs, n = 6, 15, 5  # epoch 6 of the 15 of MAML++ (Antoniou et al. 2019)
    middle = step_weights("annealed", n, e / epochs)
    assert middle[1].item() == pytest.approx(max(1 / n - e / (n * epochs), 0.03 / n))
    assert middle[-1].item() == pytest.approx(
        min(1 / n + e * (n - 1) / (n * epochs), 1 - 0.03 * (n - 1) / n)
    )
    assert torch.equal(step_weights("annealed", 4, 1.0), torch.eye(5)[-1])


def test_the_order_changes_at_its_share():
    found = [first_order_at(progress, "annealed", 0.3) for progress in (0.0, 0.29, 0.3, 1.0)]
    assert found == [True, True, False, False]
    assert first_order_at(0.9, "first", 0.3) and not first_order_at(0.0, "second", 0.3)
