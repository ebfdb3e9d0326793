"""Algorithms of the user's own: they take part, and are computed anew whatever changed in them."""

import dataclasses
import functools

import pytest
import torch
from domain_toys import CONFIG, make_study, three_corpora, trained

from colab_utils.methods.da_mldg.algorithms import Algorithm, Erm
from colab_utils.methods.da_mldg.algorithms.algorithm import weighted_cross_entropy
from colab_utils.settings import SettingError

FACTOR = 1.0


@pytest.fixture
def rows():
    return three_corpora()


def helper(logits, batch):
    return weighted_cross_entropy(logits, batch)


class Doubled(Erm):
    def objective(self, batch):
        loss, values = super().objective(batch)
        return 2 * loss, values


class WithGlobal(Algorithm):
    def objective(self, batch):
        return FACTOR * weighted_cross_entropy(self.network(*batch.inputs)[0], batch), {}


class WithHelper(Algorithm):
    def objective(self, batch):
        return helper(self.network(*batch.inputs)[0], batch), {}


class Base(Algorithm):
    def loss_of(self, logits, batch):
        return weighted_cross_entropy(logits, batch)


class Derived(Base):
    factor = 1.0

    def objective(self, batch):
        return self.factor * self.loss_of(self.network(*batch.inputs)[0], batch), {}


def with_closure():
    box = {"factor": 1.0}

    class WithClosure(Algorithm):
        def objective(self, batch):
            loss = weighted_cross_entropy(self.network(*batch.inputs)[0], batch)
            return box["factor"] * loss, {}

    return WithClosure, box


def nothing(*arguments):
    """A loss that teaches nothing."""
    logits = next(one for one in arguments if isinstance(one, torch.Tensor))
    return 0.0 * logits.sum()


def test_an_algorithm_of_ones_own(rows, tmp_path):
    study = make_study(rows, tmp_path)
    runs = study.compare(CONFIG, ["erm"], own={"mine": Doubled}, pictures=False)
    assert runs["mine"].config["own"]["code"] == "Doubled" and "own" not in runs["erm"].config
    erm = dataclasses.replace(CONFIG, algorithm="erm")
    losses = [trained(study, erm, own).records[0]["loss"] for own in (None, Doubled)]
    assert losses[1] == pytest.approx(2 * losses[0])
    with pytest.raises(SettingError, match="erm stands twice"):
        study.compare(CONFIG, "erm", own={"erm": Doubled})


@pytest.mark.parametrize("case", ["global", "helper", "closure", "class attribute", "base class"])
def test_own_code_that_changed_anywhere_is_computed_anew(rows, tmp_path, monkeypatch, case):
    """After the change nothing is learnt: the rate differs from before."""
    closure, box = with_closure()
    own = {"global": WithGlobal, "helper": WithHelper, "closure": closure}.get(case, Derived)
    config = dataclasses.replace(CONFIG, steps=50, weight_decay=0.0)
    study = make_study(rows, tmp_path)
    before = study.compare(config, (), own={"mine": own}, pictures=False)["mine"]
    changes = {
        "global": lambda: monkeypatch.setitem(globals(), "FACTOR", 0.0),
        "helper": lambda: monkeypatch.setitem(globals(), "helper", nothing),
        "closure": lambda: box.update(factor=0.0),
        "class attribute": lambda: monkeypatch.setattr(Derived, "factor", 0.0),
        "base class": lambda: monkeypatch.setattr(Base, "loss_of", nothing),
    }
    changes[case]()
    fresh = [make_study(rows, tmp_path)] if case == "global" else []
    for again in [study, *fresh]:
        after = again.compare(config, (), own={"mine": own}, pictures=False)["mine"]
        assert before.metrics["uar"] > 0.6 > after.metrics["uar"] and before.path != after.path
    assert not list(tmp_path.glob("trained/*/*")), "nobody can use them again"


# --- what cannot be used --------------------------------------------------------------------------


class Powered(Algorithm):
    """With a setting of its own, as a partial gives it."""

    def __init__(self, network, config, power=1.0):
        super().__init__(network, config)
        self.power = power

    def objective(self, batch):
        return weighted_cross_entropy(self.network(*batch.inputs)[0], batch) ** self.power, {}


def test_a_partial_is_an_algorithm_like_a_class(rows, tmp_path):
    study = make_study(rows, tmp_path)
    plain, same, other = (
        study.compare(CONFIG, (), own={"mine": own}, pictures=False)["mine"].predictions
        for own in (Powered, functools.partial(Powered), functools.partial(Powered, power=3.0))
    )
    assert same.equals(plain) and not other.equals(plain)


def objective(spoilt):
    """An algorithm whose objective gives something else than (loss, {})."""

    class Mine(Algorithm):
        def objective(self, batch):
            return spoilt(weighted_cross_entropy(self.network(*batch.inputs)[0], batch))

    return Mine


@pytest.mark.parametrize(
    ("spoilt", "told"),
    [
        (lambda loss: loss, "gave a Tensor; end it with `return loss, {}`"),
        (lambda loss: None, "gave a NoneType"),
        (lambda loss: (loss,), "gave a tuple"),
        (lambda loss: (loss, None), "gave a tuple"),
        (lambda loss: (loss, {}, 1), "gave a tuple"),
        (lambda loss: (loss.item(), {}), "a float"),
        (lambda loss: (loss[None].repeat(3), {}), r"shape \(3,\) where \(\)"),
        (lambda loss: (loss.detach(), {}), "without a gradient"),
        (lambda loss: (torch.tensor(1.0, requires_grad=True), {}), "no weight .* has a gradient"),
        (lambda loss: (loss.to("meta"), {}), "device meta"),
        (lambda loss: (loss, {"x": torch.ones(2)}), "keeps numbers by name"),
        (lambda loss: (loss, {"x": "text"}), "keeps numbers by name"),
        (lambda loss: (loss / 0 * "x", {}), "failed with TypeError"),
    ],
)
def test_an_objective_that_gives_something_else_is_one_sentence(rows, tmp_path, spoilt, told):
    with pytest.raises(SettingError, match=told) as found:
        trained(make_study(rows, tmp_path), CONFIG, objective(spoilt))
    assert "Mine" in str(found.value) and "\n" not in str(found.value)


class Nothing(Algorithm):
    pass


class Forgetful(Algorithm):
    """Its parent never hears of the network."""

    def __init__(self, network, config):
        self.power = 1


class Idle(Algorithm):
    """Gradients that never come."""

    def gradients(self, batches):
        return {"loss": 1.0}


@pytest.mark.parametrize(
    ("own", "told"),
    [
        (Nothing, r"write objective\(self, batch\)"),
        (Forgetful, "has no network, .*super"),
        (Idle, "no weight of the network has a gradient"),
        (lambda batch: None, "failed with TypeError"),
        (object, "object, made by .network, config."),
        (lambda network, config: network, "it has no .*optimiser.*Algorithm"),
    ],
)
def test_what_is_no_algorithm_is_one_sentence(rows, tmp_path, own, told):
    with pytest.raises(SettingError, match=told):
        trained(make_study(rows, tmp_path), CONFIG, own)


@pytest.mark.parametrize("spoilt", [lambda found: found[:1], lambda found: found.numpy()])
def test_predictions_of_fewer_clips_are_refused_and_never_spread_over_all(rows, tmp_path, spoilt):
    class Short(Erm):
        def predict(self, inputs):
            return spoilt(super().predict(inputs))

    with pytest.raises(SettingError, match="predict gave .* for 48 clips"):
        trained(make_study(rows, tmp_path), CONFIG, Short)
