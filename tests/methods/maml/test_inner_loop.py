"""The inner loop against closed forms, finite differences, plain SGD on copies, and the library
higher.
"""

import copy

import pytest
import torch
from torch import nn

from colab_utils.learning.tasks import Batch, Tasks, masked_cross_entropy, probabilities
from colab_utils.methods.maml.inner_loop import adapted_scores, meta_gradient
from colab_utils.methods.maml.losses import (
    WithProjection,
    episode_loss,
    first_order_at,
    step_weights,
)
from colab_utils.methods.maml.maml import engine_of
from colab_utils.methods.maml.settings import ENGINES
from colab_utils.models import network

WAYS, SHOTS, QUERIES, DIM, FRAMES = 3, 2, 4, 16, 20
NAMES = ("mlp", "conv4", "lstm", "mlp-batch", "conv4-batch")


@pytest.fixture(autouse=True)
def double():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(before)


def make_tasks(frames: bool, number=3, classes=WAYS, seed=0):
    rng = torch.Generator().manual_seed(seed)

    def batch(each):
        n = WAYS * each
        if frames:
            mask = torch.arange(FRAMES) < torch.randint(
                5, FRAMES + 1, (number, n, 1), generator=rng
            )
            inputs = (torch.randn(number, n, FRAMES, DIM, generator=rng) * mask.unsqueeze(-1), mask)
        else:
            inputs = (torch.randn(number, n, DIM, generator=rng),)
        active = torch.arange(classes) < WAYS
        return Batch(
            inputs,
            torch.arange(WAYS).repeat_interleave(each).repeat(number, 1),
            active.repeat(number, 1),
        )

    return Tasks(batch(SHOTS), batch(QUERIES))


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


def one(tasks, i):
    return Tasks(
        *(
            Batch(tuple(part[i] for part in side.inputs), side.y[i], side.active[i])
            for side in tasks
        )
    )


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
    supports, queries = torch.tensor([[0.5], [-2.0]]), torch.tensor([[1.5], [0.3]])
    side = lambda x: Batch(
        (x,), torch.zeros(2, 1, dtype=torch.int64), torch.ones(2, 1, dtype=torch.bool)
    )  # noqa: E731
    found = meta_gradient(
        model,
        quadratic,
        {"theta": torch.full((steps,), rate)},
        Tasks(side(supports), side(queries)),
        torch.eye(steps + 1)[-1],
        first_order=first_order,
        tasks_at_once=2,
    )
    expected = 0.0
    for s, q in zip(supports[:, 0], queries[:, 0], strict=True):
        shrink = (1 - rate * abs(s)) ** steps
        last = s + shrink * (theta - s)
        expected += (1.0 if first_order else shrink) * abs(q) * (last - q) / 2
    assert found.gradients["theta"].item() == pytest.approx(expected.item(), abs=1e-12)
    assert model.theta.item() == theta


def objective(model, rates, tasks, weights):
    """The mean weighted query loss, by plain SGD steps on the parameters, with nothing but
    autograd's first derivatives.
    """
    total = 0.0
    for i in range(len(tasks.query.y)):
        task, copied = one(tasks, i), copy.deepcopy(model)
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


@pytest.mark.parametrize("name", NAMES)
def test_the_meta_gradient_by_finite_differences(name):
    model, tasks = make_model(name), make_tasks(not name.startswith("mlp"), number=2)
    rates, weights = make_rates(model, 2), step_weights("ramp", 2, 0.0)
    found = meta_gradient(model, masked_cross_entropy, rates, tasks, weights)
    small = 1e-5
    for key, value in model.named_parameters():
        for place in torch.randperm(value.numel())[:2]:
            flat, values = value.data.view(-1), []
            for sign in (1, -1):
                flat[place] += sign * small
                values.append(objective(model, rates, tasks, weights))
                flat[place] -= sign * small
            assert found.gradients[key].view(-1)[place].item() == pytest.approx(
                (values[0] - values[1]) / (2 * small), abs=2e-6
            ), key
    for key in ("head.weight", next(iter(rates))):
        values = []
        for sign in (1, -1):
            rates[key][1] += sign * small
            values.append(objective(model, rates, tasks, weights))
            rates[key][1] -= sign * small
        assert found.rate_gradients[key][1].item() == pytest.approx(
            (values[0] - values[1]) / (2 * small), abs=2e-6
        )


