"""Curves and intervals of a study: training as it goes on, and all methods side by side."""

import time
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from colab_utils.display import captions, style

# Blue, vermilion, green, purple, ochre (after Okabe and Ito 2008, "Color universal design"),
# darkened until words in them read on white (contrast 4.5). Each has a marker and a dash of its own
# besides, for colour-blind readers and grey print.
COLOURS = ("#0b4f8a", "#b84a00", "#00735a", "#8d2f6b", "#7a5c00", style.INK)
MARKERS = "osD^vP"
DASHES = ((), (4, 1.2), (1.2, 1.2), (6, 1.2, 1.2, 1.2), (2.5, 1.2), (8, 2))
# Of lines that stand back; dots are kept for chance.
LEVEL_DASHES = ((6, 2), (9, 1.5, 2, 1.5), (3, 1.5), (6, 1.5, 2, 1.5, 2, 1.5), (12, 2), (2, 3))


def finish(
    figure: style.SuiteFigure, axes: Axes, title: str, below: Sequence[str], marks: Sequence[str]
) -> None:
    """Title above, caption below, no frame on top and on the right."""
    axes.spines[["top", "right"]].set_visible(False)
    style.above(figure, title)
    style.caption_below(figure, below, marks)


def name_ends(axes: Axes, ends: Sequence[tuple[float, float, str, str]]) -> None:
    """Name lines at their right ends, with the last value, moved apart where names would touch.

    Args:
        axes: finished but for the names.
        ends: (x, y, name, colour) of each line.
    """
    names = []
    for x, y, name, colour in ends:
        leader = {"arrowstyle": "-", "lw": 0.4, "color": colour, "shrinkA": 1, "shrinkB": 2}
        label = axes.annotate(
            f"{name} {y:.1f}",
            (x, y),
            (1.05, y),
            textcoords=axes.get_yaxis_transform(),
            color=colour,
            fontsize=style.LABEL,
            va="center",
            annotation_clip=False,
            arrowprops={**leader, "relpos": (0, 0.5)},
        )
        names.append(label)
    # Only now is known how high the axes are.
    axes.figure.draw_without_rendering()
    low, high = axes.get_ylim()
    points = 72 * axes.get_window_extent().height / axes.figure.dpi
    gap = (high - low) * 1.25 * style.LABEL / points
    for name, place in zip(names, spread([end[1] for end in ends], gap, low, high), strict=True):
        name.set_position((1.05, place))


def spread(places: Sequence[float], gap: float, low: float, high: float) -> np.ndarray:
    """Move places apart as little as possible (least squares), in the same order.

    Args:
        places: in any order.
        gap: the least distance of two.
        low: lower end of the range they stay in, if they fit.
        high: upper end.

    Returns:
        float64, a place for each.
    """
    from sklearn.isotonic import isotonic_regression

    order = np.argsort(places, kind="stable")
    ladder = gap * np.arange(len(order))
    fitted = isotonic_regression(np.asarray(places, dtype=float)[order] - ladder)
    found = np.empty(len(order))
    found[order] = np.clip(fitted, low, max(low, high - ladder[-1])) + ladder
    return found


def learning_curve_figure(
    records: Sequence[Mapping[str, float]], chance: float | None = None, title: str = ""
) -> style.SuiteFigure:
    """Training loss (left) and validation score (right) over the steps of training.

    Thin: each step; thick: running mean. The chosen checkpoint is marked.

    Args:
        records: `learning.training.History.records`, a dict a step with `step`, one value or more
            whose name ends in "loss" (the first is drawn) and `validation` where it was measured (a
            fraction, higher is better: the first highest is chosen). A value whose name ends in
            "accuracy" is drawn beside it.
        chance: the rate of guessing, a fraction.
        title: above the loss.

    Returns:
        The figure.

    Raises:
        ValueError: no records, or none with a loss.
    """
    table = pd.DataFrame(list(records))
    names = list(records[0]) if len(records) else []
    losses = [name for name in names if name.endswith("loss")]
    accuracies = [name for name in names if name.endswith("accuracy")]
    if not losses:
        told = f"no loss among {', '.join(names)}" if names else "no records"
        raise ValueError(f"{told}: nothing to draw; train first")
    with style.suite_style():
        figure = style.new_figure(style.WIDE_COLUMN, 2.1)
        left, right = figure.subplots(1, 2, sharex=True)
        running_line(left, table["step"], table[losses[0]], style.ACCENT)
        left.set(xlabel="Training step", ylabel=f"Training {losses[0].replace('_', ' ')}")
        lines = captions.wrap(title, 0.45 * style.WIDE_COLUMN, 7.5)
        left.set_title("\n".join(lines), loc="left", fontsize=7.5)
        left.spines[["top", "right"]].set_visible(False)
        right.set(xlabel="Training step", ylabel="Validation score (%)")
        if accuracies:
            right.set_ylabel("Accuracy (%)")
            accuracy = 100 * table[accuracies[0]]
            running_line(right, table["step"], accuracy, COLOURS[1], "training tasks")
        if "validation" in table and table["validation"].notna().any():
            _validation(left, right, table.dropna(subset="validation"))
        if chance is not None:
            label = f"chance {100 * chance:.1f} %"
            right.axhline(100 * chance, color=style.QUIET, lw=0.8, ls=":", label=label)
        if right.get_legend_handles_labels()[0]:
            above = {"loc": "lower center", "bbox_to_anchor": (0.5, 1), "ncols": 2}
            right.legend(**above, handlelength=1.6, columnspacing=1)
        finish(figure, right, "", [], [])
    return figure


