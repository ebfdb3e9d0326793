"""MLDG and DA-MLDG: meta-gradients by finite differences, gamma by a loop, and who is held out."""

import collections
import copy
import dataclasses
import math

import pytest
import torch
from domain_toys import (
    CLASSES,
    NETWORKS,
    all_of,
    apart_by,
    batches,
    gradient_of,
    inner_step,
    logits_at,
    loss_at,
    made,
    small,
    split,
    values_of,
)
from torch import nn

from colab_utils.methods.da_mldg.algorithms.gamma import energy

ORDERS = ("first", "second")
VARIANTS = [
    ("mldg", {}),
    ("da-mldg", {"gamma_rule": "gamma"}),
    ("da-mldg", {"gamma_rule": "1+gamma"}),
    ("da-mldg", {"gamma_rule": "normalised"}),
]


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.mark.parametrize(
    ("name", "norm", "algorithm", "changes"),
    [("mlp", "group", *variant) for variant in VARIANTS]
    + [(*case, *VARIANTS[1]) for case in NETWORKS[1:]],
)
def test_the_meta_gradient_of_second_order_is_that_of_finite_differences(
    name, norm, algorithm, changes
):
    net, given = small(name, norm), batches(name)
    algorithm = made(algorithm, net, order="second", inner_rate=0.1, **changes)
    theta, (train, test) = values_of(net), split(algorithm, given)
    got, values = gradient_of(algorithm, given)
    assert apart_by(theta, values_of(net)) == 0 and values["weight"] > 0

    def objective(at):
        """The weight is a number: its own slope does not count."""
        adapted = inner_step(net, at, train, 0.1)
        return loss_at(net, at, train) + values["weight"] * loss_at(net, adapted, test)

    assert values["loss"] == pytest.approx(float(objective(theta)), rel=1e-12)
    for _ in range(2):
        towards = {key: torch.randn_like(value) for key, value in theta.items()}
        up, down = (
            objective({key: value + size * towards[key] for key, value in theta.items()})
            for size in (1e-8, -1e-8)
        )
        slope = sum((got[key] * towards[key]).sum() for key in theta)
        assert float(slope) == pytest.approx(float((up - down) / 2e-8), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize(("name", "norm"), NETWORKS)
def test_first_order_adds_the_slope_at_theta_and_the_slope_at_adapted_parameters(name, norm):
    net, given = small(name, norm), batches(name)
    algorithm = made("mldg", net, order="first", inner_rate=0.2)
    theta, (train, test) = values_of(net), split(algorithm, given)
    got, values = gradient_of(algorithm, given)
    leaves = {key: value.clone().requires_grad_() for key, value in theta.items()}
    adapted = inner_step(net, theta, train, 0.2)
    for value in adapted.values():
        value.requires_grad_()
    train_loss, test_loss = loss_at(net, leaves, train), loss_at(net, adapted, test)
    at_theta = torch.autograd.grad(train_loss, list(leaves.values()))
    at_adapted = torch.autograd.grad(test_loss, list(adapted.values()))
    for key, one, other in zip(theta, at_theta, at_adapted, strict=True):
        assert (got[key] - one - other).abs().max() < 1e-11
    losses = [values["meta_train_loss"], values["meta_test_loss"]]
    assert losses == pytest.approx([train_loss.item(), test_loss.item()], rel=1e-12)
    second, _ = gradient_of(made("mldg", net, order="second", inner_rate=0.2), given)
    assert apart_by(got, second) > 1e-4


@pytest.mark.parametrize("order", ORDERS)
def test_the_meta_test_loss_reaches_every_parameter(order, monkeypatch):
    """In the code that King Gandhi et al. (2023) released it reaches none."""
    algorithm, given = made("mldg", small("conv4"), order=order), batches("conv4")
    whole, _ = gradient_of(algorithm, given)
    monkeypatch.setattr(algorithm, "weight", lambda gamma: 0.0)
    train_only, _ = gradient_of(algorithm, given)
    assert all((whole[name] - train_only[name]).abs().max() > 1e-6 for name in whole)


@pytest.mark.parametrize("order", ORDERS)
def test_one_step_of_mldg_is_neither_one_of_erm_nor_one_of_erm_without_the_held_out_domain(order):
    start, given = small(), batches()
    held = made("mldg", start).held_out(given)
    seen = {name: batch for name, batch in given.items() if name != held}
    after = {}
    for case, name, used in (
        ("mldg", "mldg", given),
        ("erm", "erm", given),
        ("without", "erm", seen),
    ):
        algorithm = made(name, copy.deepcopy(start), order=order)
        algorithm.update(used)
        after[case] = values_of(algorithm.network)
    assert apart_by(after["mldg"], after["erm"]) > 1e-3
    assert apart_by(after["mldg"], after["without"]) > 1e-3


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("name", "norm"), NETWORKS)
def test_without_an_inner_step_it_is_the_slope_of_both_losses_on_one_network(name, norm, order):
    net, given = small(name, norm), batches(name)
    algorithm = made("da-mldg", net, order=order, inner_rate=0.0)
    train, test = split(algorithm, given)
    got, values = gradient_of(algorithm, given)
    leaves = {key: value.requires_grad_() for key, value in values_of(net).items()}
    both = loss_at(net, leaves, train) + values["weight"] * loss_at(net, leaves, test)
    expected = torch.autograd.grad(both, list(leaves.values()))
    for key, slope in zip(leaves, expected, strict=True):
        assert (got[key] - slope).abs().max() < 1e-11


