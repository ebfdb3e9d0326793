"""Curves and intervals of a study: training as it goes on, and all methods side by side."""

import time
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from colab_utils.display import captions, style
from colab_utils.display.style import COLOURS


def name_ends(axes: Axes, ends: Sequence[tuple[float, float, str, str]]) -> None:
    """Name lines at their right ends, with the last value, moved apart where names would touch.

    A leader goes level to the edge of the axes and from there to the name: so no two cross.

    Args:
        axes: finished but for the names and the caption.
        ends: (x, y, name, colour) of each line.
    """
    names = []
    edge = axes.get_xlim()[1]
    for x, y, name, colour in ends:
        leader = {"arrowstyle": "-", "lw": 0.4, "color": colour, "shrinkA": 1, "shrinkB": 0}
        axes.hlines(y, x, edge, color=colour, lw=0.4, clip_on=False)
        label = axes.annotate(
            f"{name} {y:.1f}",
            (edge, y),
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
    records: Sequence[Mapping[str, float]],
    chance: float | None = None,
    title: str = "",
    rows: pd.DataFrame | None = None,
) -> style.SuiteFigure:
    """Training loss (left) and validation score (right) over the steps of training.

    Thin: each step; thick: running mean. The chosen checkpoint is marked. A loss that falls to less
    than a hundredth stands on a logarithmic scale.

    Args:
        records: `learning.training.History.records`, a dict a step with `step`, one value or more
            whose name ends in "loss" (the first is drawn) and `validation` where it was measured
            (UAR, or an accuracy; a fraction: the first highest is chosen). A value whose name ends
            in "accuracy" is drawn beside it.
        chance: the rate of guessing, a fraction.
        title: above.
        rows: of the utterances, with a `corpus`, for the stamp of synthetic ones.

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
        loss = table[losses[0]]
        running_line(left, table["step"], loss, style.ACCENT)
        if 0 < loss.min() < loss.max() / 100:
            left.set_yscale("log")
            left.yaxis.set_major_formatter("{x:g}")
        left.set(xlabel="Training step", ylabel=f"Training {losses[0].replace('_', ' ')}")
        right.set(xlabel="Training step", ylabel="Validation UAR (%)")
        if accuracies:
            right.set_ylabel("Accuracy (%)")
            accuracy = 100 * table[accuracies[0]]
            running_line(right, table["step"], accuracy, COLOURS[1], "training tasks")
        told = f"{len(table)} steps; loss {loss.iloc[-1]:.3g} at the end."
        below = [thin_and_thick(len(table))]
        if "validation" in table and table["validation"].notna().any():
            told += _validation(left, right, table.dropna(subset="validation"))
            below[0] += " Dotted line upwards: the step that is kept."
        if chance is not None and right.lines:
            below += style.guess_level(right, chance)
        if right.get_legend_handles_labels()[0]:
            above = {"loc": "lower center", "bbox_to_anchor": (0.5, 1), "ncols": 2}
            right.legend(**above, handlelength=1.6, columnspacing=1)
        stamps = [] if rows is None else captions.stamps_of_rows(rows)
        style.tell(figure, "learning curve", captions.run(title), (), below, stamps, told)
    return figure


def _validation(left: Axes, right: Axes, measured: pd.DataFrame) -> str:
    """The validation scores, and a ring around the first highest, whose step is marked in both.

    Returns it in words.
    """
    scores = 100 * measured["validation"]
    look = {"color": COLOURS[0], "ms": 2.6, "lw": 1.2}
    right.plot(measured["step"], scores, "o-", label="validation", **look)
    best = scores.idxmax()
    step = measured.loc[best, "step"]
    for axes in (left, right):
        axes.axvline(step, color=style.QUIET, lw=0.7, ls=":")
    kept = f"kept: step {step:.0f}, {scores[best]:.1f} %"
    ring = {"ms": 7, "mfc": "none", "mec": style.INK, "ls": "none"}
    right.plot(step, scores[best], "o", label=kept, **ring)
    return f" Validation: {scores.iloc[0]:.1f} % first, {kept}."


def running_line(
    axes: Axes, step: pd.Series, values: pd.Series, colour: str, label: str = ""
) -> None:
    """Each value thin, and the mean of the last 1/20 of the steps thick."""
    window = max(1, len(step) // 20)
    if window > 1:
        axes.plot(step, values, color=colour, lw=0.4, alpha=0.35)
    mean = values.rolling(window, min_periods=1).mean()
    marker = "" if len(step) > 1 else "o"
    axes.plot(step, mean, color=colour, lw=1.2, label=label or None, marker=marker, ms=3)


def thin_and_thick(number: int) -> str:
    """What `running_line` of so many steps shows, for the caption."""
    return "Thin: each step; thick: running mean." if number // 20 > 1 else "Each step."


class LiveCurve:
    """A learning curve that grows while a cell trains.

    Called with all records so far, it redraws one picture in place, at most every SECONDS and for a
    tenth of the time at most. Outside a notebook it does nothing. Not for a panel's output area,
    which shows the first state only.

    Args:
        chance: the rate of guessing, a fraction; None: not drawn.
        title: above.
        rows: of the utterances, as of `learning_curve_figure`.

    Example:
        >>> live = live_curve(chance=0.2)
        >>> train(..., on_record=live)
        >>> live.finish(history.records)
    """

    SECONDS = 2.0  # the least time between two pictures

    def __init__(
        self, chance: float | None = None, title: str = "", rows: pd.DataFrame | None = None
    ):
        self.about = chance, title, rows
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
        figure = learning_curve_figure(records, *self.about)
        if self._handle is None:
            self._handle = display(figure.bundle(), raw=True, display_id=True)
        else:
            self._handle.update(figure.bundle(), raw=True)
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
        figure = style.new_figure(style.WIDE_COLUMN, 0.2 * len(table) + 0.5)
        axes = figure.subplots()
        style.guess(axes, chance)
        told = []
        for row, one in zip(rows, table.itertuples(), strict=True):
            told.append(f"{one.method} {_method(axes, row, one, one.method in highlight)}")
        axes.set_yticks(rows, table["method"])
        axes.set(ylim=(-0.6, len(table) - 0.4), xlabel="UAR (%)")
        axes.grid(axis="x", color="#e3e3e3", lw=0.5)
        axes.set_axisbelow(True)
        style.tell(
            figure,
            "UAR",
            title,
            sentences=[f"Point: unweighted average recall; bar: 95 % interval over {unit}."],
            stamps=marks,
            numbers=f"In %: {'; '.join(told)}; chance {100 * chance:.1f}.",
        )
    return figure


def _method(axes: Axes, row: int, one: tuple, chosen: bool) -> str:
    """A row of `methods_figure`: point, bar and numbers, which it gives."""
    look = {"color": style.INK, "lw": 0.9, "marker": "o"}
    if chosen:
        look = {"color": style.ACCENT, "lw": 1.6, "marker": "D"}
    style.points(axes, row, one.uar, one.low, one.high, **look)
    span = f"{100 * one.low:.1f} to {100 * one.high:.1f}"
    if np.isnan(one.low):
        span = getattr(one, "counts", "no interval")
    told = f"{100 * one.uar:.1f} ({span})"
    beside = {"transform": axes.get_yaxis_transform(), "va": "center", "fontsize": style.LABEL}
    axes.text(1.02, row, told, color=look["color"], **beside)
    return told
