"""The figures of notebook 03: what is drawn equals what was given, what a reader must know stands
there, and nothing is cut off.
"""

import itertools
import types

import numpy as np
import pandas as pd
import pytest
import torch
from drawn import assert_nothing_is_cut_off, assert_saved_exactly, line, words
from sklearn.metrics import balanced_accuracy_score

from colab_utils.display import style
from colab_utils.methods.emofsl.figures import runs as figures
from colab_utils.methods.emofsl.settings import METHODS, EmofslConfig
from colab_utils.results.metrics import summarise
from colab_utils.results.predictions import PREDICTION_COLUMNS, PredictionError

LABELS = ["anger", "happiness", "neutral", "sadness"]
CONFIG = EmofslConfig(shots=5, decision="head")


def predictions(method="EMOFSL", right=0.5, n_draws=4, seeds=(0,), corpus="x"):
    """Every (seed, draw) tests each clip of 6 speakers once, in the fold of its speaker."""
    rng = np.random.default_rng(sum(map(ord, method)))
    rows = []
    for seed, draw, who, label, i in itertools.product(
        seeds, range(n_draws), range(6), LABELS, range(3)
    ):
        pred = label if rng.random() < right else rng.choice(LABELS)
        utt_id = f"{corpus}/{who}{label}{i}"
        fold = str(who % 2)
        rows.append(
            (method, "head", seed, fold, draw, 0, utt_id, corpus, f"{who:02d}", label, pred)
        )
    return pd.DataFrame(rows, columns=list(PREDICTION_COLUMNS))


def run(uar=0.5, interval=(0.4, 0.6), table=None):
    """A finished run, as far as figures look at it."""
    metrics = {"uar": uar, "uar_ci95": interval, "speaker_independence": "independent"}
    return types.SimpleNamespace(
        metrics=metrics,
        predictions=predictions(n_draws=1, corpus="synthetic-x") if table is None else table,
    )


def study(published=None, **more):
    about = {"name": "a-b", "title": "a-b, logmel", "guessing": 0.25, "labels": LABELS}
    return types.SimpleNamespace(published=published, folds=["0", "1"], **about, **more)


def test_the_rate_of_a_draw_is_its_pooled_recall():
    tables = {"BTL": predictions("BTL", 0.3, seeds=(0, 7)), "EMOFSL": predictions(seeds=(0, 7))}
    found = figures.uar_by_draw(tables, LABELS)
    assert list(found.columns) == ["BTL", "EMOFSL"]
    assert found.index.names == ["seed", "draw"] and len(found) == 8
    for name, table in tables.items():
        for (seed, draw), rows in table.groupby(["seed", "draw"]):
            rate = balanced_accuracy_score(rows["true"], rows["pred"])
            assert found.loc[(seed, draw), name] == pytest.approx(rate)
        # the UAR of a run is the mean of its draws
        assert found[name].mean() == pytest.approx(summarise(table, LABELS)["uar"])


@pytest.mark.parametrize(
    ("tables", "told"),
    [
        ({}, "no methods"),
        ({"BTL": predictions().head(0)}, "BTL has no predictions"),
        ({"BTL": predictions(), "FSTL": predictions(n_draws=3)}, "FSTL .* than BTL"),
        (
            {"both": pd.concat([predictions(), predictions().assign(rule="prototype")])},
            "both holds several .*EMOFSL / head",
        ),
    ],
    ids=["none", "empty", "other draws", "two rules"],
)
def test_draws_that_cannot_be_compared_are_refused(tables, told):
    with pytest.raises(PredictionError, match=told):
        figures.uar_by_draw(tables, LABELS)


def test_points_of_the_draws_are_their_rates_and_lines_join_the_same_draw(tmp_path):
    tables = {name: predictions(name, 0.3 + 0.1 * i) for i, name in enumerate(METHODS)}
    runs = {(f"{name}, head", 5): run(table=table) for name, table in tables.items()}
    figure = figures.luck_figure(study(), runs, CONFIG)
    (axes,) = figure.axes
    table = 100 * figures.uar_by_draw(tables, LABELS)
    points = [found.get_offsets() for found in axes.collections[:3]]
    for column, name in enumerate(METHODS):
        np.testing.assert_allclose(points[column][:, 0], column)
        np.testing.assert_allclose(np.sort(points[column][:, 1]), np.sort(table[name]))
        mean, spread = table[name].mean(), np.std(table[name], ddof=1)
        assert axes.get_xticklabels()[column].get_text() == f"{mean:.1f} ± {spread:.1f}\n{name}"
        bar = axes.containers[0].lines[2][0].get_segments()[column][:, 1]
        np.testing.assert_allclose(bar, [mean - spread, mean + spread])
    joined = [one.get_ydata() for one in axes.lines if list(one.get_xdata()) == [0, 1, 2]]
    np.testing.assert_allclose(joined, table.to_numpy())
    said = words(figure)
    assert "one support draw of 4, pooled over 2 folds. Lines join the same draw." in said
    assert "Chance, 25.0 %, is below the axis." in said and "a-b, logmel, 5-shot" in said
    assert axes.get_ylabel() == "UAR (%)"
    assert_nothing_is_cut_off(figure)
    assert_saved_exactly(lambda: figures.luck_figure(study(), runs, CONFIG), tmp_path)


