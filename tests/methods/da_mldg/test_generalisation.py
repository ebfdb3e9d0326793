"""Domain generalisation: meta-gradients by finite differences, every rule against a naive
computation, and resuming to the same bits.
"""

import collections
import copy
import io
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional

from colab_utils.learning import training
from colab_utils.learning.training import TrainingError
from colab_utils.methods.da_mldg.algorithms import (
    ALGORITHMS,
    GAMMA_RULES,
    ORDERS,
    Algorithm,
    Coral,
    DaMldg,
    Erm,
    Mldg,
    Rsc,
    rsc,
)
from colab_utils.methods.da_mldg.algorithms.coral import coral_penalty
from colab_utils.methods.da_mldg.algorithms.gamma import energy
from colab_utils.methods.da_mldg.algorithms.rsc import challenge
from colab_utils.models import network
from colab_utils.settings import SettingError

CLASSES, CASES = (
    3,
    [("mlp", "group"), ("conv4", "group"), ("resnet18", "group"), ("resnet18", "batch")],
)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def sgd(parameters):
    return torch.optim.SGD(parameters, lr=0.1, momentum=0.9)


def small(name="mlp", norm="group", dtype=torch.float64, dim=12):
    return network(name, dim, CLASSES, norm=norm, width=8).to(dtype)