@pytest.mark.parametrize(("name", "norm"), NETWORKS)
@pytest.mark.parametrize("order", ORDERS)
def test_gamma_is_the_difference_of_energies_at_the_adapted_parameters(name, norm, order):
    net, given = small(name, norm), batches(name, n=5)
    algorithm = made("da-mldg", net, order=order, inner_rate=0.5)
    theta, (train, test) = values_of(net), split(algorithm, given)

    def energy_at(parameters, side):
        rows = logits_at(net, parameters, all_of(side)[0]).tolist()
        return sum(math.log(sum(math.exp(z) for z in row)) for row in rows) / len(rows)

    def gamma_at(parameters):
        return abs(energy_at(parameters, train) - energy_at(parameters, test))

    adapted = gamma_at(inner_step(net, theta, train, 0.5))
    values = algorithm.update(given)
    assert values["gamma"] == values["weight"] == pytest.approx(adapted, rel=1e-10)
    assert values["gamma"] != pytest.approx(gamma_at(theta), rel=1e-2)
    both = values["meta_train_loss"] + values["gamma"] * values["meta_test_loss"]
    assert values["loss"] == pytest.approx(both, rel=1e-12)


def test_gamma_by_running_statistics_is_that_of_the_network_as_it_predicts():
    """As the released code has it; the loss of the held-out domain keeps its own statistics."""

    class Normed(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.norm = nn.Linear(12, 16), nn.BatchNorm1d(16)
            self.head = nn.Linear(16, CLASSES)

        def forward(self, values):
            x = torch.relu(self.norm(self.layer(values)))
            return self.head(x), x

    net, given = Normed().double(), batches(n=5)
    for _ in range(3):  # running statistics that are neither fresh nor those of a batch
        net.train()(*all_of(given.values())[0])
    twin = copy.deepcopy(net)
    by_batch = made("da-mldg", copy.deepcopy(net), inner_rate=0.5).update(given)
    algorithm = made("da-mldg", net, inner_rate=0.5, gamma_statistics="running")
    train, test = split(algorithm, given)
    adapted = inner_step(twin, values_of(twin), train, 0.5)
    twin.train()(*all_of(train)[0])  # S' at theta moves the running statistics, once
    twin.load_state_dict(adapted, strict=False)
    with torch.no_grad():
        sides = [twin.eval()(*all_of(side)[0])[0] for side in (train, test)]
    values = algorithm.update(given)
    assert values["gamma"] == pytest.approx(abs(energy(sides[0]) - energy(sides[1])), rel=1e-9)
    assert values["gamma"] != pytest.approx(by_batch["gamma"], rel=1e-2)
    assert values["meta_test_loss"] == pytest.approx(by_batch["meta_test_loss"], rel=1e-12)
    assert net.training
    for name, buffer in net.named_buffers():
        assert torch.equal(buffer, twin.get_buffer(name)), name


def test_a_proportional_batch_holds_out_the_domain_of_a_random_utterance():
    """As the released code: 12 of 15 utterances are one domain, so it is V in 4 of 5 steps."""
    given = {"a": batches(domains=1, n=2)["c"], "b": batches(domains=1, n=12)["c"]}
    given["c"] = batches(domains=1, n=1)["c"]
    for how, expected in (("proportional", 12 / 15), ("balanced", 1 / 3)):
        algorithm = made("mldg", batches=how)
        held = []
        for algorithm.step in range(600):
            held.append(algorithm.held_out(given))
        assert held.count("b") / 600 == pytest.approx(expected, abs=0.06)
        assert set(held) == {"a", "b", "c"}


def test_the_energy_is_the_mean_log_sum_exp():
    expected = (math.log(math.e + math.e**2) + math.log(math.e**3 + math.e**-1)) / 2
    assert energy(torch.tensor([[1.0, 2.0], [3.0, -1.0]])) == pytest.approx(expected)


def test_the_weight_follows_its_rule():
    gammas = [0.5, 0.1, 2.0, 0.0]

    def weights(algorithm="da-mldg", **changes):
        algorithm = made(algorithm, **changes)
        return [algorithm.weight(gamma) for gamma in gammas]

    assert weights("mldg") == [1.0] * 4 and weights() == gammas
    assert weights(gamma_rule="1+gamma") == [1.5, 1.1, 3.0, 1.0]
    mean, expected = 0.5, []
    for gamma in gammas:
        mean = 0.99 * mean + 0.01 * gamma
        expected.append(gamma / mean)
    assert weights(gamma_rule="normalised") == pytest.approx(expected) and expected[0] == 1.0
    assert weights(clamp_low=0.1, clamp_high=1.5) == [0.5, 0.1, 1.5, 0.1]
    assert weights(clamp_low=0.1, clamp_high=0.0) == gammas, "no upper limit: no limits"
    assert made("da-mldg", gamma_rule="normalised").weight(0.0) == 0.0


def test_every_domain_is_held_out_equally_often_and_no_side_is_ever_empty():
    algorithm = made("mldg", seed=3)
    for domains in (2, 3, 5):
        given, seen = dict.fromkeys("vwxyz"[:domains]), collections.Counter()
        for algorithm.step in range(3000):
            seen[algorithm.held_out(given)] += 1
        assert set(seen) == set(given)
        expected, spread = 3000 / domains, 5 * math.sqrt(3000 / domains)
        assert all(abs(n - expected) < spread for n in seen.values())
    other = made("mldg", seed=4)
    orders = [[one.held_out("vwxyz") for one.step in range(40)] for one in (algorithm, other)]
    assert orders[0] != orders[1]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("algorithm", ["mldg", "da-mldg"])
def test_running_statistics_move_with_the_pass_at_theta_alone(order, algorithm):
    net, given = small("resnet18", "batch"), batches("resnet18")
    algorithm = made(algorithm, net, order=order, inner_rate=0.5)
    train, _ = split(algorithm, given)
    twin = copy.deepcopy(net).train()
    twin(*all_of(train)[0])
    before = {name: buffer.clone() for name, buffer in net.named_buffers()}
    algorithm.update(given)
    for name, buffer in net.named_buffers():
        assert torch.allclose(buffer, twin.get_buffer(name), atol=1e-12)
        assert (buffer != before[name]).any()


class _TwoBiases(nn.Module):
    """Two parameters whose slopes are one tensor, one without effect, and one frozen."""

    def __init__(self):
        super().__init__()
        self.frozen = nn.Linear(12, 8).requires_grad_(False)
        self.head = nn.Linear(8, CLASSES, bias=False)
        self.one, self.other, self.idle = (nn.Parameter(torch.ones(8)) for _ in range(3))
        self.double()

    def forward(self, values):
        x = torch.tanh(self.frozen(values) + (self.one + self.other))
        return self.head(x), x


@pytest.mark.parametrize("order", ORDERS)
def test_parameters_that_share_a_slope_have_none_or_are_frozen(order):
    net, given = _TwoBiases(), batches()
    before = values_of(net)
    algorithm = made("mldg", net, order=order, inner_rate=0.3)
    train, test = split(algorithm, given)
    algorithm.gradients(given)
    assert torch.equal(net.one.grad, net.other.grad)
    assert net.idle.grad is None and net.frozen.weight.grad is None
    leaves = {
        name: before[name].clone().requires_grad_() for name in ("one", "other", "head.weight")
    }
    train_loss = loss_at(net, leaves, train)
    slopes = torch.autograd.grad(train_loss, list(leaves.values()), create_graph=True)
    moved = {}
    for name, slope in zip(leaves, slopes, strict=True):
        moved[name] = leaves[name] - 0.3 * (slope if order == "second" else slope.detach())
    expected = torch.autograd.grad(train_loss + loss_at(net, moved, test), list(leaves.values()))
    for name, slope in zip(leaves, expected, strict=True):
        assert (net.get_parameter(name).grad - slope).abs().max() < 1e-12
    algorithm.update(given)
    after = values_of(net)
    for name in before:
        stays = name.startswith(("idle", "frozen"))
        assert torch.equal(before[name], after[name]) == stays


def test_the_running_mean_of_gamma_is_part_of_the_state():
    algorithm, given = made("da-mldg", gamma_rule="normalised"), batches()
    algorithm.update(given)
    other = made("da-mldg", gamma_rule="normalised")
    other.load(algorithm.state())
    assert other.usual_gamma == algorithm.usual_gamma is not None
    assert dataclasses.asdict(other.config) == dataclasses.asdict(algorithm.config)
