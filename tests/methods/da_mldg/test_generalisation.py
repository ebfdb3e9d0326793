"""The contract of all algorithms, ERM and CORAL against naive formulas, and resuming."""

import copy
import io
import math

import numpy as np
import pytest
import torch
from domain_toys import (
    CLASSES,
    all_of,
    apart_by,
    batches,
    gradient_of,
    made,
    settings_of,
    small,
    values_of,
)
from torch.nn import functional

from colab_utils.learning import training
from colab_utils.learning.training import TrainingError
from colab_utils.methods.da_mldg.algorithms import ALGORITHMS, Algorithm
from colab_utils.methods.da_mldg.algorithms.coral import coral_penalty
from colab_utils.methods.da_mldg.settings import ALGORITHM_NAMES, TRAINED
from colab_utils.settings import SettingError

# Settings that each algorithm is tested with besides its defaults.
CHANGES = {
    "da-mldg": {"gamma_rule": "normalised"},
    "rsc": {"rsc_period": 30},
    "coral": {"coral_weight": 0.5},
}


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def of_floats(name, net="mlp", norm="group"):
    """An algorithm in float32, with the gradient clipped; the same weights each time."""
    torch.manual_seed(7)
    changes = CHANGES.get(name, {})
    return made(name, small(net, norm, torch.float32), seed=7, clip=1.0, **changes)


# --- ERM and CORAL --------------------------------------------------------------------------------


def test_erm_is_the_mean_over_domains_or_over_utterances():
    net, given = small(), batches(domains=2)
    (values,), y = given["a"]
    given["a"] = (values[:1],), y[:1]
    losses = []
    for inputs, y in given.values():
        losses.append(functional.cross_entropy(net(*inputs)[0], y, reduction="none"))
    expected = sum(own.mean() for own in losses) / 2
    slopes = torch.autograd.grad(expected, list(net.parameters()), retain_graph=True)
    by_domain, values = gradient_of(made("erm", net), given)
    for name, slope in zip(by_domain, slopes, strict=True):
        assert (by_domain[name] - slope).abs().max() < 1e-12
    assert values["loss"] == pytest.approx(expected.item())
    _, values = gradient_of(made("erm", net, loss="sample-mean"), given)
    assert values["loss"] == pytest.approx(torch.cat(losses).mean().item())


def test_domains_are_joined_in_the_order_of_their_names():
    given = batches("conv4")
    joined = made("erm").join(given)
    (values, mask), y = all_of([given[name] for name in sorted(given)])
    assert torch.equal(joined.inputs[0], values) and torch.equal(joined.inputs[1], mask)
    assert torch.equal(joined.y, y) and joined.sizes == [4, 4, 4]
    assert float(joined.weights.sum()) == pytest.approx(1.0)


def test_coral_is_the_naive_difference_of_means_and_covariances_over_all_pairs():
    embeddings = [torch.randn(n, 4, dtype=torch.float64) * (1 + n) + n for n in (3, 5, 7)]
    total = []
    for i in range(3):
        for j in range(i):
            one, other = embeddings[i].numpy(), embeddings[j].numpy()
            means = sum((one[:, c].mean() - other[:, c].mean()) ** 2 for c in range(4)) / 4
            apart = np.cov(one, rowvar=False) - np.cov(other, rowvar=False)
            total.append(means + (apart**2).sum() / 16)
    assert float(coral_penalty(embeddings)) == pytest.approx(sum(total) / 3, rel=1e-12)
    assert float(coral_penalty([embeddings[0], embeddings[0].clone()])) == 0
    leaves = [one.requires_grad_() for one in embeddings]
    assert torch.autograd.gradcheck(lambda *parts: coral_penalty(parts), leaves)


def test_a_step_of_coral_adds_the_weighted_penalty_of_the_embeddings():
    net, given = small(), batches()
    penalty = coral_penalty([net(*given[name][0])[1] for name in given]).item()
    ends = {}
    for name, weight in (("erm", 0.0), ("coral", 0.0), ("coral", 2.5)):
        algorithm = made(name, copy.deepcopy(net), coral_weight=weight)
        values = algorithm.update(given)
        ends[name, weight] = values_of(algorithm.network)
        if name == "erm":
            plain = values["loss"]
    assert values["penalty"] == pytest.approx(penalty)
    assert values["cross_entropy"] == pytest.approx(plain)
    assert values["loss"] == pytest.approx(plain + 2.5 * penalty)
    assert apart_by(ends["erm", 0.0], ends["coral", 0.0]) < 1e-12
    assert apart_by(ends["erm", 0.0], ends["coral", 2.5]) > 1e-4


# --- the contract ---------------------------------------------------------------------------------


def test_the_settings_offer_the_algorithms_there_are():
    assert tuple(ALGORITHMS) == TRAINED == ALGORITHM_NAMES[2:]


@pytest.mark.parametrize("name", ALGORITHMS)
def test_the_order_in_which_domains_come_and_the_global_generators_change_nothing(name):
    ends = []
    for seed in (1, 2):
        torch.manual_seed(0)
        algorithm, given = made(name, seed=5), batches()
        torch.manual_seed(seed)
        np.random.seed(seed)
        before = torch.get_rng_state()
        ordered = given if seed == 1 else dict(reversed(given.items()))
        values = [algorithm.update(ordered) for _ in range(3)]
        assert torch.equal(torch.get_rng_state(), before)
        ends.append((values, values_of(algorithm.network)))
    assert ends[0][0] == ends[1][0] and apart_by(ends[0][1], ends[1][1]) == 0


