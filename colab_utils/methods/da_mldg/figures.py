"""Every algorithm on every target corpus, and gamma over a training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from colab_utils.display import captions, style
from colab_utils.display.curves import COLOURS, MARKERS, finish, running_line
from colab_utils.display.matrices import confusion_matrices_figure
from colab_utils.methods.da_mldg.tables import Runs

_GAP = 0.7  # between two targets, in rows
_MOST_MATRICES = 4
_CHANCE, _COMMONEST = "chance", "always the commonest class"


def domains_figure(
    table: pd.DataFrame, title: str = "", unit: str = "speakers", marks: Sequence[str] = ()
) -> style.SuiteFigure:
    """A group of rows for each target corpus, a row and colour for each algorithm.

    UAR with its interval, and right of it WA where it is given; beside them chance and the share of
    the commonest class, which is the WA of always choosing it (its UAR is chance).

    Args:
        table: columns algorithm, target, uar, low, high (fractions; NaN: no interval), optionally
            chance, and wa with majority. Targets and algorithms stand in its order; of chance and
            majority each target has one.
        title: above.
        unit: what intervals resample.
        marks: stamps of the runs.

    Raises:
        ValueError: for an empty table, an algorithm that stands twice for a target, and more
            algorithms than there are colours.
    """
    targets, algorithms = _checked(table)
    step = len(algorithms) + _GAP
    rates = [("uar", "chance", _CHANCE)]
    if "wa" in table:
        rates.append(("wa", "majority", _COMMONEST))
    width = style.TWO_COLUMNS if len(rates) == 2 else style.WIDE_COLUMN
    with style.suite_style():
        figure = style.new_figure(width, 0.115 * step * len(targets) + 0.85)
        panels = figure.subplots(1, len(rates), sharey=True, squeeze=False)[0]
        for axes, (rate, mark, words) in zip(panels, rates, strict=True):
            _points(axes, table, rate, targets, algorithms)
            if mark in table:
                of_target = table.groupby("target")[mark].first()
                _marks(axes, 100 * of_target[targets], step, words)
            _frame(axes, rate, len(targets), step)
        centre = (len(algorithms) - 1) / 2
        panels[0].set_yticks(-step * np.arange(len(targets)) - centre, targets)
        panels[0].set_ylabel("Target corpus")
        above = "\n".join(captions.wrap(title, figure.get_figwidth(), 8))
        figure.legend(
            *_key(panels),
            loc="outside upper center",
            frameon=False,
            title=above,
            ncols=len(algorithms) + len(panels),
            columnspacing=1.2,
            handletextpad=0.3,
            title_fontsize=8,
        )
        finish(figure, panels[0], "", [f"Bars: 95 % interval of the UAR over {unit}."], marks)
    return figure


def _points(
    axes: Axes, table: pd.DataFrame, rate: str, targets: list[str], algorithms: list[str]
) -> None:
    """The rate of every algorithm on every target, and the interval where it is the UAR."""
    step = len(algorithms) + _GAP
    for number, name in enumerate(algorithms):
        part = table[table["algorithm"] == name]
        place = -step * part["target"].map(targets.index) - number
        if rate == "uar":
            axes.hlines(place, 100 * part["low"], 100 * part["high"], color=COLOURS[number], lw=0.9)
        axes.plot(
            100 * part[rate], place, MARKERS[number], ms=3.8, color=COLOURS[number], label=name
        )


def _frame(axes: Axes, rate: str, n_targets: int, step: float) -> None:
    """Axes, grid, and a line between two targets."""
    axes.set(xlabel=f"{rate.upper()} (%)", ylim=(-step * n_targets + _GAP + 0.3, 0.7))
    axes.grid(axis="x", color="#e3e3e3", lw=0.5)
    axes.set_axisbelow(True)
    for number in range(1, n_targets):
        axes.axhline(-step * number + (1 + _GAP) / 2, color="#d5d5d5", lw=0.5)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(left=False)


def _checked(table: pd.DataFrame) -> tuple[list[str], list[str]]:
    """Targets and algorithms in their order. Raises ValueError."""
    if table.empty:
        raise ValueError(
            "no results: there is nothing to draw; run one algorithm on one target at least"
        )
    repeated = table.duplicated(["algorithm", "target"])
    if repeated.any():
        twice = table[repeated].iloc[0]
        raise ValueError(
            f"{twice.algorithm} stands twice for {twice.target}: pass one row for "
            "each, such as the mean over seeds"
        )
    algorithms = list(dict.fromkeys(table["algorithm"]))
    if len(algorithms) > len(COLOURS):
        raise ValueError(
            f"{len(algorithms)} algorithms: at most {len(COLOURS)} can be told apart; draw fewer"
        )
    for name in {"chance", "majority"} & set(table.columns):
        several = table.groupby("target")[name].nunique()
        if (several > 1).any():
            raise ValueError(
                f"{several.idxmax()} has several values of {name}: algorithms must be "
                "tested on the same utterances"
            )
    return list(dict.fromkeys(table["target"])), algorithms


def _marks(axes: Axes, values: pd.Series, step: float, words: str) -> None:
    """A dotted line (of the commonest class: a dashed one) across the group of each target."""
    dashes = ":" if words == _CHANCE else "--"
    for number, value in enumerate(values):
        upper, lower = -step * number + 0.5, -step * (number + 1) + _GAP + 0.5
        axes.plot(
            [value, value],
            [upper, lower],
            color=style.QUIET,
            lw=1.1,
            ls=dashes,
            label=words if number == 0 else None,
        )


def _key(panels: Sequence[Axes]) -> tuple[list, list[str]]:
    """Lines and names of the legend: algorithms once, then the marks of each panel."""
    found = {}
    for axes in panels:
        for line, name in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(name, line)
    names = sorted(found, key=lambda name: name in (_CHANCE, _COMMONEST))
    return [found[name] for name in names], names


def gamma_figure(
    records: Sequence[Mapping[str, float]], title: str = "", marks: Sequence[str] = ()
) -> style.SuiteFigure:
    """The weight gamma of the meta-test loss over training.

    Each step thin, the running mean thick, its largest value and mean in words.

    Args:
        records: `training.History.records` with `step` and `gamma` (method_facts §4.4); where
            `weight` is there and another number (rules other than "gamma") it is drawn beside it.
        title: above.
        marks: stamps of the run.

    Raises:
        ValueError: for records without a gamma.
    """
    table = pd.DataFrame(list(records))
    if "gamma" not in table or table["gamma"].isna().all():
        told = f"no gamma among {', '.join(table.columns)}" if len(table) else "no records"
        raise ValueError(f"{told}: nothing to draw; train MLDG with a rule that has a gamma")
    gamma = table["gamma"]
    alone = "weight" not in table or np.allclose(table["weight"], gamma, equal_nan=True)
    with style.suite_style():
        figure = style.new_figure(style.ONE_COLUMN, 2.1)
        axes = figure.subplots()
        running_line(axes, table["step"], gamma, COLOURS[0], "gamma")
        if not alone:
            running_line(
                axes, table["step"], table["weight"], COLOURS[1], "weight of the meta-test loss"
            )
            axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, frameon=False)
        label = "Gamma" if len(axes.get_lines()) <= 2 else "Value"
        axes.set(xlabel="Training step", ylabel=label, ylim=(0, None))
        said = (
            f"Gamma: mean {gamma.mean():.3g}, largest {gamma.max():.3g}. Thin: each step; "
            "thick: running mean."
        )
        finish(figure, axes, title, [said], marks)
    return figure


def matrices_figure(runs: Runs, algorithm: str, labels: Sequence[str]) -> style.SuiteFigure:
    """The confusion matrix of one algorithm for each target, the first four.

    Args:
        runs: {target: {algorithm: finished run}}.
        algorithm: which.
        labels: the emotions in their order.
    """
    shown = {}
    for target in list(runs)[:_MOST_MATRICES]:
        run = runs[target][algorithm]
        shown[target] = run.predictions, run.metrics
    return confusion_matrices_figure(
        shown, title=f"{algorithm}, by the corpus left out", labels=labels
    )


def marks_of(runs: Runs) -> list[str]:
    """What a reader of these runs must not miss, such as that the corpus is synthetic."""
    shown = {}
    for target, of_target in runs.items():
        run = next(iter(of_target.values()))
        shown[target] = run.predictions, run.metrics
    return captions.stamps_of_all(shown)
