"""A metric loss of one's own takes part, and is computed anew whatever of it has changed."""

import dataclasses
import functools

import numpy as np
import pandas as pd
import pytest
import torch
from pytorch_metric_learning.losses import ProxyAnchorLoss, SupConLoss, TripletMarginLoss
from test_emofsl_study import CONFIG, LABELS, MANIFEST, make_study, task_of
from toy_store import Features

from colab_utils.methods.emofsl.emofsl import own_metric
from colab_utils.methods.emofsl.settings import DECISIONS, EmofslConfig
from colab_utils.methods.emofsl.study import TransferStudy
from colab_utils.settings import SettingError

FACTOR = 0.0


def scaled_by(factor, embedding):
    return factor * embedding.square().mean(dim=(1, 2))


def helper(embedding):
    return scaled_by(FACTOR, embedding)


class Base:
    factor = 0.0

    def scaled(self, embedding):
        return scaled_by(self.factor, embedding)


def own_losses():
    """{kind: (loss, what changes it)}: none of the changes is in the function's own source."""

    class Own(Base):
        def __call__(self, embedding, y):
            return self.scaled(embedding)

    class Weighed(Own):
        factor = 0.0

    values = {"factor": 0.0}

    def closed(embedding, y):
        return scaled_by(values["factor"], embedding)

    def by_global(embedding, y):
        return scaled_by(FACTOR, embedding)

    def by_helper(embedding, y):
        return helper(embedding)

    def other_helper(embedding):
        return scaled_by(50, embedding)

    def other_base(self, embedding):
        return scaled_by(50, embedding)

    return {
        "global": (by_global, lambda patch: patch.setitem(globals(), "FACTOR", 50.0)),
        "helper": (by_helper, lambda patch: patch.setitem(globals(), "helper", other_helper)),
        "closure": (closed, lambda patch: patch.setitem(values, "factor", 50.0)),
        "class attribute": (Weighed(), lambda patch: patch.setattr(Weighed, "factor", 50.0)),
        "base class": (Own(), lambda patch: patch.setattr(Base, "scaled", other_base)),
    }


def runs_with(study, loss):
    return study.compare(
        CONFIG,
        methods=["BTL"],
        decisions=["head"],
        baselines=[],
        own={"mine": loss},
        pictures=False,
    )


@pytest.mark.parametrize("kind", list(own_losses()))
def test_own_code_that_changed_elsewhere_is_computed_anew(tmp_path, monkeypatch, kind):
    loss, change = own_losses()[kind]
    rows, split = task_of(MANIFEST)
    split = split[split["fold"] == split["fold"].min()]
    store = Features(rows, LABELS, spread=1.5)
    study = TransferStudy("aa-bb", rows, split, store, LABELS, tmp_path, progress=False)

    def scores():
        runs = runs_with(study, loss)
        return [runs[f"{name}, head", 2].predictions.filter(like="p_") for name in ("BTL", "mine")]

    plain, before = scores()
    assert np.allclose(before, plain, atol=1e-4), "it adds nothing yet"
    change(monkeypatch)
    plain_again, after = scores()
    assert plain_again.equals(plain) and not np.allclose(after, before, atol=1e-2)


def test_a_loss_of_ones_own_is_added_to_cross_entropy_in_every_fold(tmp_path, monkeypatch):
    study = make_study(tmp_path)
    runs = runs_with(study, lambda embedding, y: scaled_by(FACTOR, embedding))
    mine, plain = runs["mine, head", 2], runs["BTL, head", 2]
    assert mine.predictions["pred"].equals(plain.predictions["pred"])
    assert "own" in mine.config and "own" not in plain.config
    again = runs_with(study, lambda embedding, y: scaled_by(50, embedding))["mine, head", 2]
    changed = pd.Series((again.predictions["p_anger"] - mine.predictions["p_anger"]).abs() > 1e-2)
    assert changed.groupby(mine.predictions["fold"]).any().all()


@pytest.mark.parametrize("weight", [EmofslConfig().source_loss_weight, 5.0])
def test_a_loss_of_zero_is_btl_to_the_last_bit_on_whatever_source(tmp_path, weight):
    config = dataclasses.replace(CONFIG, source_loss_weight=weight)

    def zero(embedding, y):
        return 0 * embedding.square().mean(dim=(1, 2))

    study = make_study(tmp_path)
    runs = study.compare(config, (), ["BTL"], baselines=[], own={"zero": zero}, pictures=False)
    for decision in DECISIONS:
        found, plain = (runs[f"{name}, {decision}", 2].predictions for name in ("zero", "BTL"))
        assert found.drop(columns="method").equals(plain.drop(columns="method"))
        assert found["p_anger"].nunique() > 10