def test_one_draw_has_no_spread_and_no_lines():
    runs = {(f"{name}, head", 5): run(table=predictions(name, n_draws=1)) for name in METHODS}
    said = words(figures.luck_figure(study(), runs, CONFIG))
    assert "±" not in said and "one support draw of 1," in said and "Lines" not in said


SHOTS = pd.DataFrame(
    [
        (method, k, 0.3 + 0.02 * k + 0.01 * i, 0.25 + 0.02 * k, 0.37 + 0.02 * k)
        for i, method in enumerate(("BTL", "EMOFSL", "LDA"))
        for k in (1, 5, 10)
        if (method, k) != ("LDA", 1)
    ],
    columns=["method", "k", "uar", "low", "high"],
)
PUBLISHED = pd.DataFrame(
    [("BTL", 5, 0.4917), ("EMOFSL", 5, 0.5143), ("FSTL", 15, 0.4)], columns=["method", "k", "rate"]
)


def runs_of(table):
    """Runs with these rates, and one that the other rule decided."""
    runs = {("BTL, prototype", 5): run(0.9)}
    for row in table.itertuples():
        name = row.method if row.method == "LDA" else f"{row.method}, head"
        runs[name, row.k] = run(row.uar, None if np.isnan(row.low) else (row.low, row.high))
    return runs


def test_curves_over_shots_show_rates_intervals_and_the_published_points(tmp_path):
    figure = figures.shots_figure(study(PUBLISHED), runs_of(SHOTS[::-1]), CONFIG)
    (axes,) = figure.axes
    bars = [found.get_segments() for found in axes.collections]
    places = {1: 0, 5: 1, 10: 2, 15: 3}  # as far apart, whatever the numbers
    for name, part in SHOTS.groupby("method"):
        curve = line(axes, name)
        np.testing.assert_allclose(curve.get_ydata(), 100 * part["uar"])
        assert (abs(curve.get_xdata() - part["k"].map(places)) < 0.3).all()
        assert (curve.get_color() == style.QUIET) == (name == "LDA")
        mine = [found for found in bars if found[0][0, 0] == curve.get_xdata()[0]]
        if name == "LDA":
            assert not mine, "simple methods have no bars"
        else:
            found = [bar[:, 1] for bar in mine[0]]
            np.testing.assert_allclose(found, 100 * part[["low", "high"]])
    at_five = [line(axes, name).get_xdata()[1] for name in ("BTL", "EMOFSL")]
    assert abs(at_five[1] - at_five[0]) > 0.05, "side by side"
    assert line(axes, "LDA").get_xdata()[0] == 1
    for row in PUBLISHED.itertuples():
        point = line(axes, f"{row.method}, {figures.PUBLISHED}")
        assert list(point.get_ydata()) == [pytest.approx(100 * row.rate)]
        assert point.get_markerfacecolor() == "none"
        beside = point.get_xdata()[0] - places[row.k]
        assert max(at_five) - 1 < beside < 0.4, "beside the bars"
        colour = style.INK if row.method == "FSTL" else line(axes, row.method).get_color()
        assert point.get_markeredgecolor() == colour
    assert [text.get_text() for text in axes.get_xticklabels()] == ["1", "5", "10", "15"]
    said = words(figure)
    for told in ("published (same protocol only)", "95 % interval over speakers", "EMOFSL 51.0"):
        assert told in said
    assert (
        "UAR in % at k = 1, 5, 10, 15: EMOFSL 33.0, 41.0, 51.0; BTL 32.0, 40.0, 50.0; LDA 42"
        in figure.alt
    )
    assert "chance 25.0" in said and "decided by head" in said and "Synthetic corpus" in said
    assert_nothing_is_cut_off(figure)
    assert_saved_exactly(lambda: figures.shots_figure(study(), runs_of(SHOTS), CONFIG), tmp_path)


def test_the_table_of_shots_holds_one_rule_and_the_baselines():
    runs = {("BTL, prototype", 5): run(0.4), ("BTL, head", 5): run(0.3, None), ("LDA", 1): run()}
    table = figures.shots_table(runs, "head")
    assert table.iloc[0, :3].to_list() == ["BTL", 5, 0.3]
    assert table.iloc[0, 3:].isna().all()
    assert table.iloc[1].to_list() == ["LDA", 1, 0.5, 0.4, 0.6]


def test_what_cannot_be_drawn_over_shots_is_refused():
    with pytest.raises(PredictionError, match="no runs"):
        figures.shots_figure(study(), {}, CONFIG)
    many = {(f"{i}, head", 5): run() for i in range(7)}
    with pytest.raises(ValueError, match="at most 6 methods"):
        figures.shots_figure(study(), many, CONFIG)


def test_bars_of_the_layers_are_their_weights():
    raw = torch.tensor([0.1, 0.6, 0.3]).log()
    module = types.SimpleNamespace(layer_weights=raw)
    one = study(layers=3, source_of=lambda config: types.SimpleNamespace(module=module))
    figure = figures.layers_figure(one, CONFIG)
    (axes,) = figure.axes
    assert [bar.get_height() for bar in axes.patches] == pytest.approx([0.1, 0.6, 0.3])
    assert axes.lines[0].get_ydata()[0] == pytest.approx(1 / 3) and "all alike" in words(figure)
    assert_nothing_is_cut_off(figure)
    assert figures.layers_figure(study(layers=1), CONFIG) is None
