"""The timeline shows the numbers of its table."""

import numpy as np
import pandas as pd
import pytest

from colab_utils.display import style
from colab_utils.display.sound.timeline import clock, timeline_figure

SURE, UNSURE = [0.8, 0.1, 0.1], [0.4, 0.35, 0.25]
NONE = [np.nan] * 3
# emotion, uncertain, probabilities
WINDOWS = [
    ("anger", False, SURE),
    ("anger", False, SURE),
    ("anger", True, UNSURE),
    ("", True, NONE),
    ("joy", False, SURE[1::-1] + [0.1]),
    ("anger", False, SURE),
]


@pytest.fixture
def table():
    emotion, uncertain, values = zip(*WINDOWS, strict=True)
    begins = 30.0 * np.arange(len(WINDOWS))
    ends = [*begins[1:], 195.0]
    known = {"file": "a $x$.wav", "start": begins, "end": ends}
    known |= {"emotion": emotion, "uncertain": uncertain}
    return pd.DataFrame(known).join(pd.DataFrame(values, columns=["p_anger", "p_joy", "p_sad"]))


def lines(figure):
    """{(width, row): [(from, to), ...]} of the lines through the likeliest emotion."""
    found = {}
    for collection in figure.axes[0].collections[1:]:
        (width,) = collection.get_linewidths()
        for (begin, row), (end, _) in collection.get_segments():
            found.setdefault((width, row), []).append((begin, end))
    return found


def test_shades_lines_and_shares_are_those_of_the_table(table):
    figure = timeline_figure(table, 0.5, ["Synthetic corpus: not a result on speech."])
    axes = figure.axes[0]
    mesh = axes.collections[0]
    drawn = mesh.get_array()
    expected = table[["p_anger", "p_joy", "p_sad"]].to_numpy().T
    assert np.array_equal(drawn.mask, np.isnan(expected))
    assert np.array_equal(drawn.filled(-1), np.where(np.isnan(expected), -1, expected))
    assert mesh.get_clim() == (0, 1)
    edges = mesh.get_coordinates()[0, :, 0]
    assert edges.tolist() == [0, 30, 60, 90, 120, 150, 195]
    assert lines(figure) == {
        (2.2, 0): [(0, 60), (150, 195)],
        (2.2, 1): [(120, 150)],
        (0.8, 0): [(60, 90)],
    }
    # 135 s of 165 with a signal
    shares = [text.get_text() for text in axes.texts]
    assert shares == ["82 %", "18 %", "0 %"]
    assert "anger 82 %, joy 18 %, sad 0 %" in figure.alt and "3:15 min" in figure.alt
    assert "1 of 5 windows" in figure.caption and "Grey: no signal." in figure.caption
    assert figure.name == "timeline, a $x$.wav" and "Synthetic" in figure.caption
    assert [label.get_text() for label in axes.get_yticklabels()] == ["anger", "joy", "sad"]


@pytest.mark.parametrize("number", [1, 5000])
def test_any_number_of_windows_is_drawn_and_saved(table, tmp_path, number):
    long = pd.concat([table.iloc[:1]] * number, ignore_index=True)
    long["start"] = np.arange(number) * 3.0
    long["end"] = long["start"] + 3
    paths = style.save_figure(timeline_figure(long, 0.5), tmp_path / "a")
    assert all(path.stat().st_size < 400_000 for path in paths)
    with pytest.raises(ValueError, match="nothing to draw"):
        timeline_figure(table.iloc[:0], 0.5)


def test_time_as_a_clock_shows_it():
    assert [clock(one) for one in (0, 59.6, 61, 3599, 3661.2)] == [
        "0:00",
        "1:00",
        "1:01",
        "59:59",
        "1:01:01",
    ]
