"""The figure of the circumplex: lines join the pairs of their level, names do not touch."""

import itertools

import matplotlib
import numpy as np
import pytest
from drawn import assert_nothing_is_cut_off, assert_saved_exactly, words

from colab_utils.methods.emofsl.circumplex import COORDINATES
from colab_utils.methods.emofsl.emofsl import levels_and_margins
from colab_utils.methods.emofsl.figures.circumplex import LEVELS, emotions_figure
from colab_utils.methods.emofsl.settings import EmofslConfig
from colab_utils.settings import SettingError

FOUR = ["anger", "happiness", "neutral", "sadness"]
PAPER = EmofslConfig.from_preset("paper")


def lines(axes):
    """{first-second: the line that joins them}, and the points."""
    found = {one.get_gid(): one for one in axes.lines if one.get_gid()}
    return found, found.pop("emotions")


def test_lines_of_the_circumplex_join_the_pairs_of_their_level():
    figure = emotions_figure(PAPER, FOUR)
    (axes,) = figure.axes
    pairs, points = lines(axes)
    np.testing.assert_allclose(points.get_xydata(), [COORDINATES[emotion] for emotion in FOUR])
    assert len(pairs) == 6
    far = {"anger-sadness", "happiness-sadness"}
    for name, one in pairs.items():
        np.testing.assert_allclose(one.get_xydata(), [COORDINATES[end] for end in name.split("-")])
        look = LEVELS["PN" if name in far else "MN"]
        assert (one.get_color(), one.get_linewidth()) == (look["color"], look["lw"])
    told = [text.get_text() for text in axes.get_legend().get_texts()]
    assert told == [
        "PN: far, at least 1.00 apart (2 pairs)",
        "MN: nearer, at least 0.60 apart (4 pairs)",
    ]
    assert "Valence" in axes.get_xlabel() and "Arousal" in axes.get_ylabel()
    assert "count valence 0.25, arousal 1, not from the length of a line" in words(figure)
    assert_nothing_is_cut_off(figure)


def test_graded_margins_stand_on_the_lines():
    config = EmofslConfig(margins="graded", alpha=1.0, beta=0.6)
    figure = emotions_figure(config, FOUR)
    (axes,) = figure.axes
    margins = levels_and_margins(config, FOUR)[1]
    for pair in itertools.combinations(FOUR, 2):
        start, end = (np.array(COORDINATES[emotion]) for emotion in pair)
        there = []
        for text in axes.texts:
            at = np.array(text.get_position())
            detour = np.hypot(*(at - start)) + np.hypot(*(at - end)) - np.hypot(*(end - start))
            there += [text.get_text()] * (detour < 1e-9)
        assert f"{margins.loc[pair]:.2f}" in there
    assert_names_are_apart(figure)
    near = [margins.loc[pair] for pair in (("neutral", "sadness"), ("anger", "neutral"))]
    told = axes.get_legend().get_texts()[1].get_text()
    assert told == f"MN: nearer, at least {near[0]:.2f} to {near[1]:.2f} apart (4 pairs)"


def assert_names_are_apart(figure):
    figure.canvas.draw()
    boxes = [matplotlib.text.Text.get_window_extent(text) for text in figure.axes[0].texts]
    for one, other in itertools.combinations(boxes, 2):
        assert not one.shrunk(0.98, 0.9).overlaps(other.shrunk(0.98, 0.9))
    assert_nothing_is_cut_off(figure)


def test_names_of_near_emotions_do_not_touch_each_other_and_margins_stand_below():
    near = ["anger", "disgust", "fear", "happiness", "sadness"]
    for emotions in (list(COORDINATES), near):
        figure = emotions_figure(PAPER, emotions)
        assert_names_are_apart(figure)
        texts = figure.axes[0].texts
        assert {text.get_text() for text in texts} == set(emotions), "of many pairs no margins"
        assert "anger and fear MN, 0.60" in figure.caption
    assert "Level and margin" not in emotions_figure(PAPER, FOUR).caption


def test_two_emotions_have_one_pair_and_an_unknown_one_is_refused():
    (axes,) = emotions_figure(PAPER, ["anger", "fear"]).axes
    assert "(1 pair)" in axes.get_legend().get_texts()[0].get_text()
    with pytest.raises(SettingError, match="awe has no coordinates"):
        emotions_figure(PAPER, [*FOUR, "awe"])


def test_the_circumplex_is_saved_exactly_and_leaves_no_trace_in_pyplot(tmp_path):
    assert_saved_exactly(lambda: emotions_figure(PAPER, FOUR), tmp_path)
