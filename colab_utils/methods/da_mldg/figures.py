"""Every algorithm on every target corpus, and gamma over a training."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from colab_utils.display import by_group, captions, certainty, style
from colab_utils.display.curves import running_line, thin_and_thick
from colab_utils.display.matrices import confusion_matrices_figure
from colab_utils.display.style import COLOURS, MARKERS
from colab_utils.learning.recipe import RECOMMENDED
from colab_utils.methods.da_mldg.settings import LINEAR, NAMES
from colab_utils.methods.da_mldg.tables import Runs
from colab_utils.results.runs import Run

_OF_HEADS = {
    RECOMMENDED: {"color": style.INK, "marker": "*", "ms": 6.5},
    LINEAR: {"color": style.QUIET, "marker": "X", "ms": 4.2},
}
_GAP = 0.7  # between two targets, in rows
_MOST_MATRICES = 4
_BESIDE = 7  # names in a line of the legend


def domains_figure(
    table: pd.DataFrame, title: str = "", marks: Sequence[str] = ()
) -> style.SuiteFigure:
    """A group of rows for each target corpus, a row and colour for each algorithm.

    Left the UAR with its interval and a dotted line of chance; right the WA with a dashed line of
    the share of the commonest class, which is the WA of always choosing it (its UAR is chance).
    `recommended` is a black star, `linear` a grey cross.

    Args:
        table: of `tables.targets_table`; targets and algorithms stand in its order.
        title: above.
        marks: stamps of the runs, see `marks_of`.

    Returns:
        A figure, for a notebook to show.

    Raises:
        ValueError: an empty table, an algorithm twice for a target, more of them than colours.

    Example:
        >>> da_mldg.domains_figure(table, "Each corpus left out", da_mldg.marks_of(runs))
    """
    looks = _looks(table)
    targets = list(table["target"].unique())
    algorithms = list(table["algorithm"].unique())
    tops = -(len(algorithms) + _GAP) * np.arange(len(targets))  # the first row of each target
    bottoms = tops - len(algorithms) + 1
    with style.suite_style():
        figure = style.new_figure(style.TWO_COLUMNS, 0.45 - 0.115 * (bottoms[-1] - 1 - _GAP))
        left, right = figure.subplots(1, 2, sharex=True, sharey=True)
        for number, name in enumerate(algorithms):
            part = table[table["algorithm"] == name]
            rows = tops[part["target"].map(targets.index)] - number
            look = looks[name]
            right.plot(100 * part["wa"], rows, ls="", **look)
            look["label"] = style.legend_label(NAMES.get(name, name))
            style.points(left, rows, part["uar"], part["low"], part["high"], **look)
        lines = {"ymin": bottoms - 0.5, "ymax": tops + 0.5, "lw": 1.1, "color": style.QUIET}
        rates = 100 * table.groupby("target", sort=False)[["chance", "majority"]].first()
        left.vlines(rates["chance"], ls=":", label="chance", **lines)
        right.vlines(rates["majority"], ls="--", label="always the commonest class", **lines)
        left.set(xlabel="UAR (%)", ylabel="Target corpus", ylim=(bottoms[-1] - 0.7, 0.7))
        left.set_yticks((tops + bottoms) / 2, [captions.corpus(target) for target in targets])
        right.set(xlabel="WA (%)")
        for axes in (left, right):
            axes.grid(axis="x", color="#e3e3e3", lw=0.5)
            axes.tick_params(left=False)
        names = len(algorithms) + 2
        columns = math.ceil(names / math.ceil(names / _BESIDE))
        figure.legend(loc="outside upper center", ncols=columns, columnspacing=1.2)
        style.tell(
            figure,
            "UAR and WA by target",
            title,
            sentences=[f"Bars: 95 % interval of the UAR over {table['ci_unit'].iloc[0]}s."],
            stamps=marks,
            numbers=_in_words(table),
        )
    return figure


def _in_words(table: pd.DataFrame) -> str:
    """The UAR of each algorithm on each target."""
    told = []
    for target, part in table.groupby("target", sort=False):
        rates = []
        for one in part.itertuples():
            rates.append(f"{NAMES.get(one.algorithm, one.algorithm)} {100 * one.uar:.1f}")
        told.append(f"{captions.corpus(target)}: {', '.join(rates)}")
    return f"UAR in %. {'; '.join(told)}."


def _looks(table: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Marker and colour of each algorithm. Raises ValueError for what cannot be drawn."""
    if table.empty:
        raise ValueError(
            "no results: there is nothing to draw; run one algorithm on one target at least"
        )
    repeated = table[table.duplicated(["algorithm", "target"])]
    if len(repeated):
        twice = repeated.iloc[0]
        raise ValueError(
            f"{twice.algorithm} stands twice for {twice.target}: pass one row for each, such as "
            "the mean over seeds"
        )
    names = table["algorithm"].unique()
    others = [name for name in names if name not in _OF_HEADS]
    if len(others) > len(COLOURS):
        raise ValueError(
            f"{len(others)} algorithms: at most {len(COLOURS)} can be told apart; draw fewer"
        )
    looks = {name: dict(look) for name, look in _OF_HEADS.items()}
    for name, colour, marker in zip(others, COLOURS, MARKERS, strict=False):
        looks[name] = {"color": colour, "marker": marker, "ms": 3.8}
    return looks


