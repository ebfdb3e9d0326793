"""Algorithms of the user's own: they take part, and are computed anew whatever changed in them."""

import dataclasses

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
