"""What result pages have in common: tables in Markdown, and the figure at the head of a page.

    python tools/page.py docs/results/<page>-glance.csv [...]

Redraws the figure of each table beside it: rates with intervals by method, a panel for each
value of `panel`. The tools that make result pages write these tables from stored predictions.
"""

from __future__ import annotations

import pathlib
import sys

import numpy as np
import pandas as pd

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from colab_utils.csv_files import read_csv, write_csv  # noqa: E402
from colab_utils.display import captions, style  # noqa: E402

COLUMNS = ("title", "panel", "method", "uar", "low", "high", "chance", "colour", "note")
_COLOURS = {
    "recommended": style.COLOURS[1],
    "published": style.COLOURS[0],
    "simple": style.QUIET,
}


def glance_figure(table: pd.DataFrame) -> style.SuiteFigure:
    """Rates by method, a panel for each value of `panel`, in the order of the table.

    Args:
        table: COLUMNS; fractions, low and high empty where there is no interval; colour is one of
            "recommended", "published", "simple"; title and note are those of the first row.
    """
    panels = list(dict.fromkeys(table["panel"]))
    methods = list(dict.fromkeys(table["method"]))
    first = table.iloc[0]
    with style.suite_style():
        height = 0.75 + 0.17 * len(methods)
        figure = style.new_figure(style.TWO_COLUMNS, height)
        rows = figure.subplots(1, len(panels), sharey=True, sharex=True, squeeze=False)[0]
        for axes, panel in zip(rows, panels, strict=True):
            part = table[table["panel"] == panel]
            for row in part.itertuples():
                place = [-methods.index(row.method)]
                colour = _COLOURS[row.colour]
                limits = [np.array([value], dtype=float) for value in (row.uar, row.low, row.high)]
                style.points(axes, place, *limits, color=colour, marker="o", ms=3.6)
                axes.annotate(
                    f"{100 * row.uar:.1f}",
                    (100 * row.uar, place[0]),
                    xytext=(0, 3),
                    textcoords="offset points",
                    ha="center",
                    fontsize=style.SMALLEST,
                    color=colour,
                )
            style.guess(axes, part["chance"].iloc[0])
            axes.set_xlabel("UAR (%)")
            axes.set_title(captions.corpus(str(panel)), fontsize=7, pad=9)
            axes.grid(axis="x", color="#e3e3e3", lw=0.5)
            axes.tick_params(left=False)
            axes.set_ylim(-len(methods) + 0.3, 0.8)
        rows[0].set_yticks(-np.arange(len(methods)), methods)
        style.tell(figure, "UAR", first["title"], sentences=[first["note"]])
    return figure


def write_glance(table: pd.DataFrame, path: pathlib.Path) -> None:
    """Write the table as `path`.csv and its figure as `path`.png."""
    write_csv(path.with_suffix(".csv"), table[list(COLUMNS)])
    draw(path.with_suffix(".csv"))


def draw(path: pathlib.Path) -> None:
    """Draw the figure of a table beside it, as PNG (200 dpi)."""
    table = read_csv(path)
    numbers = ["uar", "low", "high", "chance"]
    table[numbers] = table[numbers].apply(pd.to_numeric)  # without an interval: ""
    with style.suite_style():
        glance_figure(table).savefig(path.with_suffix(".png"), dpi=200)


def markdown(table: pd.DataFrame) -> str:
    """A table of texts and numbers as Markdown, its columns as head; the index is left out."""
    lines = [list(table.columns), ["---"] * len(table.columns), *table.to_numpy().tolist()]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        draw(pathlib.Path(name))
