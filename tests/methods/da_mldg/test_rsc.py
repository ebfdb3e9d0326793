"""RSC: what it hides equals a loop over utterances and positions, and who is challenged."""

import copy
import math

import pytest
import torch
from domain_toys import CLASSES, NETWORKS, all_of, batches, made, small
from torch import nn
from torch.nn import functional

from colab_utils.methods.da_mldg.algorithms import rsc
from colab_utils.methods.da_mldg.algorithms.rsc import challenge

SEEDS = (0, 2)  # the first step of the one hides channels, that of the other positions


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def naive_mask(own, mean, n, spatial):
    """1 and 0 for one utterance, one position or channel at a time; never all positions."""
    kept = torch.ones_like(own)
    channels, _, rows = own.shape
    if not spatial:
        ranking = sorted(range(channels), key=lambda c: mean[c], reverse=True)
        for channel in ranking[: math.ceil(channels / 3.2)]:
            kept[channel] = 0
        return kept
    scores = {}
    for t in range(n):
        for f in range(rows):
            scores[t, f] = sum(own[c, t, f].item() * mean[c] for c in range(channels))
    ranking = sorted(scores, key=scores.get, reverse=True)
    for t, f in ranking[: min(math.ceil(len(scores) / 3), len(scores) - 1)]:
        kept[:, t, f] = 0
    return kept


def naive_challenge(z, y, head, share, frames, spatial):
    """The rules of RSC in a loop; frames: how many of each utterance are valid."""
    keep, drops = [], []
    for clip, n in enumerate(frames):

        def probability(x, clip=clip, n=n):
            return torch.softmax(head(x[:, :n].mean((1, 2))), 0)[y[clip]].item()

        own = z[clip].clone().requires_grad_()
        logit = head(own[:, :n].mean((1, 2)))[y[clip]]
        (slope,) = torch.autograd.grad(logit, own)
        own = own.detach()
        mean = [float(slope[c, :n].mean()) for c in range(len(own))]
        keep.append(naive_mask(own, mean, n, spatial))
        drops.append(max(0.0, probability(own) - probability(own * keep[-1]) - 1e-4))
    ranking = sorted(drops, reverse=True)
    number = round(share * len(z))
    least = ranking[number] if number < len(z) else 0.0
    chosen = [drop > least for drop in drops]
    for clip, take in enumerate(chosen):
        if not take:
            keep[clip] = torch.ones_like(keep[clip])
    return torch.stack(keep), chosen


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
    assert got.shape == (9, 1, 5, 2)
    assert torch.equal(got.expand_as(z)[inside], expected[inside])
    assert 0 < sum(chosen) <= round(9 * share) and (got == 0).any()


@pytest.mark.parametrize("share", [0.3, 0.5, 1.0])
def test_channels_that_rsc_hides_are_those_of_a_loop(share):
    z, y, head, classify, _, frames = maps()
    expected, chosen = naive_challenge(z, y, head, share, frames, False)
    got = challenge(z, y, classify, share, None)
    assert got.shape == (9, 16, 1, 1)
    assert torch.equal(got.expand_as(z), expected) and any(chosen)
    assert {int((one == 0).sum()) for one in got} <= {0, 5}


@pytest.mark.parametrize("share", [0.3, 1.0])
def test_units_of_a_vector_are_hidden_like_channels(share):
    z, y, head, *_ = maps()
    expected, _ = naive_challenge(z[:, :, :1, :1], y, head, share, [1] * 9, False)
    got = challenge(z[:, :, 0, 0].clone(), y, head, share, None)
    assert torch.equal(got, expected[:, :, 0, 0])


def test_rsc_challenges_nobody_whose_class_loses_next_to_nothing():
    z, y, head, classify, valid, _ = maps()
    head.weight.data *= 1e-4
    assert all((challenge(z, y, classify, 1.0, where) == 1).all() for where in (valid, None))