def batches(name="mlp", domains=3, n=4, dtype=torch.float64, dim=12, seed=0, frames=20):
    """Noise of each domain's own level; clips of different length where there are frames."""
    generator, made = torch.Generator().manual_seed(seed), {}
    for number in range(domains):
        y = torch.randint(CLASSES, (n,), generator=generator)
        if name == "mlp":
            inputs = (torch.randn(n, dim, generator=generator, dtype=dtype) + number,)
        else:
            lengths = torch.tensor([frames + number - frames // 6 * (row % 3) for row in range(n)])
            mask = torch.arange(frames + number) < lengths[:, None]
            inputs = (
                (torch.randn(*mask.shape, dim, generator=generator, dtype=dtype) + number)
                * mask[..., None],
                mask,
            )
        made["cab"[number] if number < 3 else f"d{number}"] = (inputs, y)
    return made


def all_of(some):
    """Inputs and labels of several domains below one another, padded by a loop."""
    width = max(inputs[0].shape[1] for inputs, _ in some)
    parts = [
        tuple(functional.pad(x, (0, 0) * (x.dim() - 2) + (0, width - x.shape[1])) for x in inputs)
        for inputs, _ in some
    ]
    return tuple(torch.cat(x) for x in zip(*parts, strict=True)), torch.cat([y for _, y in some])


def loss_at(net, parameters, some):
    """Mean over domains of the mean cross-entropy, one pass, statistics of the batch, nothing of
    the network changed.
    """
    buffers = {name: buffer.clone() for name, buffer in net.named_buffers()}
    inputs, _ = all_of(some)
    logits = functional_call(net, {**parameters, **buffers}, inputs)[0].split(
        [len(y) for _, y in some]
    )
    return sum(
        functional.cross_entropy(own, y) for own, (_, y) in zip(logits, some, strict=True)
    ) / len(some)


def split(algorithm, given):
    held = algorithm.held_out(given)
    return [given[name] for name in sorted(given) if name != held], [given[held]]


def values_of(net):
    return {name: parameter.detach().clone() for name, parameter in net.named_parameters()}


def inner_step(net, theta, train, rate):
    """theta', without gradient, from the published formula."""
    leaves = {name: value.clone().requires_grad_() for name, value in theta.items()}
    slopes = torch.autograd.grad(loss_at(net, leaves, train), list(leaves.values()))
    return {
        name: (leaves[name] - rate * slope).detach()
        for name, slope in zip(leaves, slopes, strict=True)
    }


def gradient_of(algorithm, given):
    """The gradient of one step and what it measured; the network's parameters are left alone."""
    algorithm.network.train().zero_grad()
    values = algorithm.gradients(given)
    return {name: p.grad.clone() for name, p in algorithm.network.named_parameters()}, {
        name: float(value) for name, value in values.items()
    }


def apart_by(one, other):
    return max(float((one[name] - other[name]).abs().max()) for name in one)


# --- MLDG and DA-MLDG
# --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "norm"), CASES)
@pytest.mark.parametrize("rule", GAMMA_RULES)
def test_the_meta_gradient_of_second_order_is_that_of_finite_differences(name, norm, rule):
    net, given = small(name, norm), batches(name)
    algorithm = Mldg(net, sgd, order="second", rule=rule, inner_rate=0.1)
    theta, (train, test) = values_of(net), split(algorithm, given)
    got, values = gradient_of(algorithm, given)
    assert apart_by(theta, values_of(net)) == 0 and values["weight"] > 0

    def objective(at):
        """The weight is a number: its own slope does not count."""
        return loss_at(net, at, train) + values["weight"] * loss_at(
            net, inner_step(net, at, train, 0.1), test
        )

    assert values["loss"] == pytest.approx(float(objective(theta)), rel=1e-12)
    for _ in range(2):
        towards = {key: torch.randn_like(value) for key, value in theta.items()}
        up, down = (
            objective({key: value + size * towards[key] for key, value in theta.items()})
            for size in (1e-8, -1e-8)
        )
        slope = sum((got[key] * towards[key]).sum() for key in theta)
        assert float(slope) == pytest.approx(float((up - down) / 2e-8), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "norm", "apart"),
    [
        (*case, apart)
        for case in CASES
        for apart in (False, True)
        if case[1] == "group" or not apart
    ],
)
def test_first_order_adds_the_slope_at_theta_and_the_slope_at_adapted_parameters(name, norm, apart):
    net, given = small(name, norm), batches(name)
    algorithm = Mldg(net, sgd, inner_rate=0.2, apart=apart)
    theta, (train, test) = values_of(net), split(algorithm, given)
    got, values = gradient_of(algorithm, given)
    leaves = {key: value.clone().requires_grad_() for key, value in theta.items()}
    adapted = {
        key: value.requires_grad_() for key, value in inner_step(net, theta, train, 0.2).items()
    }
    losses = loss_at(net, leaves, train), loss_at(net, adapted, test)
    slopes = [
        torch.autograd.grad(loss, list(where.values()))
        for loss, where in zip(losses, (leaves, adapted), strict=True)
    ]
    assert all(
        (got[key] - at_theta - at_adapted).abs().max() < 1e-11
        for key, at_theta, at_adapted in zip(theta, *slopes, strict=True)
    )
    assert [values["meta_train_loss"], values["meta_test_loss"]] == pytest.approx(
        [loss.item() for loss in losses], rel=1e-12
    )
    second, _ = gradient_of(Mldg(net, sgd, order="second", inner_rate=0.2), given)
    assert apart_by(got, second) > 1e-4


def test_apart_under_batch_normalisation_takes_each_domains_own_statistics():
    net, given = small("resnet18", "batch"), batches("resnet18")
    algorithm = Mldg(net, sgd, apart=True)
    train, _ = split(algorithm, given)
    expected = sum(float(loss_at(net, values_of(net), [domain])) for domain in train) / len(train)
    together = float(loss_at(net, values_of(net), train))
    assert (
        algorithm.update(given)["meta_train_loss"]
        == pytest.approx(expected, rel=1e-12)
        != pytest.approx(together, rel=1e-4)
    )


@pytest.mark.parametrize("order", ORDERS)
def test_the_meta_test_loss_reaches_every_parameter(order):
    """In the released code it reaches none (method_facts §4.6)."""
    net, given = small("conv4"), batches("conv4")
    whole, _ = gradient_of(Mldg(net, sgd, order=order), given)
    train_only, _ = gradient_of(Mldg(net, sgd, order=order, clamp=(0.0, 0.0)), given)
    assert all((whole[name] - train_only[name]).abs().max() > 1e-6 for name in whole)


@pytest.mark.parametrize("order", ORDERS)
def test_one_step_of_mldg_is_neither_one_of_erm_nor_one_of_erm_without_the_held_out_domain(order):
    start, given = small(), batches()
    after = {}
    for kind in ("mldg", "erm", "without"):
        algorithm = (
            Erm(copy.deepcopy(start), sgd)
            if kind != "mldg"
            else Mldg(copy.deepcopy(start), sgd, order=order)
        )
        held = Mldg(start, sgd).held_out(given)
        algorithm.update(
            {name: batch for name, batch in given.items() if kind != "without" or name != held}
        )
        after[kind] = values_of(algorithm.network)
    assert (
        min(apart_by(after["mldg"], after["erm"]), apart_by(after["mldg"], after["without"])) > 1e-3
    )


@pytest.mark.parametrize("rule", GAMMA_RULES)
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("name", "norm"), CASES)
def test_without_an_inner_step_it_is_the_slope_of_both_losses_on_one_network(
    name, norm, order, rule
):
    net, given = small(name, norm), batches(name)
    algorithm = Mldg(net, sgd, order=order, rule=rule, inner_rate=0.0)
    train, test = split(algorithm, given)
    got, values = gradient_of(algorithm, given)
    leaves = {key: value.requires_grad_() for key, value in values_of(net).items()}
    expected = torch.autograd.grad(
        loss_at(net, leaves, train) + values["weight"] * loss_at(net, leaves, test),
        list(leaves.values()),
    )
    assert all(
        (got[key] - slope).abs().max() < 1e-11 for key, slope in zip(leaves, expected, strict=True)
    )


