"""A network of one's own in notebook 05: computed anew whenever anything in it may have changed."""

import functools
import sys

import numpy as np
import pytest
import torch
from alexnet_toys import SMALL, changed, corpus, kept_trainings, learner_of, toy_study

from colab_utils.settings import SettingError

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
            assert valid.shape == images.shape[:1] and images.shape[1:] == (1, 63, 94)
            return super().forward(images)

    def lazy(n_classes):
        return Tiny(torch.nn.Flatten(), torch.nn.LazyLinear(n_classes))

    (run,) = study.of_fold("0").run(SMALL, own=lazy, name="mine", pictures=False).values()
    assert run.config["model"] == "mine" and set(run.predictions["method"]) == {"mine"}


# --- what cannot be used --------------------------------------------------------------------------


class Linear(torch.nn.Module):
    """One layer; `spoilt` changes its logits."""

    def __init__(self, n_classes, spoilt=lambda logits: logits):
        super().__init__()
        self.layer = torch.nn.Linear(63 * 94, n_classes)
        self.spoilt = spoilt

    def forward(self, images, valid):
        return self.spoilt(self.layer(images.flatten(1)))


class OneArgument(Linear):
    def forward(self, images):
        return self.layer(images.flatten(1))


def spoiling(spoilt):
    return lambda n_classes: Linear(n_classes, spoilt)


CASES = {
    "one argument": (OneArgument, "takes 2 positional arguments but 3"),
    "an instance": (Linear(3), "failed with TypeError"),
    "no network": (lambda n_classes: None, "failed with AttributeError"),
    "too few outputs": (lambda n_classes: Linear(2), r"\(2, 2\) where \(2, 3\)"),
    "too many outputs": (lambda n_classes: Linear(5), r"\(2, 5\) where \(2, 3\)"),
    "one row for all": (spoiling(lambda found: found[:1]), r"\(1, 3\) where \(2, 3\)"),
    "a tuple": (spoiling(lambda found: (found, 1)), "gave a tuple"),
    "no gradient": (spoiling(lambda found: found.detach()), "without a gradient"),
    "nothing that learns": (lambda n: Linear(n).requires_grad_(False), "without a gradient"),
    "float64": (lambda n_classes: Linear(n_classes).double(), "Float and Double"),
    "other pictures": (lambda n: torch.nn.Conv2d(3, n, 3), "takes 2 positional arguments but 3"),
    "a name": ("alexnet", "cannot be called|not callable"),
}


@pytest.mark.parametrize("case", list(CASES))
def test_a_network_that_cannot_be_trained_is_one_sentence(study, case):
    own, told = CASES[case]
    with pytest.raises(SettingError, match=told) as found:
        study.of_fold("0").run(SMALL, own=own, pictures=False)
    assert "made for 3 classes, (images (n, 1, 63, 94), valid (n,)) -> logits (n, 3)" in str(
        found.value
    )
    assert "\n" not in str(found.value)


def test_a_network_that_gives_something_else_in_training_alone_is_told_there(study):
    class Auxiliary(Linear):
        def forward(self, images, valid):
            logits = super().forward(images, valid)
            return (logits, logits) if self.training else logits

    with pytest.raises(SettingError, match="Auxiliary.*gave a tuple"):
        study.of_fold("0").run(SMALL, own=Auxiliary, pictures=False)


def test_partials_and_objects_make_networks_and_give_them_their_name(study):
    class Maker:
        def __call__(self, n_classes):
            return Linear(n_classes)

    alone, config = study.of_fold("0"), changed(num_epochs=1)
    names = []
    for own in (functools.partial(Linear), Maker(), lambda n_classes: Linear(n_classes)):
        names += alone.run(config, own=own, pictures=False)
    assert names == ["Linear, clean", "Maker, clean", "lambda, clean"]


# --- batch statistics -----------------------------------------------------------------------------


class Normalised(torch.nn.Module):
    """Batch normalisation, which has no statistics of a single picture."""

    def __init__(self, n_classes):
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Flatten(),
            torch.nn.Linear(63 * 94, 8),
            torch.nn.BatchNorm1d(8),
            torch.nn.Linear(8, n_classes),
        )

    def forward(self, images, valid):
        return self.layers(images)


def segments_of_an_epoch(learner):
    return [
        learner.segments_of(i, np.random.default_rng(0)) for i in range(learner.steps_per_epoch)
    ]


@pytest.mark.parametrize("rest", [0, 1, 2])
def test_a_segment_left_alone_joins_the_batch_before(rest):
    """Only in one's own network: those of the suite have no batch statistics and keep theirs."""
    n_segments = len(learner_of(SMALL).fold.y)
    size = next(one for one in range(4, n_segments) if n_segments % one == rest)
    config = changed(balanced=False, oversampling=False, batch_size=size)
    mine = learner_of(config, own=Normalised)
    batches = segments_of_an_epoch(mine)
    assert sorted(np.concatenate(batches)) == list(range(n_segments)), "each once"
    assert min(map(len, batches)) > 1
    for i in range(mine.steps_per_epoch):
        assert np.isfinite(mine.step(i)["loss"])
    of_the_suite = segments_of_an_epoch(learner_of(config))
    lengths = [len(one) for one in of_the_suite]
    assert lengths == [size] * (n_segments // size) + [n_segments % size] * bool(n_segments % size)
    assert np.array_equal(np.concatenate(of_the_suite), np.concatenate(batches))
