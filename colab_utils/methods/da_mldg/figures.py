"""Every algorithm on every target corpus: rates with intervals, beside chance and the commonest class."""
from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from colab_utils.display import captions, style
from colab_utils.display.curves import COLOURS, MARKERS, finish, running_line

_GAP = 0.7                          # between two targets, in rows


def domains_figure(table: pd.DataFrame, title: str = "", unit: str = "speakers", marks: Sequence[str] = ()) -> style.SuiteFigure:
    """A group of rows for each target corpus, a row and colour for each algorithm: UAR with its interval, and right of it WA where it is given.

    table: columns algorithm, target, uar, low, high (fractions; NaN: no interval), optionally chance, and wa with majority (the share of the
    commonest class, which is what always choosing it gives; its UAR is chance). Targets and algorithms stand in the order of the table; of
    chance and majority each target has one. unit: what intervals resample; marks: stamps of the runs. Raises ValueError for an empty table, an
    algorithm that stands twice for a target, and more algorithms than there are colours.
    """
    targets, algorithms = _checked(table)
    step = len(algorithms) + _GAP
    with_wa = "wa" in table
    with style.suite_style():
        figure = style.new_figure(style.TWO_COLUMNS if with_wa else style.WIDE_COLUMN, 0.115 * step * len(targets) + 0.85)
        panels = figure.subplots(1, 2 if with_wa else 1, sharey=True, squeeze=False)[0]
        for axes, rate, mark, words in zip(panels, ("uar", "wa"), ("chance", "majority"), ("chance", "always the commonest class"), strict=False):
            _points(axes, table, rate, targets, algorithms)
            if mark in table:
                _marks(axes, 100 * table.groupby("target")[mark].first()[targets], step, words)
            axes.set(xlabel=f"{rate.upper()} (%)", ylim=(-step * len(targets) + _GAP + 0.3, 0.7))
            axes.grid(axis="x", color="#e3e3e3", lw=0.5)
            axes.set_axisbelow(True)
            for number in range(1, len(targets)):
                axes.axhline(-step * number + (1 + _GAP) / 2, color="#d5d5d5", lw=0.5)
            axes.spines[["top", "right"]].set_visible(False)
            axes.tick_params(left=False)
        panels[0].set_yticks(-step * np.arange(len(targets)) - (len(algorithms) - 1) / 2, targets)
        panels[0].set_ylabel("Target corpus")
        figure.legend(*_key(panels), loc="outside upper center", ncols=len(algorithms) + len(panels), frameon=False, columnspacing=1.2,
                      handletextpad=0.3, title="\n".join(captions.wrap(title, figure.get_figwidth(), 8)), title_fontsize=8)
        finish(figure, panels[0], "", [f"Bars: 95 % interval of the UAR over {unit}."], marks)
    return figure


def _points(axes: Axes, table: pd.DataFrame, rate: str, targets: list[str], algorithms: list[str]) -> None:
    """The rate of every algorithm on every target, and the interval where it is the UAR."""
    for number, name in enumerate(algorithms):
        part = table[table["algorithm"] == name]
        place = -(len(algorithms) + _GAP) * part["target"].map(targets.index) - number
        if rate == "uar":
            axes.hlines(place, 100 * part["low"], 100 * part["high"], color=COLOURS[number], lw=0.9)
        axes.plot(100 * part[rate], place, MARKERS[number], ms=3.8, color=COLOURS[number], label=name)


def _checked(table: pd.DataFrame) -> tuple[list[str], list[str]]:
    """Targets and algorithms in their order. Raises ValueError."""
    if table.empty:
        raise ValueError("no results: there is nothing to draw; run one algorithm on one target at least")
    if table.duplicated(["algorithm", "target"]).any():
        twice = table[table.duplicated(["algorithm", "target"])].iloc[0]
        raise ValueError(f"{twice.algorithm} stands twice for {twice.target}: pass one row for each, such as the mean over seeds")
    algorithms = list(dict.fromkeys(table["algorithm"]))
    if len(algorithms) > len(COLOURS):
        raise ValueError(f"{len(algorithms)} algorithms: at most {len(COLOURS)} can be told apart; draw fewer")
    for name in {"chance", "majority"} & set(table.columns):
        several = table.groupby("target")[name].nunique()
        if (several > 1).any():
            raise ValueError(f"{several.idxmax()} has several values of {name}: algorithms must be tested on the same utterances")
    return list(dict.fromkeys(table["target"])), algorithms


def _marks(axes: Axes, values: pd.Series, step: float, words: str) -> None:
    """A dotted line across the group of each target."""
    for number, value in enumerate(values):
        axes.plot([value, value], [-step * number + 0.5, -step * (number + 1) + _GAP + 0.5], color=style.QUIET, lw=1.1,
                  ls=":" if words == "chance" else "--", label=words if number == 0 else None)


def _key(panels: Sequence[Axes]) -> tuple[list, list[str]]:
    """Lines and names of the legend: algorithms once, then the marks of each panel."""
    found = {}
    for axes in panels:
        for line, name in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(name, line)
    names = sorted(found, key=lambda name: name in ("chance", "always the commonest class"))
    return [found[name] for name in names], names


def gamma_figure(records: Sequence[Mapping[str, float]], title: str = "", marks: Sequence[str] = ()) -> style.SuiteFigure:
    """The weight gamma of the meta-test loss over training: each step thin, the running mean thick, its largest value and mean in words.

    records: `methods.training.History.records` with `step` and `gamma` (method_facts §4.4); where `weight` is there and another number (rules
    other than "gamma") it is drawn beside it. Raises ValueError for records without a gamma.
    """
    table = pd.DataFrame(list(records))
    if "gamma" not in table or table["gamma"].isna().all():
        told = f"no gamma among {', '.join(table.columns)}" if len(table) else "no records"
        raise ValueError(f"{told}: nothing to draw; train MLDG with a rule that has a gamma")
    with style.suite_style():
        figure = style.new_figure(style.ONE_COLUMN, 2.1)
        axes = figure.subplots()
        running_line(axes, table["step"], table["gamma"], COLOURS[0], "gamma")
        if "weight" in table and not np.allclose(table["weight"], table["gamma"], equal_nan=True):
            running_line(axes, table["step"], table["weight"], COLOURS[1], "weight of the meta-test loss")
            axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, frameon=False)
        axes.set(xlabel="Training step", ylabel="Gamma" if len(axes.get_lines()) <= 2 else "Value", ylim=(0, None))
        said = f"Gamma: mean {table['gamma'].mean():.3g}, largest {table['gamma'].max():.3g}. Thin: each step; thick: running mean."
        finish(figure, axes, title, [said], marks)
    return figure