@pytest.mark.parametrize(("name", "norm"), CASES)
@pytest.mark.parametrize("order", ORDERS)
def test_gamma_is_the_difference_of_energies_at_the_adapted_parameters(name, norm, order):
    net, given = small(name, norm), batches(name, n=5)
    algorithm = DaMldg(net, sgd, order=order, inner_rate=0.5)
    theta, (train, test) = values_of(net), split(algorithm, given)

    def gamma_at(parameters):
        means = []
        for side in (train, test):
            logits = functional_call(
                net,
                {**parameters, **{k: b.clone() for k, b in net.named_buffers()}},
                all_of(side)[0],
            )[0]
            means.append(
                sum(math.log(sum(math.exp(float(z)) for z in row)) for row in logits) / len(logits)
            )
        return abs(means[0] - means[1])

    adapted = gamma_at(inner_step(net, theta, train, 0.5))
    values = algorithm.update(given)
    assert values["gamma"] == values["weight"] == pytest.approx(adapted, rel=1e-10)
    assert values["gamma"] != pytest.approx(gamma_at(theta), rel=1e-2)
    assert values["loss"] == pytest.approx(
        values["meta_train_loss"] + values["gamma"] * values["meta_test_loss"], rel=1e-12
    )


def test_the_weight_follows_its_rule():
    gammas = [0.5, 0.1, 2.0, 0.0]

    def weights(**settings):
        algorithm = Mldg(small(), sgd, **settings)
        return [algorithm.weight(gamma) for gamma in gammas]

    assert weights(rule="gamma") == gammas and weights(rule="one") == [1.0] * 4
    assert weights(rule="1+gamma") == [1.5, 1.1, 3.0, 1.0]
    mean, expected = 0.5, []
    for gamma in gammas:
        mean = 0.99 * mean + 0.01 * gamma
        expected.append(gamma / mean)
    assert weights(rule="normalised") == pytest.approx(expected) and expected[0] == 1.0
    assert weights(rule="gamma", clamp=(0.1, 1.5)) == [0.5, 0.1, 1.5, 0.1]
    assert Mldg(small(), sgd, rule="normalised").weight(0.0) == 0.0
    expected = (math.log(math.e + math.e**2) + math.log(math.e**3 + math.e**-1)) / 2
    assert energy(torch.tensor([[1.0, 2.0], [3.0, -1.0]])) == pytest.approx(expected)


def test_every_domain_is_held_out_equally_often_and_no_side_is_ever_empty():
    algorithm, seen = Mldg(small(), sgd, seed=3), collections.Counter()
    for domains in (2, 3, 5):
        given, seen = dict.fromkeys("vwxyz"[:domains]), collections.Counter()
        for algorithm.step in range(3000):
            held = algorithm.held_out(given)
            assert held in given and len(given) - 1 >= 1
            seen[held] += 1
        assert len(seen) == domains and all(
            abs(n - 3000 / domains) < 5 * math.sqrt(3000 / domains) for n in seen.values()
        )
    other = Mldg(small(), sgd, seed=4)
    orders = [[one.held_out("vwxyz") for one.step in range(40)] for one in (algorithm, other)]
    assert orders[0] != orders[1]