# --- what can be used -----------------------------------------------------------------------------


def embedded(draws=3, n=8, width=5):
    """Embeddings of some draws, which learn, and the classes in all of them, as of stage 2."""
    generator = torch.Generator().manual_seed(0)
    embedding = torch.randn(draws, n, width, generator=generator).requires_grad_()
    return embedding, torch.arange(4).repeat_interleave(n // 4)


def test_a_loss_is_called_with_the_classes_of_every_draw():
    embedding, y = embedded()

    def within(found, classes):
        assert classes.shape == (3, 8) and classes.tolist() == [y.tolist()] * 3
        return found.square().mean(dim=(1, 2))

    value = own_metric(functools.partial(within))(embedding, y)
    assert torch.equal(value, embedding.square().mean(dim=(1, 2)))


@pytest.mark.parametrize("loss", [SupConLoss(), TripletMarginLoss()])
def test_losses_of_pytorch_metric_learning_are_asked_draw_by_draw(loss, tmp_path):
    embedding, y = embedded()
    value = own_metric(loss)(embedding, y)
    assert value.tolist() == [loss(one, y).item() for one in embedding]
    value.sum().backward()
    assert (embedding.grad != 0).any(dim=2).all()
    run = runs_with(make_study(tmp_path), loss)["mine, head", 2]
    assert run.done


def test_a_subclass_of_one_is_one_too_and_weights_that_nobody_trains_are_refused():
    class Mine(SupConLoss):
        pass

    embedding, y = embedded()
    assert torch.equal(own_metric(Mine())(embedding, y), own_metric(SupConLoss())(embedding, y))
    proxies = ProxyAnchorLoss(4, 5)
    with pytest.raises(SettingError, match="ProxyAnchorLoss.* weights of its own"):
        own_metric(proxies)
    assert own_metric(proxies.requires_grad_(False))(embedding, y).shape == (3,)


# --- what cannot ----------------------------------------------------------------------------------


def within(embedding):
    return embedding.square().mean(dim=(1, 2))


@pytest.mark.parametrize(
    ("loss", "told"),
    [
        (lambda embedding, y: embedding.square().mean(), r"shape \(\) where \(3,\)"),
        (lambda embedding, y: within(embedding).mean()[None], r"shape \(1,\) where \(3,\)"),
        (lambda embedding, y: within(embedding)[:, None], r"shape \(3, 1\) where \(3,\)"),
        (lambda embedding, y: embedding.square().mean(-1), r"shape \(3, 8\) where \(3,\)"),
        (lambda embedding, y: None, "NoneType"),
        (lambda embedding, y: 1.0, "float"),
        (lambda embedding, y: (within(embedding), {}), "tuple"),
        (lambda embedding, y: within(embedding).detach(), "without a gradient"),
        (lambda embedding, y: within(embedding).long(), "without a gradient"),
        (lambda embedding, y: within(embedding) * torch.nan, "NaN"),
        (lambda embedding, y: within(embedding) / 0, "infinity"),
        (lambda embedding, y: within(embedding).to(torch.complex64), "complex"),
        (lambda embedding, y: within(embedding).to("meta"), "device meta"),
        (lambda embedding: within(embedding), "takes 1 positional argument but 2"),
        (lambda embedding, y: 1 / 0, "ZeroDivisionError"),
        (SupConLoss, "failed with"),
    ],
)
def test_a_loss_that_gives_something_else_is_one_sentence(loss, told):
    embedding, y = embedded()
    with pytest.raises(SettingError, match=told) as found:
        own_metric(loss)(embedding, y)
    assert "metric loss" in str(found.value) and "(draws,)" in str(found.value)
    assert "\n" not in str(found.value)


def test_where_the_projection_stays_a_loss_needs_no_gradient():
    embedding, y = embedded()
    fixed = embedding.detach()
    assert torch.equal(own_metric(lambda found, _: within(found))(fixed, y), within(fixed))


def test_one_number_for_all_draws_stops_the_study(tmp_path):
    with pytest.raises(SettingError, match="where .2,. is needed"):
        runs_with(make_study(tmp_path), lambda embedding, y: embedding.square().mean())