@pytest.mark.parametrize("first_order", [True, False])
@pytest.mark.parametrize("head_only", [True, False])
@pytest.mark.parametrize("kind", ["final", "ramp", "annealed"])
@pytest.mark.parametrize("name", NAMES)
def test_the_two_engines_agree(name, kind, head_only, first_order):
    model, tasks = make_model(name), make_tasks(not name.startswith("mlp"), number=2)
    rates, weights = make_rates(model, 3, head_only=head_only), step_weights(kind, 3, 0.4)
    a, b = (
        engine_of(name)(model, masked_cross_entropy, rates, tasks, weights, first_order=first_order)
        for name in ENGINES
    )
    for key in a.gradients:
        assert torch.allclose(a.gradients[key], b.gradients[key], rtol=0, atol=1e-10), key
    for key in rates:
        assert torch.allclose(a.rate_gradients[key], b.rate_gradients[key], rtol=0, atol=1e-10), key
    assert torch.allclose(
        a.query_losses, b.query_losses, atol=1e-10, equal_nan=True
    ) and torch.equal(a.query_accuracy[-1], b.query_accuracy[-1])


@pytest.mark.parametrize("kind", ["nt-xent", "supervised"])
def test_a_contrastive_loss_goes_through_both_engines(kind):
    model, tasks = WithProjection(make_model("mlp"), 4), make_tasks(False, number=2)
    loss, weights = episode_loss(kind, 0.5, 0.2), step_weights("final", 2, 1.0)
    a, b = (engine_of(name)(model, loss, make_rates(model, 2), tasks, weights) for name in ENGINES)
    plain = meta_gradient(model, masked_cross_entropy, make_rates(model, 2), tasks, weights)
    assert all(
        torch.allclose(a.gradients[key], b.gradients[key], rtol=0, atol=1e-10)
        for key in a.gradients
    )
    assert a.gradients["projection.weight"].abs().max() > 0 and not torch.allclose(
        a.gradients["network.head.weight"], plain.gradients["network.head.weight"]
    )


def test_every_weighted_step_has_a_gradient_of_its_own():
    model, tasks = make_model("mlp"), make_tasks(False)
    rates = make_rates(model, 3)
    single = [
        meta_gradient(model, masked_cross_entropy, rates, tasks, torch.eye(4)[k]) for k in range(4)
    ]
    assert all(found.gradients["head.weight"].abs().max() > 1e-4 for found in single)
    weights = step_weights("ramp", 3, 0.0)
    together = meta_gradient(model, masked_cross_entropy, rates, tasks, weights)
    for key in together.gradients:
        assert torch.allclose(
            together.gradients[key],
            sum(w * found.gradients[key] for w, found in zip(weights, single, strict=True)),
            atol=1e-12,
        )