def test_the_order_in_which_domains_come_and_the_global_generators_change_nothing():
    for name in ALGORITHMS:
        ends = []
        for seed in (1, 2):
            torch.manual_seed(0)
            algorithm, given = ALGORITHMS[name](small(), sgd, seed=5), batches()
            torch.manual_seed(seed), np.random.seed(seed)
            before = torch.get_rng_state()
            values = [
                algorithm.update(given if seed == 1 else dict(reversed(given.items())))
                for _ in range(3)
            ]
            assert torch.equal(torch.get_rng_state(), before)
            ends.append((values, values_of(algorithm.network)))
        assert ends[0][0] == ends[1][0] and apart_by(ends[0][1], ends[1][1]) == 0


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("rule", ["one", "gamma"])
def test_running_statistics_move_with_the_pass_at_theta_alone(order, rule):
    net, given = small("resnet18", "batch"), batches("resnet18")
    algorithm = Mldg(net, sgd, order=order, rule=rule, inner_rate=0.5)
    train, _ = split(algorithm, given)
    twin = copy.deepcopy(net).train()
    twin(*all_of(train)[0])
    before = {name: buffer.clone() for name, buffer in net.named_buffers()}
    algorithm.update(given)
    assert all(
        torch.allclose(buffer, twin.get_buffer(name), atol=1e-12)
        for name, buffer in net.named_buffers()
    )
    assert all((buffer != before[name]).any() for name, buffer in net.named_buffers())


class _TwoBiases(nn.Module):
    """Two parameters whose slopes are one and the same tensor, one without effect, and one frozen."""

    def __init__(self):
        super().__init__()
        self.frozen, self.head = (
            nn.Linear(12, 8).requires_grad_(False),
            nn.Linear(8, CLASSES, bias=False),
        )
        self.one, self.other, self.idle = (nn.Parameter(torch.zeros(8)) for _ in range(3))
        self.double()

    def forward(self, values):
        x = torch.tanh(self.frozen(values) + (self.one + self.other))
        return self.head(x), x


@pytest.mark.parametrize("order", ORDERS)
def test_parameters_that_share_a_slope_have_none_or_are_frozen(order):
    net, given = _TwoBiases(), batches()
    frozen = net.frozen.weight.clone()
    algorithm = Mldg(net, sgd, order=order, inner_rate=0.3)
    train, test = split(algorithm, given)
    algorithm.network.zero_grad()
    algorithm.gradients(given)
    assert (
        torch.equal(net.one.grad, net.other.grad)
        and net.idle.grad is None
        and net.frozen.weight.grad is None
    )
    leaves = {
        name: p.detach().clone().requires_grad_()
        for name, p in net.named_parameters()
        if name in ("one", "other", "head.weight")
    }
    train_loss = loss_at(net, leaves, train)
    slopes = torch.autograd.grad(train_loss, list(leaves.values()), create_graph=True)
    moved = {
        name: leaves[name] - 0.3 * (slope if order == "second" else slope.detach())
        for name, slope in zip(leaves, slopes, strict=True)
    }
    expected = torch.autograd.grad(train_loss + loss_at(net, moved, test), list(leaves.values()))
    assert all(
        (net.get_parameter(name).grad - slope).abs().max() < 1e-12
        for name, slope in zip(leaves, expected, strict=True)
    )
    algorithm.update(given)
    assert torch.equal(net.frozen.weight, frozen)


# --- ERM and CORAL
# -----------------------------------------------------------------------------------------------------------------------


def test_erm_is_the_mean_over_domains_or_over_utterances():
    net, given = small(), batches(domains=2)
    given["a"] = tuple(
        part[:1] if isinstance(part, torch.Tensor) else tuple(x[:1] for x in part)
        for part in given["a"]
    )
    own = {
        name: functional.cross_entropy(net(*inputs)[0], y, reduction="none")
        for name, (inputs, y) in given.items()
    }
    by_domain, values = gradient_of(Erm(net, sgd), given)
    expected = torch.autograd.grad(
        sum(losses.mean() for losses in own.values()) / 2, list(net.parameters()), retain_graph=True
    )
    assert all(
        (by_domain[name] - slope).abs().max() < 1e-12
        for name, slope in zip(by_domain, expected, strict=True)
    )
    assert values["loss"] == pytest.approx(sum(losses.mean().item() for losses in own.values()) / 2)
    _, values = gradient_of(Erm(net, sgd, loss="sample-mean"), given)
    assert values["loss"] == pytest.approx(torch.cat(list(own.values())).mean().item())


