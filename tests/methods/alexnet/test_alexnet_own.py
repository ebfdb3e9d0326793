"""A network of one's own in notebook 05: computed anew whenever anything in it may have changed."""

import sys

import pytest
import torch
from alexnet_toys import SMALL, changed, corpus, kept_trainings, toy_study

pytestmark = pytest.mark.usefixtures("quick_networks")

GLOBAL_CHOICE = 0


def helper_choice():
    return 0


class Base(torch.nn.Module):
    base_choice = 0

    def choose(self):
        return self.base_choice


class Favouring(Base):
    """Always says the class that it was told to, in one of several ways."""

    class_choice = 0

    def __init__(self, n_classes, choose):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.n_classes, self.told = n_classes, choose

    def forward(self, images, valid):
        logits = images.new_zeros(len(images), self.n_classes)
        logits[:, self.told(self)] = 5.0
        return logits * self.weight


def change_class(monkeypatch):
    monkeypatch.setattr(Favouring, "class_choice", 1)


def change_base(monkeypatch):
    monkeypatch.setattr(Base, "choose", lambda self: 1)


def change_global(monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "GLOBAL_CHOICE", 1)


def change_helper(monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "helper_choice", lambda: 1)


CELL = {"choice": 0}


def from_closure():
    inside = CELL
    return lambda network: inside["choice"]


@pytest.mark.parametrize(
    ("choose", "change"),
    [
        (lambda network: GLOBAL_CHOICE, change_global),
        (lambda network: helper_choice(), change_helper),
        (from_closure(), lambda monkeypatch: monkeypatch.setitem(CELL, "choice", 1)),
        (lambda network: network.class_choice, change_class),
        (lambda network: network.choose(), change_base),
    ],
    ids=["global", "helper", "closure", "class attribute", "base class"],
)
def test_own_code_that_changed_is_computed_anew(tmp_path, monkeypatch, choose, change):
    def favouring(n_classes):
        return Favouring(n_classes, choose)

    study = toy_study(tmp_path, corpus(each=1))
    alone, config = study.of_fold("0"), changed(num_epochs=1)
    first = alone.run(config, own=favouring, pictures=False)["favouring, clean"]
    assert set(first.predictions["pred"]) == {"anger"}
    change(monkeypatch)
    again = alone.run(config, own=favouring, pictures=False)["favouring, clean"]
    assert set(again.predictions["pred"]) == {"fear"} and again.path != first.path
    assert again.metrics["notes"][0] == "started from: scratch (a network of one's own)"
    assert not kept_trainings(study)


def test_lazy_layers_of_ones_own_learn_their_sizes(study):
    class Tiny(torch.nn.Sequential):
        def forward(self, images, valid):
            assert valid.shape == images.shape[:1] and images.shape[1:] == (1, 63, 64)
            return super().forward(images)

    def lazy(n_classes):
        return Tiny(torch.nn.Flatten(), torch.nn.LazyLinear(n_classes))

    (run,) = study.of_fold("0").run(SMALL, own=lazy, name="mine", pictures=False).values()
    assert run.config["model"] == "mine" and set(run.predictions["method"]) == {"mine"}
