"""Curves and intervals of a few-shot study: accuracy by inner step, training as it goes on, and all
methods side by side.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from colab_utils.display import captions, style

# Blue, vermilion, green, purple, ochre (after Okabe and Ito 2008), darkened until words in them
# read on white (contrast 4.5); each has a
# marker and a dash of its own besides, for colour-blind readers and grey print.
COLOURS = ("#0b4f8a", "#b84a00", "#00735a", "#8d2f6b", "#7a5c00", style.INK)
MARKERS, DASHES = "osD^vP", ((), (4, 1.2), (1.2, 1.2), (6, 1.2, 1.2, 1.2), (2.5, 1.2), (8, 2))
# dots are kept for chance
LEVEL_DASHES = ((6, 2), (9, 1.5, 2, 1.5), (3, 1.5), (6, 1.5, 2, 1.5, 2, 1.5), (12, 2), (2, 3))
_LABEL = 6.3  # points, of the words at the end of a line


def finish(
    figure: style.SuiteFigure, axes: Axes, title: str, below: Sequence[str], marks: Sequence[str]
) -> None:
    """Title above, caption below, no frame on top and on the right."""
    axes.spines[["top", "right"]].set_visible(False)
    if title:
        figure.suptitle("\n".join(captions.wrap(title, figure.get_figwidth(), 8)), fontsize=8)
    style.caption_below(figure, below, marks)


def name_ends(axes: Axes, ends: Sequence[tuple[float, float, str, str]]) -> None:
    """Write (x, y, name, colour) beside the right end of each line with its value, moved apart
    where names would touch.
    """
    names = [
        axes.annotate(
            f"{name} {y:.1f}",
            (x, y),
            (1.05, y),
            textcoords=axes.get_yaxis_transform(),
            color=colour,
            fontsize=_LABEL,
            va="center",
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "lw": 0.4,
                "color": colour,
                "shrinkA": 1,
                "shrinkB": 2,
                "relpos": (0, 0.5),
            },
        )
        for x, y, name, colour in ends
    ]
    # only now is known how high the axes are
    axes.figure.draw_without_rendering()
    low, high = axes.get_ylim()
    gap = (high - low) * 1.25 * _LABEL / (72 * axes.get_window_extent().height / axes.figure.dpi)
    for name, place in zip(names, spread([end[1] for end in ends], gap, low, high), strict=True):
        name.set_position((1.05, place))


def spread(places: Sequence[float], gap: float, low: float, high: float) -> np.ndarray:
    """`places` moved as little as possible (least squares) until each is `gap` from the next, in
    the same order; within low to high if they fit.
    """
    from sklearn.isotonic import isotonic_regression

    order = np.argsort(places, kind="stable")
    ladder = gap * np.arange(len(order))
    fitted = isotonic_regression(np.asarray(places, dtype=float)[order] - ladder)
    moved = np.clip(fitted, low, max(low, high - ladder[-1])) + ladder
    found = np.empty(len(order))
    found[order] = moved
    return found


def learning_curve_figure(
    records: Sequence[Mapping[str, float]],
    chance: float | None = None,
    title: str = "",
    marks: Sequence[str] = (),
) -> style.SuiteFigure:
    """Training loss (left) and validation score (right, per cent) over the steps of training, with
    the chosen checkpoint marked.

    records: `methods.training.History.records`, a dict a step with `step`, one value or more whose
    name ends in "loss" (the first is drawn) and `validation` where it was measured (a fraction,
    higher is better: the first highest is chosen). A value whose name ends in "accuracy" is drawn
    beside it. Thin: each step; thick: running mean. Raises ValueError without records or loss.
    """
    names = list(dict.fromkeys(name for record in records[:1] for name in record))
    loss, accuracy = (
        next((name for name in names if name.endswith(end)), None) for end in ("loss", "accuracy")
    )
    if not loss:
        raise ValueError(
            f"{'no records' if not len(records) else 'no loss among ' + ', '.join(names)}: nothing"
            " to draw; train first"
        )
    table = pd.DataFrame(list(records))
    measured = table.dropna(subset="validation") if "validation" in table else table.head(0)
    with style.suite_style():
        figure = style.new_figure(style.WIDE_COLUMN, 2.1)
        left, right = figure.subplots(1, 2)
        running_line(left, table["step"], table[loss], style.ACCENT)
        left.set(xlabel="Training step", ylabel=f"Training {loss.replace('_', ' ')}")
        if accuracy:
            running_line(right, table["step"], 100 * table[accuracy], COLOURS[1], "training tasks")
        right.set(
            xlabel="Training step",
            ylabel="Accuracy (%)" if accuracy else "Validation score (%)",
            xlim=left.get_xlim(),
        )
        if len(measured):
            _validation(right, measured)
            left.axvline(
                measured["step"].iloc[int(measured["validation"].argmax())],
                color=style.QUIET,
                lw=0.7,
                ls=":",
            )
        if chance is not None:
            right.axhline(
                100 * chance,
                color=style.QUIET,
                lw=0.8,
                ls=":",
                label=f"chance {100 * chance:.1f} %",
            )
        if len(measured) or accuracy or chance is not None:
            right.legend(
                loc="lower center",
                bbox_to_anchor=(0.5, 1),
                ncols=2,
                frameon=False,
                handlelength=1.6,
                columnspacing=1,
            )
        left.set_title(
            "\n".join(captions.wrap(title, 0.45 * style.WIDE_COLUMN, 7.5)), loc="left", fontsize=7.5
        )
        left.spines[["top", "right"]].set_visible(False)
        finish(figure, right, "", [], marks)
    return figure


def running_line(
    axes: Axes, step: pd.Series, values: pd.Series, colour: str, label: str = ""
) -> None:
    """Each value thin, and the mean of the last 1/20 of the steps thick."""
    if len(step) > 1:
        axes.plot(step, values, color=colour, lw=0.4, alpha=0.35)
    axes.plot(
        step,
        values.rolling(max(1, len(step) // 20), min_periods=1).mean(),
        color=colour,
        lw=1.2,
        label=label or None,
        marker="" if len(step) > 1 else "o",
        ms=3,
    )


def _validation(axes: Axes, measured: pd.DataFrame) -> None:
    """The validation scores, and a ring around the first highest."""
    axes.plot(
        measured["step"],
        100 * measured["validation"],
        "o-",
        color=COLOURS[0],
        ms=2.6,
        lw=1.2,
        label="validation",
    )
    best = measured.iloc[int(measured["validation"].argmax())]
    axes.axvline(best["step"], color=style.QUIET, lw=0.7, ls=":")
    axes.plot(
        best["step"],
        100 * best["validation"],
        "o",
        ms=7,
        mfc="none",
        mec=style.INK,
        mew=1,
        label=f"kept: step {best['step']:.0f}, {100 * best['validation']:.1f} %",
        ls="none",
    )


class LiveCurve:
    """A learning curve that grows while a cell trains: `train(..., on_record=live_curve())`.

    Called with all records so far; redraws one picture in place, at most every `seconds` and for a
    tenth of the time at most. Outside a notebook it does nothing. `finish(records)` draws the last
    state whatever the time. Not for a panel's output area, which shows the first state only.
    """

    def __init__(self, chance: float | None = None, title: str = "", seconds: float = 2.0):
        self.chance, self.title, self.seconds = chance, title, seconds
        self._handle, self._next = None, 0.0

    def __call__(self, records: Sequence[Mapping[str, float]]) -> None:
        if time.monotonic() >= self._next:
            self.finish(records)

    def finish(self, records: Sequence[Mapping[str, float]]) -> None:
        """Draw `records` now."""
        from IPython import get_ipython
        from IPython.display import display

        if get_ipython() is None or not len(records):
            return
        begin = time.monotonic()
        figure = learning_curve_figure(records, self.chance, self.title)
        if self._handle is None:
            self._handle = display(figure, display_id=True)
        else:
            self._handle.update(figure)
        self._next = time.monotonic() + max(self.seconds, 9 * (time.monotonic() - begin))


def live_curve(chance: float | None = None, title: str = "", seconds: float = 2.0) -> LiveCurve:
    """A fresh LiveCurve: chance a fraction or None, seconds the least time between two pictures."""
    return LiveCurve(chance, title, seconds)


def methods_figure(
    table: pd.DataFrame,
    chance: float,
    title: str = "",
    highlight: Sequence[str] = (),
    sort: bool = False,
    unit: str = "speakers",
    marks: Sequence[str] = (),
) -> style.SuiteFigure:
    """UAR of every method as a point with its interval, one row a method, the numbers on the right;
    chance as a dotted line.

    table: columns method, uar, low, high (fractions; NaN where there is no interval), such as
    `results.tables.methods_table`; in the given order, or with `sort` the best first. highlight:
    methods drawn in the accent colour; unit: what the intervals resample; marks: stamps of the
    runs. Raises ValueError for an empty table and a highlighted method that is not in it.
    """
    if table.empty:
        raise ValueError("no methods: there is nothing to draw; run one method at least")
    if unknown := [name for name in highlight if name not in set(table["method"])]:
        raise ValueError(
            f"no method {', '.join(map(repr, unknown))} to highlight: the table has"
            f" {', '.join(table['method'])}"
        )
    table = table.sort_values("uar", ascending=False, kind="stable") if sort else table
    with style.suite_style():
        figure = style.new_figure(style.WIDE_COLUMN, 0.2 * len(table) + 0.6)
        axes = figure.subplots()
        axes.axvline(100 * chance, color=style.QUIET, lw=0.9, ls=":")
        axes.annotate(
            f"chance {100 * chance:.1f}",
            (100 * chance, 1),
            (2, 1),
            xycoords=axes.get_xaxis_transform(),
            textcoords="offset points",
            fontsize=_LABEL,
            color=style.QUIET,
        )
        for row, one in zip(np.arange(len(table))[::-1], table.itertuples(), strict=True):
            chosen = one.method in highlight
            colour = style.ACCENT if chosen else style.INK
            axes.plot(100 * one.uar, row, "D" if chosen else "o", ms=4, color=colour)
            span = "no interval"
            if not np.isnan(one.low):
                axes.hlines(
                    row, 100 * one.low, 100 * one.high, color=colour, lw=1.6 if chosen else 0.9
                )
                span = f"{100 * one.low:.1f} to {100 * one.high:.1f}"
            axes.text(
                1.02,
                row,
                f"{100 * one.uar:.1f} ({span})",
                transform=axes.get_yaxis_transform(),
                va="center",
                fontsize=_LABEL,
                color=colour,
            )
        axes.set_yticks(np.arange(len(table))[::-1], table["method"])
        axes.set(ylim=(-0.6, len(table) - 0.4), xlabel="UAR (%)")
        axes.grid(axis="x", color="#e3e3e3", lw=0.5)
        axes.set_axisbelow(True)
        finish(
            figure,
            axes,
            title,
            [f"Point: unweighted average recall; bar: 95 % interval over {unit}."],
            marks,
        )
    return figure