def test_clips_of_different_length_are_joined_with_their_mask():
    given = batches("conv4")
    joined = Erm(small("conv4"), sgd).join(given)
    (values, mask), y = all_of([given[name] for name in sorted(given)])
    assert (
        torch.equal(joined.inputs[0], values)
        and torch.equal(joined.inputs[1], mask)
        and joined.inputs[1].dtype == torch.bool
    )
    assert (
        torch.equal(joined.y, y)
        and joined.sizes == [4, 4, 4]
        and float(joined.weights.sum()) == pytest.approx(1.0)
    )
    with pytest.raises(RuntimeError, match="Sizes of tensors must match"):
        Erm(small(), sgd).join(
            {
                "a": ((torch.zeros(2, 12),), torch.zeros(2).long()),
                "b": ((torch.zeros(2, 13),), torch.zeros(2).long()),
            }
        )


def test_coral_is_the_naive_difference_of_means_and_covariances_over_all_pairs():
    embeddings = [torch.randn(n, 4, dtype=torch.float64) * (1 + n) + n for n in (3, 5, 7)]
    total = []
    for i in range(3):
        for j in range(i):
            one, other = embeddings[i].numpy(), embeddings[j].numpy()
            means = sum((one[:, c].mean() - other[:, c].mean()) ** 2 for c in range(4)) / 4
            total.append(
                means + ((np.cov(one, rowvar=False) - np.cov(other, rowvar=False)) ** 2).sum() / 16
            )
    assert float(coral_penalty(embeddings)) == pytest.approx(sum(total) / 3, rel=1e-12)
    assert float(coral_penalty([embeddings[0], embeddings[0] @ torch.eye(4).double()])) == 0
    with torch.enable_grad():
        leaves = [one.requires_grad_() for one in embeddings]
        assert torch.autograd.gradcheck(lambda *parts: coral_penalty(parts), leaves)


def test_a_step_of_coral_adds_the_weighted_penalty_of_the_embeddings():
    net, given = small(), batches()
    values, plain = (
        algorithm.update(given)
        for algorithm in (Coral(copy.deepcopy(net), sgd, weight=2.5), Erm(copy.deepcopy(net), sgd))
    )
    penalty = coral_penalty([net(*given[name][0])[1] for name in given]).item()
    assert values["penalty"] == pytest.approx(penalty) and values["cross_entropy"] == pytest.approx(
        plain["loss"]
    )
    assert values["loss"] == pytest.approx(values["cross_entropy"] + 2.5 * penalty)
    ends = []
    for algorithm in (
        Coral(copy.deepcopy(net), sgd, weight=0.0),
        Erm(copy.deepcopy(net), sgd),
        Coral(copy.deepcopy(net), sgd, weight=1.0),
    ):
        algorithm.update(given)
        ends.append(values_of(algorithm.network))
    assert apart_by(*ends[:2]) < 1e-12 and apart_by(*ends[1:]) > 1e-4


# --- RSC
# ---------------------------------------------------------------------------------------------------------------------------------


def naive_challenge(z, y, head, share, frames, spatial):
    """The rules of RSC one utterance, one position or channel at a time, never all positions;
    frames: how many of each are valid.
    """
    keep, drops = [], []
    for clip, n in enumerate(frames):
        own = z[clip].clone().requires_grad_()

        def logits(x, n=n):
            return head(x[:, :n].mean((1, 2)))

        (slope,) = torch.autograd.grad(logits(own)[y[clip]], own)
        mean = [float(slope[c, :n].mean()) for c in range(len(own))]
        kept = torch.ones_like(own)
        if not spatial:
            ranking = sorted(range(len(mean)), key=lambda c: mean[c], reverse=True)
            for channel in ranking[: math.ceil(len(mean) / 3.2)]:
                kept[channel] = 0
        else:
            scores = {
                (t, f): sum(own[c, t, f].item() * mean[c] for c in range(len(own)))
                for t in range(n)
                for f in range(own.shape[2])
            }
            for t, f in sorted(scores, key=scores.get, reverse=True)[
                : min(math.ceil(len(scores) / 3), len(scores) - 1)
            ]:
                kept[:, t, f] = 0
        before, after = (
            torch.softmax(logits(x), 0)[y[clip]].item() for x in (own.detach(), own.detach() * kept)
        )
        keep.append(kept)
        drops.append(max(0.0, before - after - 1e-4))
    ranking = sorted(drops, reverse=True)
    number = round(share * len(z))
    chosen = [drop > (ranking[number] if number < len(z) else 0.0) for drop in drops]
    return (
        torch.stack(
            [
                kept if take else torch.ones_like(kept)
                for kept, take in zip(keep, chosen, strict=True)
            ]
        ),
        chosen,
    )


