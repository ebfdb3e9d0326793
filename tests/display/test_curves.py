"""Curves, the dot plot of methods, the live curve: what is drawn equals what was given."""

import IPython
import IPython.display
import matplotlib
import numpy as np
import pandas as pd
import pytest
from drawn import assert_nothing_is_cut_off, assert_saved_exactly, contrast, line, words
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from colab_utils import session
from colab_utils.display import curves, style


def test_colours_of_lines_read_as_words_and_styles_differ():
    assert all(contrast(colour, "white") >= 4.5 for colour in style.COLOURS)
    assert (
        len(set(style.COLOURS))
        == len(set(style.MARKERS))
        == len(set(style.DASHES))
        == len(set(style.LEVEL_DASHES))
        == 6
    )
    grey = sorted(
        np.dot(matplotlib.colors.to_rgb(colour), [0.299, 0.587, 0.114]) for colour in style.COLOURS
    )
    assert grey[-1] < 0.5, "dark enough for a thin line in grey print"


@given(st.lists(st.floats(0, 100), min_size=1, max_size=9), st.floats(0.5, 8))
def test_spread_keeps_order_and_distance_and_moves_nothing_without_need(places, gap):
    found = curves.spread(places, gap, -1e6, 1e6)
    order = np.argsort(places, kind="stable")
    assert (np.diff(found[order]) >= gap - 1e-6).all()
    assert np.mean(found) == pytest.approx(np.mean(places), abs=1e-6)
    if (np.diff(np.sort(places)) >= gap).all():
        np.testing.assert_allclose(found, places, atol=1e-6)


def test_spread_moves_as_little_as_possible_and_stays_inside():
    places, gap = np.array([55.3, 57.9, 55.8, 57.7, 20.0, 56.1]), 2.4
    order = np.argsort(places)
    best = minimize(
        lambda q: ((q - places[order]) ** 2).sum(),
        places[order] + 1e-3 * np.arange(6),
        constraints={"type": "ineq", "fun": lambda q: np.diff(q) - gap},
        options={"ftol": 1e-12},
    )
    np.testing.assert_allclose(curves.spread(places, gap, 0, 100)[order], best.x, atol=1e-3)
    inside = curves.spread(places, gap, 20, 58)
    assert inside.max() <= 58 + 1e-9 and inside.min() >= 20


def records(n=60, every=10, **more):
    made = [
        {"step": i, "query_loss": 2 - i / n, "query_accuracy": 0.2 + 0.5 * i / n, **more}
        for i in range(1, n + 1)
    ]
    for i, score in zip(range(every, n + 1, every), (0.3, 0.45, 0.5, 0.5, 0.48, 0.4), strict=False):
        made[i - 1]["validation"] = score
    return made


def test_learning_curve_marks_the_first_best_validation():
    figure = curves.learning_curve_figure(records(), 0.2, "MAML")
    left, right = figure.axes
    np.testing.assert_allclose(left.lines[0].get_xydata(), [[i, 2 - i / 60] for i in range(1, 61)])
    np.testing.assert_allclose(
        left.lines[1].get_ydata()[-1], np.mean([2 - i / 60 for i in (58, 59, 60)])
    )
    np.testing.assert_allclose(
        line(right, "validation").get_xydata(),
        np.stack([np.arange(10, 61, 10), [30, 45, 50, 50, 48, 40]], axis=1),
    )
    ring = line(right, "kept: step 30, 50.0 %")
    assert ring.get_xydata().tolist() == [[30, 50]]
    assert [20, 20] in [list(one.get_ydata()) for one in right.lines]
    assert "chance 20.0" in words(figure)
    assert figure.name == "learning curve, MAML"
    assert "60 steps; loss 1 at the end. Validation: 30.0 % first, kept: step 30" in figure.alt
    assert 30 in {float(one.get_xdata()[0]) for one in left.lines}, (
        "the step is marked in the loss, too"
    )
    assert (left.get_ylabel(), right.get_ylabel(), left.get_xlabel()) == (
        "Training query loss",
        "Accuracy (%)",
        "Training step",
    )
    assert (
        "MAML" in words(figure)
        and "training tasks" in words(figure)
        and figure.get_figwidth() == style.WIDE_COLUMN
    )
    assert_nothing_is_cut_off(figure)


def test_learning_curve_of_other_records():
    plain = [{"step": i, "loss": 1.0} for i in range(1, 4)]
    figure = curves.learning_curve_figure(plain)
    assert (
        figure.axes[0].get_ylabel() == "Training loss"
        and not figure.axes[1].lines
        and figure.axes[1].get_ylabel() == "Validation UAR (%)"
    )
    assert_nothing_is_cut_off(curves.learning_curve_figure(records()[:1], 0.2))
    for nothing, message in (
        ([], "no records: nothing to draw; train first"),
        ([{"step": 1, "rate": 2.0}], "no loss among step, rate"),
    ):
        with pytest.raises(ValueError, match=message):
            curves.learning_curve_figure(nothing)


