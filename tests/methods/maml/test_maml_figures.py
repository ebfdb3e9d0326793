"""Accuracy by inner step as a figure: its lines, bands, names and words."""

import matplotlib
import numpy as np
import pandas as pd
import pytest
from drawn import assert_nothing_is_cut_off, assert_saved_exactly, line, words

from colab_utils.display import style
from colab_utils.methods.maml.figures.steps import accuracy_by_step_figure
from colab_utils.methods.maml.steps import StepsError, accuracy_by_step, steps_table


def steps(level=0.5, n_steps=5, n_tasks=20, seeds=(0, 1), seed=0):
    rng = np.random.default_rng(seed)
    rise = level + 0.2 * (1 - np.exp(-np.arange(n_steps + 1)))
    return pd.concat(
        [
            steps_table(
                (rise + rng.normal(0, 0.05, (n_tasks, n_steps + 1))).clip(0, 1),
                range(n_tasks),
                method="m",
                seed=s,
            )
            for s in seeds
        ],
        ignore_index=True,
    )


STUDY = {
    "MAML": steps(0.4, 5),
    "fine-tuning": steps(0.45, 3, seed=1),
    "nearest prototype": steps(0.55, 0, seed=2),
    "logistic regression": steps(0.56, 0, seed=3),
}


def test_lines_and_bands_are_the_mean_and_its_interval():
    figure = accuracy_by_step_figure(STUDY, 0.2, "EMOVO, 5-way 5-shot")
    axes = figure.axes[0]
    for band, name in zip(axes.collections[:2], ("MAML", "fine-tuning"), strict=True):
        found = accuracy_by_step(STUDY[name])
        np.testing.assert_allclose(
            line(axes, name).get_xydata(),
            np.stack([found["step"], 100 * found["accuracy"]], axis=1),
        )
        corners = band.get_paths()[0].vertices
        for step in found.itertuples():
            here = corners[corners[:, 0] == step.step][:, 1]
            assert (here.min(), here.max()) == pytest.approx((100 * step.low, 100 * step.high))
    for name in ("nearest prototype", "logistic regression"):
        assert line(axes, name).get_ydata() == pytest.approx(
            [100 * STUDY[name]["accuracy"].mean()] * 2
        )
    assert [20, 20] in [list(one.get_ydata()) for one in axes.lines]
    assert (axes.get_xlabel(), axes.get_ylabel()) == (
        "Inner step",
        "Query accuracy (%)",
    ) and axes.get_xlim() == (0, 5)
    said = words(figure)
    assert "chance 20.0" in said
    assert "EMOVO, 5-way 5-shot" in said and "20 tasks x 2 seeds" in said
    assert (
        "95 % interval over tasks: this corpus, these speakers" in said
        and "make no inner steps" in said
    )
    for name in STUDY:
        assert f"{name} {100 * accuracy_by_step(STUDY[name])['accuracy'].iloc[-1]:.1f}" in said
    assert figure.get_figwidth() == style.WIDE_COLUMN


def test_a_beginning_at_chance_does_not_squeeze_the_others():
    deep = steps(0.6, 5)
    deep.loc[deep["step"] == 0, "accuracy"] = 0.2
    figure = accuracy_by_step_figure({"permuted": deep, "prototype": steps(0.7, 0)}, 0.2)
    (axes,) = figure.axes
    low, high = axes.get_ylim()
    rates = 100 * accuracy_by_step(deep)["accuracy"]
    assert low < rates[1:].min() and 2 * (high - low) < rates.max() - rates[0]
    said = words(figure)
    assert "Below the axis, before adaptation: permuted at 20.0 %." in said
    assert "Chance, 20.0 %, is below the axis." in said and "chance 20.0" not in said
    assert line(axes, "permuted").get_clip_on() and not line(axes, "prototype").get_clip_on()
    assert_nothing_is_cut_off(figure)
    assert "Below" not in words(accuracy_by_step_figure(STUDY, 0.2))


def test_names_of_lines_that_end_together_do_not_touch():
    near = {f"method {i}": steps(0.5, 4, seed=i) for i in range(5)} | {
        f"baseline {i}": steps(0.62 + 0.001 * i, 0, seed=i) for i in range(6)
    }
    figure = accuracy_by_step_figure(
        near,
        0.2,
        "A long title that tells the corpus and the protocol of the study " * 2,
        marks=["Synthetic corpus: not a result on speech."],
    )
    assert_nothing_is_cut_off(figure)
    names = [text for text in figure.axes[0].texts if text.get_text()]
    boxes = sorted(
        (matplotlib.text.Text.get_window_extent(text) for text in names), key=lambda box: box.y0
    )
    assert len(boxes) == 11
    assert all(lower.y1 <= upper.y0 + 0.5 for lower, upper in zip(boxes, boxes[1:], strict=False))
    assert "Synthetic corpus" in words(figure)


def test_leaders_of_names_do_not_cross_where_lines_end_early():
    """Between the edge of the axes and the names they are in the order of the names."""
    early = {"one": steps(0.9, 2), "two": steps(0.5, 9, seed=1), "three": steps(0.51, 4, seed=2)}
    axes = accuracy_by_step_figure(early, 0.2).axes[0]
    ends = {
        name: 100 * accuracy_by_step(table)["accuracy"].iloc[-1] for name, table in early.items()
    }
    places = {}
    for text in axes.texts:
        name = text.get_text().split(" ")[0]
        if name in early:
            places[name] = text.get_position()[1]
            assert text.xy == (axes.get_xlim()[1], pytest.approx(ends[name])), "from the edge"
    assert sorted(places, key=places.get) == sorted(ends, key=ends.get)
    level = [one.get_segments()[0] for one in axes.collections if hasattr(one, "get_segments")]
    starts = {(one[0, 0], one[0, 1]) for one in level if one[1, 0] == 9 and one[0, 1] == one[1, 1]}
    assert {start[0] for start in starts} == {2, 4, 9}, "and level up to there"


def test_tables_without_curves_are_refused():
    with pytest.raises(ValueError, match="no methods"):
        accuracy_by_step_figure({}, 0.2)
    with pytest.raises(ValueError, match="7 methods with inner steps and 0 without"):
        accuracy_by_step_figure({str(i): steps() for i in range(7)}, 0.2)
    with pytest.raises(StepsError, match="empty"):
        accuracy_by_step_figure({"MAML": steps().head(0)}, 0.2)


def test_the_figure_of_steps_is_saved_exactly_and_leaves_no_trace_in_pyplot(tmp_path):
    assert_saved_exactly(lambda: accuracy_by_step_figure(STUDY, 0.2), tmp_path)