def maps(n=9, channels=16, frames=(5, 3, 4, 2, 5, 1, 5, 4, 3), rows=2):
    valid = (torch.arange(5) < torch.tensor(frames)[:, None]).double()
    head = nn.Linear(channels, CLASSES).double()
    z = torch.randn(n, channels, 5, rows, dtype=torch.float64).abs() * valid[:, None, :, None]
    y = torch.randint(CLASSES, (n,))

    def classify(z, valid=valid):
        return head(z.sum((2, 3)) / (valid.sum(1, keepdim=True) * rows))

    return z, y, head, classify, valid, list(frames)


@pytest.mark.parametrize("share", [0.3, 0.5, 1.0])
def test_positions_that_rsc_hides_are_those_of_a_loop_over_valid_ones(share):
    z, y, head, classify, valid, frames = maps()
    expected, chosen = naive_challenge(z, y, head, share, frames, True)
    got = challenge(z, y, classify, share, valid)
    inside = valid[:, None, :, None].bool().expand_as(z)
    assert got.shape == (9, 1, 5, 2) and torch.equal(got.expand_as(z)[inside], expected[inside])
    assert (
        any(chosen)
        and not torch.equal(got, torch.ones_like(got))
        and sum(chosen) <= round(9 * share)
    )


@pytest.mark.parametrize("share", [0.3, 0.5, 1.0])
def test_channels_that_rsc_hides_are_those_of_a_loop(share):
    z, y, head, classify, _, frames = maps()
    expected, chosen = naive_challenge(z, y, head, share, frames, False)
    got = challenge(z, y, classify, share, None)
    assert got.shape == (9, 16, 1, 1) and torch.equal(got.expand_as(z), expected) and any(chosen)
    assert {int((one == 0).sum()) for one in got} <= {0, 5}
    assert torch.equal(
        challenge(z[:, :, 0, 0].clone(), y, head, share, None),
        naive_challenge(z[:, :, :1, :1], y, head, share, [1] * 9, False)[0][:, :, 0, 0],
    )


def test_rsc_challenges_nobody_whose_class_loses_next_to_nothing():
    z, y, head, classify, valid, _ = maps()
    head.weight.data *= 1e-4
    assert all((challenge(z, y, classify, 1.0, where) == 1).all() for where in (valid, None))


def test_rsc_keeps_every_label_with_its_own_utterance():
    z, y, _, classify, valid, _ = maps()
    order = torch.randperm(9)
    for where in (valid, None):
        got = challenge(z, y, classify, 0.5, where)
        shuffled = challenge(
            z[order],
            y[order],
            lambda x: classify(x, valid[order]),
            0.5,
            None if where is None else where[order],
        )
        assert torch.equal(shuffled, got[order])
        wrong = challenge(z, y.roll(1), classify, 0.5, where)
        assert not torch.equal(wrong, got)


@pytest.mark.parametrize(("name", "norm"), CASES)
def test_a_step_of_rsc_is_the_cross_entropy_of_the_challenged_batch_in_both_variants(name, norm):
    given, seen = batches(name, n=6, dim=40, frames=70), set()
    some = [given[key] for key in sorted(given)]
    (inputs, y), sizes = all_of(some), [len(labels) for _, labels in some]
    for seed in range(6):
        torch.manual_seed(0)
        net = small(name, norm, dim=40)
        algorithm, twin = Rsc(net, sgd, seed=seed, period=10), copy.deepcopy(net).train()
        z, valid = twin.feature_map(*inputs) if name == "resnet18" else (twin(*inputs)[1], None)
        values = algorithm.update(given)
        seen.add(values["spatial"])
        if name == "resnet18":
            keep, chosen = naive_challenge(
                z.detach(), y, twin.head, 0.3, [int(n) for n in valid.sum(1)], values["spatial"]
            )
            logits = twin.head(
                (z * keep * valid[:, None, :, None]).sum((2, 3))
                / (valid.sum(1, keepdim=True) * z.shape[3])
            )
        else:
            keep, chosen = naive_challenge(
                z.detach()[:, :, None, None], y, twin.head, 0.3, [1] * len(y), False
            )
            logits = twin.head(z * keep[:, :, 0, 0])
        losses = [
            functional.cross_entropy(own, labels)
            for own, labels in zip(logits.split(sizes), y.split(sizes), strict=True)
        ]
        assert values["loss"] == pytest.approx(sum(losses).item() / 3, rel=1e-10)
        assert values["challenged"] == pytest.approx(sum(chosen) / len(y)) and 0 < values[
            "challenged"
        ] <= 0.3 + 1 / len(y)
    assert seen == ({0.0, 1.0} if name == "resnet18" else {0.0})