def gamma_figure(
    records: Sequence[Mapping[str, float]], title: str = "", rows: pd.DataFrame | None = None
) -> style.SuiteFigure:
    """Gamma over a training of DA-MLDG, which weighs the loss of the held-out domain.

    Each step thin, the running mean thick, its largest value and mean in words. Where the weight is
    another number (`gamma_rule` other than "gamma") it is drawn, too.

    Args:
        records: `training.History.records`, with `step`, `gamma` and `weight`.
        title: above.
        rows: of the utterances, with a `corpus`, for the stamp of synthetic ones.

    Returns:
        A figure, for a notebook to show.

    Raises:
        ValueError: for records without a gamma.

    Example:
        >>> da_mldg.gamma_figure(studies.train(config, "da-mldg").records)
    """
    table = pd.DataFrame(list(records))
    if "gamma" not in table:
        raise ValueError(
            f"no gamma among {', '.join(table.columns) or 'no records'}: nothing to draw; train "
            "DA-MLDG"
        )
    gamma, weight = table["gamma"], table["weight"]
    with style.suite_style():
        figure = style.new_figure(style.ONE_COLUMN, 2.1)
        axes = figure.subplots()
        axes.set(xlabel="Training step", ylabel="Gamma (domain shift)")
        running_line(axes, table["step"], gamma, COLOURS[0], "gamma")
        if not np.allclose(weight, gamma):
            running_line(axes, table["step"], weight, COLOURS[1], "weight of the meta-test loss")
            axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)
            axes.set(ylabel="Value")
        axes.set(ylim=(0, None))
        said = f"Gamma: mean {gamma.mean():.3g}, largest {gamma.max():.3g}."
        below = [
            f"{said} {thin_and_thick(len(table))}",
            "Gamma: how far the domain that is held out in a step lies from those that learn; its"
            " loss counts so much.",
        ]
        stamps = [] if rows is None else captions.stamps_of_rows(rows)
        style.tell(figure, "gamma", title, sentences=below, stamps=stamps, numbers=said)
    return figure


def matrices_figure(runs: Runs, algorithm: str = "") -> style.SuiteFigure:
    """The confusion matrix of one algorithm for each target, the first four.

    Args:
        runs: {target: {algorithm: finished run}}.
        algorithm: which; default: the first.

    Returns:
        A figure, for a notebook to show.
    """
    algorithm = algorithm or next(iter(next(iter(runs.values()))))
    shown = {}
    for target in list(runs)[:_MOST_MATRICES]:
        run = runs[target][algorithm]
        shown[captions.corpus(target)] = run.predictions, run.metrics
    title = f"{NAMES.get(algorithm, algorithm)}, by the corpus left out"
    return confusion_matrices_figure(shown, title=title)


def show_certainty(runs: Runs) -> Any:
    """How far the first algorithm can be trusted on each target: a figure and a slider.

    Args:
        runs: {target: {algorithm: finished run}}.

    Returns:
        The widget of `display.certainty.show_certainty`, to show as a cell's last value.
    """
    algorithm, shown = _of_first(runs)
    return certainty.show_certainty(shown, f"{algorithm}, by the corpus left out")


def show_groups(runs: Runs, by: str, manifest: pd.DataFrame) -> None:
    """Rates of the first algorithm by gender, language, ... of whom it was tested on.

    All targets are pooled.

    Args:
        runs: {target: {algorithm: finished run}}.
        by: a column of the manifest.
        manifest: of the targets.
    """
    algorithm, shown = _of_first(runs)
    by_group.show_groups(shown, by, manifest, f"{algorithm}, all targets together")


def _of_first(runs: Runs) -> tuple[str, dict[str, Run]]:
    """The first algorithm as people write it, and its run on each target."""
    first = next(iter(next(iter(runs.values()))))
    shown = {captions.corpus(target): of_target[first] for target, of_target in runs.items()}
    return NAMES.get(first, first), shown


def marks_of(runs: Runs) -> list[str]:
    """What a reader of these runs must not miss, such as that the corpus is synthetic.

    Args:
        runs: {target: {algorithm: finished run}}.

    Returns:
        Sentences to stand in a figure.
    """
    shown: dict[str, dict[str, Any]] = {}
    for target, of_target in runs.items():
        for algorithm, run in of_target.items():
            of_algorithm = shown.setdefault(algorithm, {})
            of_algorithm[target] = run.predictions, run.metrics
    stamps = {name: captions.stamps_of_all(of_targets) for name, of_targets in shown.items()}
    return captions.shared(stamps)