def test_a_loss_that_falls_far_is_seen_to_its_end_and_the_stamp_stands_below():
    falling = [{"step": i, "loss": 3.0 * 0.8**i} for i in range(1, 31)]
    rows = pd.DataFrame({"corpus": ["synthetic-phone"]})
    figure = curves.learning_curve_figure(falling, title="alexnet_gap, fold 0", rows=rows)
    left = figure.axes[0]
    assert left.get_yscale() == "log" and len(left.lines) == 1
    assert "Each step." in words(figure) and "$" not in words(figure)
    assert figure.name == "learning curve, AlexNet-GAP, fold 0"
    assert figure.alt.endswith("Synthetic corpus: not a result on speech.")
    assert_nothing_is_cut_off(figure)
    assert curves.learning_curve_figure(records()).axes[0].get_yscale() == "linear"


def last_shown():
    """The figure that was shown last."""
    return list(session.shown.values())[-1]


class Page:
    """A notebook page and a clock that tests can turn."""

    def __init__(self, monkeypatch):
        self.shown, self.updated, self.now = [], [], 100.0
        monkeypatch.setattr(IPython, "get_ipython", lambda: self)
        monkeypatch.setattr(IPython.display, "display", self.display)
        monkeypatch.setattr(curves.time, "monotonic", lambda: self.now)

    def display(self, bundle, raw, display_id):
        assert raw and display_id is True and bundle["text/html"].startswith("<img")
        self.shown.append(last_shown())
        return self

    def update(self, bundle, raw):
        assert raw and bundle["text/html"].startswith("<img")
        self.updated.append(last_shown())


def test_live_curve_redraws_one_picture_and_not_too_often(monkeypatch):
    page, live = Page(monkeypatch), curves.live_curve(chance=0.2, title="MAML")
    live(records()[:10])
    assert len(page.shown) == 1 and page.updated == []
    for n, now in ((20, 101.9), (30, 102.1), (40, 103.0), (50, 104.2)):
        page.now = now
        live(records()[:n])
    assert len(page.shown) == 1
    assert [one.axes[1].lines[-2].get_xdata()[0] for one in page.updated] == [
        30,
        30,
    ], "drawn at 30 and 50 records; the best is step 30"
    live.finish(records())
    assert (
        len(page.updated) == 3
        and len(line(page.updated[-1].axes[1], "validation").get_xdata()) == 6
    )


def test_live_curve_takes_a_tenth_of_the_time_at_most(monkeypatch):
    page, live = Page(monkeypatch), curves.live_curve()

    def slow(*_):
        page.now += 3.0  # a picture that takes 3 s
        return style.SuiteFigure(figsize=(0.1, 0.1))

    monkeypatch.setattr(curves, "learning_curve_figure", slow)
    live(records()[:10])
    for page.now in (105.0, 129.9, 130.1):
        live(records()[:20])
    assert len(page.updated) == 1


def test_live_curve_does_nothing_outside_a_notebook(monkeypatch, capsys):
    monkeypatch.setattr(curves, "learning_curve_figure", lambda *_: pytest.fail("drawn for nobody"))
    live = curves.live_curve()
    live(records())
    live.finish(records())
    assert capsys.readouterr().out == ""


METHODS = pd.DataFrame(
    [
        ("nearest prototype", 0.561, 0.49, 0.63),
        ("MAML", 0.58, 0.51, 0.65),
        ("ProtoNet", 0.55, np.nan, np.nan),
    ],
    columns=["method", "uar", "low", "high"],
)


def test_methods_are_points_with_their_interval():
    figure = curves.methods_figure(METHODS, 0.2, "EMOVO", highlight=["MAML"])
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.get_yticklabels()] == list(METHODS["method"])
    points = [one for one in axes.lines if one.get_marker() in "oD"]
    for point, bar, row, one in zip(
        points, axes.collections, (2, 1, 0), METHODS.itertuples(), strict=True
    ):
        np.testing.assert_allclose(point.get_xydata(), [[100 * one.uar, row]])
        assert (point.get_color() == style.ACCENT) == (one.method == "MAML")
        (ends,) = bar.get_segments()
        if one.method == "ProtoNet":
            assert len(ends) == 0, "no interval, no bar"
        else:
            np.testing.assert_allclose(ends, [[100 * one.low, row], [100 * one.high, row]])
    said = words(figure)
    assert "58.0 (51.0 to 65.0)" in said and "55.0 (no interval)" in said
    assert "chance 20.0" in said and "95 % interval over speakers" in said
    assert axes.get_xlabel() == "UAR (%)" and figure.get_figwidth() == style.WIDE_COLUMN
    assert_nothing_is_cut_off(figure)


def test_methods_figure_says_what_it_lacks():
    with pytest.raises(ValueError, match="no methods"):
        curves.methods_figure(METHODS.head(0), 0.2)
    with pytest.raises(
        ValueError,
        match="no method 'ANIL' to highlight: the table has nearest prototype, MAML, ProtoNet",
    ):
        curves.methods_figure(METHODS, 0.2, highlight=["ANIL", "MAML"])
    marked = curves.methods_figure(METHODS, 0.2, unit="films", marks=["Transductive: x."])
    assert "interval over films" in words(marked) and "Transductive: x." in words(marked)


@pytest.mark.parametrize(
    "make",
    [
        lambda: curves.learning_curve_figure(records()),
        lambda: curves.methods_figure(METHODS, 0.2),
    ],
)
def test_figures_are_saved_exactly_and_leave_no_trace_in_pyplot(make, tmp_path):
    assert_saved_exactly(make, tmp_path)