def test_rsc_challenges_more_utterances_as_training_goes_on(monkeypatch):
    shares, algorithm = [], Rsc(small(), sgd, period=2)
    monkeypatch.setattr(
        rsc,
        "challenge",
        lambda z, y, classify, share, valid: shares.append(share) or torch.ones(len(z), 1),
    )
    for _ in range(12):
        algorithm.update(batches())
    assert shares == pytest.approx([0.3, 0.3, 0.5, 0.5, 0.7, 0.7, 0.9, 0.9, 1.0, 1.0, 1.0, 1.0])


def test_the_mask_of_rsc_comes_from_a_network_without_dropout_which_then_trains_with_it():
    class Dropped(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.head = (
                nn.Linear(12, 16),
                nn.Sequential(nn.Dropout(0.5), nn.Linear(16, CLASSES)),
            )
            self.modes = []

        def forward(self, values):
            x = torch.relu(self.layer(values))
            self.modes.append(self.training)
            return self.head(x), x

    net = Dropped().double()
    in_head = []
    net.head[0].register_forward_hook(lambda module, *_: in_head.append(module.training))
    Rsc(net, sgd).update(batches())
    assert (
        net.modes == [True]
        and in_head == [True, False, False, True]
        and net.training
        and net.head.training
    )


# --- the contract
# ------------------------------------------------------------------------------------------------------------------------


def made(name, net="mlp", norm="group", dtype=torch.float32, seed=7):
    torch.manual_seed(seed)
    settings = {
        "mldg": {"order": "second"},
        "da-mldg": {"rule": "normalised"},
        "rsc": {"period": 30},
        "coral": {"weight": 0.5},
    }
    return ALGORITHMS[name](
        small(net, norm, dtype), sgd, seed=seed, clip=1.0, **settings.get(name, {})
    )


@pytest.mark.parametrize("name", ALGORITHMS)
@pytest.mark.parametrize(("net", "norm"), [("mlp", "group"), ("resnet18", "batch")])
def test_a_training_put_down_and_taken_up_again_ends_with_the_same_bits(name, net, norm):
    def given(step):
        return batches(net, dtype=torch.float32, seed=step)

    whole = made(name, net, norm)
    expected = [whole.update(given(step)) for step in range(8)]
    first = made(name, net, norm)
    got, stored = [first.update(given(step)) for step in range(5)], io.BytesIO()
    torch.save(first.state(), stored)
    later = made(name, net, norm, seed=7)
    for parameter in later.network.parameters():
        parameter.data.normal_()
    later.load(torch.load(io.BytesIO(stored.getvalue()), weights_only=True))
    got += [later.update(given(step)) for step in range(5, 8)]
    assert got == expected and all(
        torch.equal(value, whole.network.state_dict()[key])
        for key, value in later.network.state_dict().items()
    )
    assert torch.equal(later.predict(given(9)["a"][0]), whole.predict(given(9)["a"][0]))


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_algorithm_learns_what_domains_share_and_gives_probabilities_in_eval_mode(name):
    def given(step):
        generator = torch.Generator().manual_seed(step)
        drawn = {}
        for number, domain in enumerate("abc"):
            y = torch.randint(CLASSES, (16,), generator=generator)
            x = torch.randn(16, 12, generator=generator) + 2.0 * functional.one_hot(y, 12)
            x[:, 6 + number] += 4.0 * y  # and what each has for itself
            drawn[domain] = ((x,), y)
        return drawn

    algorithm = made(name)
    losses = [algorithm.update(given(step))["loss"] for step in range(60)]
    (x,), y = given(1000)["a"]
    x[:, 6] -= 4.0 * y  # a domain without any of its own
    probabilities = algorithm.predict((x,))
    assert np.mean(losses[-10:]) < 0.7 * np.mean(losses[:10]) and algorithm.step == 60
    assert (
        probabilities.dtype == torch.float64
        and torch.allclose(probabilities.sum(1), torch.ones(16).double())
        and not probabilities.requires_grad
    )
    assert (
        not algorithm.network.training
        and float((probabilities.argmax(1) == y).double().mean()) > 0.6
    )


def test_predictions_under_batch_normalisation_do_not_see_the_tested_batch():
    algorithm, given = (
        made("da-mldg", "resnet18", "batch"),
        batches("resnet18", dtype=torch.float32),
    )
    for _ in range(2):
        algorithm.update(given)
    values, mask = given["b"][0]
    assert torch.allclose(
        algorithm.predict((values, mask))[:2], algorithm.predict((values[:2], mask[:2])), atol=1e-6
    )


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_class_that_a_domain_lacks_is_fine(name):
    given = batches(dtype=torch.float32)
    given["a"] = (given["a"][0], torch.ones_like(given["a"][1]))
    assert all(math.isfinite(value) for value in made(name).update(given).values())


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_loss_that_is_not_a_number_is_for_the_training_loop_to_report(name, tmp_path):
    algorithm = made(name)

    class Learner:
        state, load = algorithm.state, algorithm.load

        def step(self, i):
            given = batches(dtype=torch.float32)
            if i == 2:
                given["a"][0][0][0, 0] = float("nan")
            return algorithm.update(given)

    with pytest.raises(
        TrainingError, match="is nan at step 3: lower the learning rate or look for broken inputs"
    ):
        training.train(Learner(), 5, tmp_path, progress=False)


@pytest.mark.parametrize(
    ("name", "given", "error", "message"),
    [
        (
            "mldg",
            batches(domains=1),
            SettingError,
            r"Mldg needs 2 source domains or more and got 1 \(c\): add a corpus, or use erm",
        ),
        ("da-mldg", batches(domains=1), SettingError, "DaMldg needs 2 source domains"),
        ("coral", batches(domains=1), SettingError, "Coral needs 2"),
        ("erm", {}, SettingError, "Erm needs 1 source domains or more and got 0"),
        (
            "rsc",
            {"x": ((torch.zeros(0, 12),), torch.zeros(0).long())},
            ValueError,
            "the batch of domain 'x' is empty",
        ),
        ("coral", batches(n=1), ValueError, "domain 'c' has one utterance: coral needs at least 2"),
    ],
)
def test_batches_that_cannot_work_are_refused_in_one_sentence_and_change_nothing(
    name, given, error, message
):
    algorithm = made(name, dtype=torch.float64)
    before = values_of(algorithm.network)
    with pytest.raises(error, match=message):
        algorithm.update(given)
    assert apart_by(before, values_of(algorithm.network)) == 0 and algorithm.step == 0


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("erm", {"loss": "sum"}, "loss = 'sum': choose from 'domain-mean', 'sample-mean'"),
        ("mldg", {"order": "third"}, "order = 'third': choose"),
        (
            "da-mldg",
            {"rule": "two"},
            r"rule = 'two': choose from 'one', 'gamma', '1\+gamma', 'normalised'",
        ),
        ("rsc", {"period": 0}, "period = 0"),
        ("mldg", {"inner_rate": -1}, "inner_rate = -1"),
        ("mldg", {"clamp": (3, 0.1)}, "0 <= low <= high"),
        ("coral", {"weight": -1.0}, "weight = -1"),
    ],
)
def test_settings_that_cannot_work_are_refused_in_one_sentence(name, settings, message):
    with pytest.raises(SettingError, match=message):
        ALGORITHMS[name](small(), sgd, **settings)


def test_the_gradient_is_clipped_as_a_whole_and_an_algorithm_of_ones_own_needs_an_objective_alone():
    class Own(Algorithm):
        def objective(self, batch):
            return 1000.0 * self.network(*batch.inputs)[0].square().sum(), {"kept": 3}

    algorithm = Own(small(), lambda p: torch.optim.SGD(p, lr=1.0), clip=0.5)
    before = values_of(algorithm.network)
    assert algorithm.update(batches())["kept"] == 3.0
    moved = math.sqrt(
        sum(
            float((value - before[name]).square().sum())
            for name, value in values_of(algorithm.network).items()
        )
    )
    assert moved == pytest.approx(0.5, rel=1e-4)
    with pytest.raises(NotImplementedError, match="Algorithm has neither"):
        Algorithm(small(), sgd).update(batches())
