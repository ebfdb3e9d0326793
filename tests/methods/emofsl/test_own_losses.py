"""A metric loss of one's own takes part, and is computed anew whatever of it has changed."""

import numpy as np
import pandas as pd
import pytest
from test_emofsl_study import CONFIG, LABELS, MANIFEST, make_study, task_of
from toy_store import Features

from colab_utils.methods.emofsl.study import TransferStudy

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