def test_an_inner_rate_of_zero_is_plain_training():
    model, tasks = make_model("mlp"), make_tasks(False)
    found = meta_gradient(
        model, masked_cross_entropy, make_rates(model, 3, rate=0.0), tasks, torch.eye(4)[-1]
    )
    queries = [one(tasks, i).query for i in range(3)]
    loss = sum(masked_cross_entropy(*model(*query.inputs), query) for query in queries) / 3
    for key, slope in zip(
        found.gradients, torch.autograd.grad(loss, list(model.parameters())), strict=True
    ):
        assert torch.allclose(found.gradients[key], slope, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_first_order_differs_from_second_and_batching_order_and_the_model_do_not_matter(name):
    model, tasks = make_model(name), make_tasks(not name.startswith("mlp"))
    rates, weights, before = (
        make_rates(model, 2),
        step_weights("annealed", 2, 0.5),
        copy.deepcopy(model.state_dict()),
    )
    second = meta_gradient(model, masked_cross_entropy, rates, tasks, weights)
    first = meta_gradient(model, masked_cross_entropy, rates, tasks, weights, first_order=True)
    assert (second.gradients["head.weight"] - first.gradients["head.weight"]).abs().max() > 1e-6
    turned = Tasks(
        *(
            Batch(tuple(part.flip(0) for part in side.inputs), side.y.flip(0), side.active.flip(0))
            for side in tasks
        )
    )
    pairs, triples = (
        meta_gradient(model, masked_cross_entropy, rates, tasks, weights, tasks_at_once=number)
        for number in (2, 3)
    )
    for other in (
        pairs,
        triples,
        meta_gradient(model, masked_cross_entropy, rates, turned, weights),
    ):
        assert all(
            torch.allclose(second.gradients[key], other.gradients[key], atol=1e-10)
            for key in second.gradients
        )
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert all(value.grad is None for value in model.parameters())


@pytest.mark.parametrize("at_once", [1, 2, 3])
@pytest.mark.parametrize("name", NAMES)
def test_adapted_scores_are_those_of_plain_sgd_on_a_copy(name, at_once):
    model, tasks = make_model(name, classes=5), make_tasks(not name.startswith("mlp"), classes=5)
    rates = {key: torch.full((3,), 0.2) for key, _ in model.named_parameters()}
    scores = adapted_scores(model, masked_cross_entropy, rates, tasks, tasks_at_once=at_once)
    assert scores.shape == (3, 4, WAYS * QUERIES, 5) and (scores[..., WAYS:] == 0).all()
    for i in range(3):
        task, copied = one(tasks, i), copy.deepcopy(model)
        optimiser = torch.optim.SGD(copied.parameters(), lr=0.2)
        for k in range(4):
            assert torch.allclose(
                scores[i, k],
                probabilities(copied(*task.query.inputs)[0].detach(), task.query.active),
                atol=1e-10,
            )
            optimiser.zero_grad()
            masked_cross_entropy(*copied(*task.support.inputs), task.support).backward()
            optimiser.step()


def test_classes_that_do_not_compete_take_no_gradient():
    model, tasks = make_model("mlp", classes=5), make_tasks(False, classes=5)
    found = meta_gradient(
        model, masked_cross_entropy, make_rates(model, 2), tasks, torch.eye(3)[-1], tasks_at_once=3
    )
    assert (found.gradients["head.weight"][WAYS:] == 0).all() and found.gradients["head.weight"][
        :WAYS
    ].abs().min() > 0


@pytest.mark.parametrize("steps", [1, 5])
def test_step_weights_sum_to_one_and_follow_their_formulas(steps):
    for kind in ("final", "ramp", "annealed"):
        for progress in (0.0, 0.3, 0.999, 1.0):
            weights = step_weights(kind, steps, progress)
            assert weights.sum() == pytest.approx(1) and weights[0] == 0 and (weights >= 0).all()
    assert torch.allclose(step_weights("ramp", 4, 0.0), torch.tensor([0.0, 0.1, 0.2, 0.3, 0.4]))
    assert torch.allclose(step_weights("annealed", 4, 0.0)[1:], torch.full((4,), 0.25))
    e, epochs, n = 6, 15, 5  # MAML++, method_facts §6.2, epoch 6 of 15
    middle = step_weights("annealed", n, e / epochs)
    assert middle[1].item() == pytest.approx(max(1 / n - e / (n * epochs), 0.03 / n))
    assert middle[-1].item() == pytest.approx(
        min(1 / n + e * (n - 1) / (n * epochs), 1 - 0.03 * (n - 1) / n)
    )
    assert torch.equal(step_weights("annealed", 4, 1.0), torch.eye(5)[-1])


def test_the_order_changes_at_its_share():
    assert [first_order_at(p, "annealed", 0.3) for p in (0.0, 0.29, 0.3, 1.0)] == [
        True,
        True,
        False,
        False,
    ]
    assert first_order_at(0.9, "first", 0.3) and not first_order_at(0.0, "second", 0.3)
