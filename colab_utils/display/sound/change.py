"""What a few labelled clips change: the probability of the right emotion before and after."""

import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from colab_utils.display import style
from colab_utils.results.predictions import probability_columns

_ROW = 0.17  # inches
_LONGEST = 24  # characters of a name


def change_figure(
    before: pd.DataFrame,
    after: pd.DataFrame,
    title: str,
    sentences: Sequence[str] = (),
    stamps: Sequence[str] = (),
) -> style.SuiteFigure:
    """Of each clip the probability of its true emotion before (open) and after (filled).

    A circle is a clip whose true emotion was the most probable, a cross one where another was.

    Args:
        before: predictions with probabilities.
        after: of the same clips in the same order.
        title: above.
        sentences: the caption.
        stamps: of the corpus.

    Returns:
        The figure, 3.5 inches wide.
    """
    at = np.arange(len(before))[::-1]
    chance = 1 / len(probability_columns(before))
    with style.suite_style():
        figure = style.new_figure(style.ONE_COLUMN, 0.75 + _ROW * len(before))
        axes = figure.subplots()
        starts, ends = 100 * _of_truth(before), 100 * _of_truth(after)
        axes.hlines(at, starts, ends, color=style.QUIET, lw=0.7, zorder=1)
        for table, rates, colour in ((before, starts, style.QUIET), (after, ends, style.ACCENT)):
            right = (table["pred"] == table["true"]).to_numpy()
            filled = colour if table is after else "white"
            look = {"edgecolor": colour, "facecolor": filled, "s": 16, "zorder": 2}
            axes.scatter(rates[right], at[right], marker="o", **look)
            axes.scatter(rates[~right], at[~right], marker="x", color=colour, s=14, zorder=2)
        style.guess(axes, chance)
        names = [_name(row) for row in before.itertuples()]
        axes.set_yticks(at, names)
        axes.set(xlim=(-2, 102), ylim=(-0.7, len(at) - 0.3))
        axes.set_xlabel("Probability of the emotion meant (%)")
        told = [
            "Grey: before; blue: adapted to the other clips, never to this one. Circle: the right "
            "answer, cross: a wrong one."
        ]
        numbers = ", ".join(
            f"{name} {start:.0f} to {end:.0f} %"
            for name, start, end in zip(names, starts, ends, strict=True)
        )
        style.tell(figure, "before and after", title, (), [*told, *sentences], stamps, numbers)
    return figure


def _name(row: Any) -> str:
    """The file without folder and ending, and the emotion where it does not say it."""
    stem = pathlib.PurePath(row.utt_id).stem[-_LONGEST:]
    return stem if row.true in stem else f"{stem} ({row.true})"


def _of_truth(table: pd.DataFrame) -> np.ndarray:
    """The probability of the true emotion of each row."""
    columns = {name.removeprefix("p_"): name for name in probability_columns(table)}
    found = [row[columns[row["true"]]] for _, row in table.iterrows()]
    return np.array(found, np.float64)