@pytest.mark.parametrize("spatial", [True, False])
def test_rsc_keeps_every_label_with_its_own_utterance(spatial):
    z, y, _, classify, valid, _ = maps()
    order = torch.randperm(9)

    def shuffled(z):
        return classify(z, valid[order])

    got = challenge(z, y, classify, 0.5, valid if spatial else None)
    where = valid[order] if spatial else None
    assert torch.equal(challenge(z[order], y[order], shuffled, 0.5, where), got[order])
    wrong = challenge(z, y.roll(1), classify, 0.5, valid if spatial else None)
    assert not torch.equal(wrong, got)


def expected_step(twin, name, inputs, y, spatial):
    """Logits of the challenged batch, and who is challenged, by the loop."""
    if name == "resnet18":
        z, valid = twin.feature_map(*inputs)
        frames = [int(n) for n in valid.sum(1)]
        keep, chosen = naive_challenge(z.detach(), y, twin.head, 0.3, frames, spatial)
        total = (z * keep * valid[:, None, :, None]).sum((2, 3))
        return twin.head(total / (valid.sum(1, keepdim=True) * z.shape[3])), chosen
    z = twin(*inputs)[1]
    as_map = z.detach()[:, :, None, None]
    keep, chosen = naive_challenge(as_map, y, twin.head, 0.3, [1] * len(y), False)
    return twin.head(z * keep[:, :, 0, 0]), chosen


@pytest.mark.parametrize(("name", "norm"), NETWORKS)
def test_a_step_of_rsc_is_the_cross_entropy_of_the_challenged_batch_in_both_variants(name, norm):
    given, seen = batches(name, n=6, dim=40, frames=70), set()
    some = [given[key] for key in sorted(given)]
    (inputs, y), sizes = all_of(some), [len(labels) for _, labels in some]
    for seed in SEEDS[: 2 if name == "resnet18" else 1]:
        torch.manual_seed(0)
        net = small(name, norm, dim=40)
        twin = copy.deepcopy(net).train()
        values = made("rsc", net, seed=seed, rsc_period=10).update(given)
        seen.add(values["spatial"])
        logits, chosen = expected_step(twin, name, inputs, y, values["spatial"])
        losses = [
            functional.cross_entropy(own, labels)
            for own, labels in zip(logits.split(sizes), y.split(sizes), strict=True)
        ]
        assert values["loss"] == pytest.approx(sum(losses).item() / 3, rel=1e-10)
        assert values["challenged"] == pytest.approx(sum(chosen) / len(y))
        assert 0 < values["challenged"] <= 0.3 + 1 / len(y)
    assert seen == ({0.0, 1.0} if name == "resnet18" else {0.0})


def test_rsc_challenges_more_utterances_as_training_goes_on(monkeypatch):
    shares = []

    def note(z, y, classify, share, valid):
        shares.append(share)
        return torch.ones(len(z), 1)

    monkeypatch.setattr(rsc, "challenge", note)
    algorithm = made("rsc", rsc_period=2)
    for _ in range(12):
        algorithm.update(batches())
    assert shares == pytest.approx([0.3, 0.3, 0.5, 0.5, 0.7, 0.7, 0.9, 0.9, 1.0, 1.0, 1.0, 1.0])


def test_the_authors_schedule_is_a_third_of_the_training_each():
    """With `rsc_period` = 0: their epochs 0 to 9, 10 to 19 and 20 to 29 of 30."""
    for steps in (30, 32, 7):
        algorithm, shares = made("rsc", rsc_period=0, steps=steps), []
        for algorithm.step in range(steps):
            shares.append(algorithm.share())
        third = math.ceil(steps / 3)
        expected = [0.3] * third + [0.5] * third + [0.7] * (steps - 2 * third)
        assert shares == pytest.approx(expected)


def test_the_mask_of_rsc_comes_from_a_network_without_dropout_which_then_trains_with_it():
    class Dropped(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(12, 16)
            self.head = nn.Sequential(nn.Dropout(0.5), nn.Linear(16, CLASSES))
            self.modes = []

        def forward(self, values):
            x = torch.relu(self.layer(values))
            self.modes.append(self.training)
            return self.head(x), x

    net = Dropped().double()
    in_head = []
    net.head[0].register_forward_hook(lambda module, *_: in_head.append(module.training))
    made("rsc", net).update(batches())
    assert net.modes == [True] and in_head == [True, False, False, True]
    assert net.training and net.head.training