def _validation(left: Axes, right: Axes, measured: pd.DataFrame) -> None:
    """The validation scores, and a ring around the first highest, whose step is marked in both."""
    scores = 100 * measured["validation"]
    look = {"color": COLOURS[0], "ms": 2.6, "lw": 1.2}
    right.plot(measured["step"], scores, "o-", label="validation", **look)
    best = scores.idxmax()
    step = measured.loc[best, "step"]
    for axes in (left, right):
        axes.axvline(step, color=style.QUIET, lw=0.7, ls=":")
    right.plot(
        step,
        scores[best],
        "o",
        ms=7,
        mfc="none",
        mec=style.INK,
        ls="none",
        label=f"kept: step {step:.0f}, {scores[best]:.1f} %",
    )


def running_line(
    axes: Axes, step: pd.Series, values: pd.Series, colour: str, label: str = ""
) -> None:
    """Each value thin, and the mean of the last 1/20 of the steps thick."""
    marker = "o"
    if len(step) > 1:
        axes.plot(step, values, color=colour, lw=0.4, alpha=0.35)
        marker = ""
    mean = values.rolling(max(1, len(step) // 20), min_periods=1).mean()
    axes.plot(step, mean, color=colour, lw=1.2, label=label or None, marker=marker, ms=3)


class LiveCurve:
    """A learning curve that grows while a cell trains.

    Called with all records so far, it redraws one picture in place, at most every SECONDS and for a
    tenth of the time at most. Outside a notebook it does nothing. Not for a panel's output area,
    which shows the first state only.

    Args:
        chance: the rate of guessing, a fraction; None: not drawn.
        title: above the loss.

    Example:
        >>> live = live_curve(chance=0.2)
        >>> train(..., on_record=live)
        >>> live.finish(history.records)
    """

    SECONDS = 2.0  # the least time between two pictures

    def __init__(self, chance: float | None = None, title: str = ""):
        self.chance = chance
        self.title = title
        self._handle = None
        self._next = 0.0

    def __call__(self, records: Sequence[Mapping[str, float]]) -> None:
        """Draw `records`, unless the last picture is too fresh."""
        if time.monotonic() >= self._next:
            self.finish(records)

    def finish(self, records: Sequence[Mapping[str, float]]) -> None:
        """Draw `records` now, whatever the time.

        Args:
            records: as of `learning_curve_figure`.
        """
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
        end = time.monotonic()
        self._next = end + max(self.SECONDS, 9 * (end - begin))


live_curve = LiveCurve  # as notebooks call it: a fresh one for each training


def methods_figure(
    table: pd.DataFrame,
    chance: float,
    title: str = "",
    highlight: Sequence[str] = (),
    unit: str = "speakers",
    marks: Sequence[str] = (),
) -> style.SuiteFigure:
    """UAR of every method as a point with its interval, one row a method, numbers on the right.

    Args:
        table: columns method, uar, low, high (fractions; NaN where there is no interval), such as
            `results.tables.methods_table`, in the order to draw; `counts`, where it is there, is
            told in the place of an interval (`captions.counts`).
        chance: the rate of guessing, a fraction.
        title: above the figure.
        highlight: methods drawn in the accent colour.
        unit: what the intervals are over.
        marks: stamps of the runs (`captions.stamps`).

    Returns:
        The figure.

    Raises:
        ValueError: an empty table, a highlighted method that is not in it.
    """
    if table.empty:
        raise ValueError("no methods: there is nothing to draw; run one method at least")
    if unknown := [name for name in highlight if name not in set(table["method"])]:
        raise ValueError(
            f"no method {', '.join(map(repr, unknown))} to highlight: the table has"
            f" {', '.join(table['method'])}"
        )
    rows = np.arange(len(table))[::-1]
    with style.suite_style():
        figure = style.new_figure(style.WIDE_COLUMN, 0.2 * len(table) + 0.6)
        axes = figure.subplots()
        style.guess(axes, chance)
        for row, one in zip(rows, table.itertuples(), strict=True):
            _method(axes, row, one, one.method in highlight)
        axes.set_yticks(rows, table["method"])
        axes.set(ylim=(-0.6, len(table) - 0.4), xlabel="UAR (%)")
        axes.grid(axis="x", color="#e3e3e3", lw=0.5)
        axes.set_axisbelow(True)
        below = [f"Point: unweighted average recall; bar: 95 % interval over {unit}."]
        finish(figure, axes, title, below, marks)
    return figure


def _method(axes: Axes, row: int, one: tuple, chosen: bool) -> None:
    """A row of `methods_figure`: point, bar and numbers."""
    look = {"color": style.INK, "lw": 0.9, "marker": "o"}
    if chosen:
        look = {"color": style.ACCENT, "lw": 1.6, "marker": "D"}
    style.points(axes, row, one.uar, one.low, one.high, **look)
    span = f"{100 * one.low:.1f} to {100 * one.high:.1f}"
    if np.isnan(one.low):
        span = getattr(one, "counts", "no interval")
    axes.text(
        1.02,
        row,
        f"{100 * one.uar:.1f} ({span})",
        transform=axes.get_yaxis_transform(),
        va="center",
        fontsize=style.LABEL,
        color=look["color"],
    )