@pytest.mark.parametrize("name", ALGORITHMS)
@pytest.mark.parametrize(("net", "norm"), [("mlp", "group"), ("resnet18", "batch")])
def test_a_training_put_down_and_taken_up_again_ends_with_the_same_bits(name, net, norm):
    def given(step):
        return batches(net, dtype=torch.float32, seed=step)

    whole = of_floats(name, net, norm)
    expected = [whole.update(given(step)) for step in range(5)]
    first = of_floats(name, net, norm)
    got, stored = [first.update(given(step)) for step in range(3)], io.BytesIO()
    torch.save(first.state(), stored)
    later = of_floats(name, net, norm)
    for parameter in later.network.parameters():
        parameter.data.normal_()
    later.load(torch.load(io.BytesIO(stored.getvalue()), weights_only=True))
    got += [later.update(given(step)) for step in range(3, 5)]
    assert got == expected
    there = whole.network.state_dict()
    for key, value in later.network.state_dict().items():
        assert torch.equal(value, there[key])
    inputs = given(9)["a"][0]
    assert torch.equal(later.predict(inputs), whole.predict(inputs))


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

    algorithm = of_floats(name)
    losses = [algorithm.update(given(step))["loss"] for step in range(60)]
    (x,), y = given(1000)["a"]
    x[:, 6] -= 4.0 * y  # a domain without any of its own
    probabilities = algorithm.predict((x,))
    assert np.mean(losses[-10:]) < 0.7 * np.mean(losses[:10]) and algorithm.step == 60
    assert probabilities.dtype == torch.float64 and not probabilities.requires_grad
    assert torch.allclose(probabilities.sum(1), torch.ones(16).double())
    assert not algorithm.network.training
    assert float((probabilities.argmax(1) == y).double().mean()) > 0.6


def test_predictions_under_batch_normalisation_do_not_see_the_tested_batch():
    algorithm = of_floats("da-mldg", "resnet18", "batch")
    given = batches("resnet18", dtype=torch.float32)
    algorithm.update(given)
    values, mask = given["b"][0]
    together = algorithm.predict((values, mask))[:2]
    alone = algorithm.predict((values[:2], mask[:2]))
    assert torch.allclose(together, alone, atol=1e-6)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_class_that_a_domain_lacks_is_fine(name):
    given = batches(dtype=torch.float32)
    given["a"] = (given["a"][0], torch.ones_like(given["a"][1]))
    assert all(math.isfinite(value) for value in of_floats(name).update(given).values())


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_loss_that_is_not_a_number_is_for_the_training_loop_to_report(name, tmp_path):
    algorithm = of_floats(name)

    class Learner:
        state, load = algorithm.state, algorithm.load

        def step(self, i):
            given = batches(dtype=torch.float32)
            if i == 2:
                given["a"][0][0][0, 0] = float("nan")
            return algorithm.update(given)

    with pytest.raises(TrainingError, match="is nan at step 3"):
        training.train(Learner(), 5, tmp_path, progress=False)


NOBODY = {"x": ((torch.zeros(0, 12),), torch.zeros(0).long())}


@pytest.mark.parametrize(
    ("name", "given", "error", "named"),
    [
        ("mldg", batches(domains=1), SettingError, r"2 source domains or more.* 1 \(c\).*erm"),
        ("da-mldg", batches(domains=1), SettingError, "2 source domains or more"),
        ("coral", batches(domains=1), SettingError, "Coral needs 2 source domains or more"),
        ("erm", {}, SettingError, "Erm needs 1 source domains or more and got 0"),
        ("rsc", NOBODY, ValueError, "domain 'x' has 0 utterance"),
        ("coral", batches(n=1), ValueError, "domain 'c' has 1 utterance.* 2 or more"),
    ],
)
def test_batches_that_cannot_work_are_refused_and_change_nothing(name, given, error, named):
    algorithm = made(name)
    before = values_of(algorithm.network)
    with pytest.raises(error, match=named):
        algorithm.update(given)
    assert apart_by(before, values_of(algorithm.network)) == 0 and algorithm.step == 0


def test_the_gradient_is_clipped_as_a_whole_and_an_own_algorithm_needs_an_objective_alone():
    class Own(Algorithm):
        def objective(self, batch):
            return 1000.0 * self.network(*batch.inputs)[0].square().sum(), {"kept": 3}

    algorithm = Own(small(), settings_of("erm", learning_rate=1.0, momentum=0.0, clip=0.5))
    before = values_of(algorithm.network)
    assert algorithm.update(batches())["kept"] == 3.0
    after = values_of(algorithm.network)
    moved = sum(float((after[name] - before[name]).square().sum()) for name in after)
    assert math.sqrt(moved) == pytest.approx(0.5, rel=1e-4)
    with pytest.raises(SettingError, match="Algorithm has neither"):
        Algorithm(small(), settings_of("erm")).update(batches())
