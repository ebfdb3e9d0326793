"""Few-shot rates: UAR against the number of shots, and how far it moves from draw to draw.

The figures of notebook 03 are at the end; the others know neither a study nor its runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from colab_utils.display import captions, matrices, style
from colab_utils.display.curves import COLOURS, DASHES, LEVEL_DASHES, MARKERS, finish, name_ends
from colab_utils.display.speakers import support_speakers_figure
from colab_utils.methods.emofsl.layers.figure import layer_weights_figure
from colab_utils.methods.emofsl.settings import METHODS, EmofslConfig
from colab_utils.methods.emofsl.study import BASELINES, Runs, TransferStudy, tuned_name
from colab_utils.results.metrics import cell_counts
from colab_utils.results.predictions import PredictionError, check_one_rule, validate
from colab_utils.results.rates import uar
from colab_utils.results.runs import Run
from colab_utils.results.support import support_speakers

PUBLISHED = "published (same protocol only)"
GREY_MARKERS = "^vPX<>"  # of the methods in grey
SHOTS_COLUMNS = ("method", "k", "uar", "low", "high")
_STEP = 0.018  # of the axis: how far bars of two methods at one k stand apart


# --- tables ---------------------------------------------------------------------------------------


def shots_table(runs: Mapping[tuple[str, int], Any]) -> pd.DataFrame:
    """Finished runs by (method, k) as SHOTS_COLUMNS, a row each in the given order.

    Rates are fractions, NaN where there is no interval. Raises PredictionError without runs, and
    RunError for one that is not finished.
    """
    if not runs:
        raise PredictionError(
            "no runs: there is nothing to compare; run one method at one number of shots at least"
        )
    rows = []
    for (method, k), run in runs.items():
        metrics = run.metrics
        low, high = metrics["uar_ci95"] or (np.nan, np.nan)
        rows.append((method, int(k), metrics["uar"], low, high))
    return pd.DataFrame(rows, columns=list(SHOTS_COLUMNS))


def uar_by_draw(
    predictions: Mapping[str, pd.DataFrame],
    labels: Sequence[str],
    by: Sequence[str] = ("seed", "draw"),
) -> pd.DataFrame:
    """UAR of each draw (rows, indexed by the columns `by`) under each method; fractions.

    Args:
        predictions: a table of `results.predictions` for each method, one method and rule each, on
            the same draws.
        labels: the emotions.
        by: ("seed", "draw") pools the folds, as the UAR of a run does; with "fold" each support
            set stands alone.

    Raises:
        PredictionError: naming the method whose draws differ.
    """
    if not predictions:
        raise PredictionError(
            "no methods: there is nothing to compare; pass the predictions of one method at least"
        )
    found = {}
    for name, rows in predictions.items():
        check_one_rule(rows, name)
        table = validate(rows, labels)
        keys = table[list(by)].drop_duplicates().sort_values(list(by))
        index = pd.MultiIndex.from_frame(keys)
        found[name] = pd.Series(uar(cell_counts(table, labels, by)), index=index)
        first = next(iter(found))
        if not index.equals(found[first].index):
            raise PredictionError(
                f"{name} was tested on other draws than {first}: compare runs "
                "with the same seeds, folds and draws"
            )
    return pd.DataFrame(found)


# --- UAR against the number of shots --------------------------------------------------------------


def uar_by_shots_figure(
    runs: Mapping[tuple[str, int], Any] | pd.DataFrame,
    chance: float,
    title: str = "",
    published: pd.DataFrame | None = None,
    grey: Sequence[str] = (),
    unit: str = "speakers",
    marks: Sequence[str] = (),
) -> style.SuiteFigure:
    """UAR against the number of shots: a line for each method, each point with its interval.

    Points of one k stand side by side, so that their bars do not cover each other.

    Args:
        runs: finished runs by (method, k), or a table with SHOTS_COLUMNS (fractions; NaN: no
            interval).
        chance: a fraction.
        title: above the figure.
        published: method, k, uar of the paper, for the same protocol only; drawn hollow, in the
            colour of the method of that name.
        grey: methods that stand back, such as baselines.
        unit: what the intervals resample.
        marks: stamps of the runs.

    Raises:
        ValueError: an empty table, a method that stands twice at one k, and more methods than can
            be told apart.
    """
    table = runs if isinstance(runs, pd.DataFrame) else shots_table(runs)
    methods = list(dict.fromkeys(table["method"]))
    looks = _looks(methods, grey)
    shots = sorted({*table["k"], *(() if published is None else published["k"])})
    if len(twice := table[table.duplicated(["method", "k"])]):
        raise ValueError(
            f"{twice.method.iloc[0]} stands twice at k = {twice.k.iloc[0]}: pass one "
            "run for each method and number of shots"
        )
    with style.suite_style():
        figure = style.new_figure(style.WIDE_COLUMN, 3.0)
        axes, ends = figure.subplots(), []
        step = max(shots[-1] - shots[0], 1) * _STEP
        for number, name in enumerate(methods):
            part = table[table["method"] == name].sort_values("k")
            place = part["k"] + step * (number - (len(methods) - 1) / 2)
            axes.vlines(
                place,
                100 * part["low"],
                100 * part["high"],
                color=looks[name]["color"],
                lw=0.8,
                alpha=0.75,
            )
            axes.plot(place, 100 * part["uar"], ms=3.4, lw=1, label=name, **looks[name])
            end = place.iloc[-1], 100 * part["uar"].iloc[-1]
            ends.append((*end, name, looks[name]["color"]))
        _published(axes, published, looks, step * (len(methods) / 2 + 0.5))
        axes.axhline(100 * chance, color=style.QUIET, lw=0.8, ls=":", label="chance")
        edge = step * (len(methods) / 2 + 1.5)
        ends.append((shots[-1] + edge, 100 * chance, "chance", style.QUIET))
        axes.set(
            xlabel="Support utterances a class (k)",
            ylabel="UAR (%)",
            xlim=(shots[0] - edge, shots[-1] + edge),
        )
        axes.set_xticks(shots, [str(k) for k in shots])
        about = f"Bars: 95 % interval over {unit}. Points of one k stand side by side."
        finish(figure, axes, title, [about], marks)
        name_ends(axes, ends)
    return figure


def _looks(methods: Sequence[str], grey: Sequence[str]) -> dict[str, dict]:
    """Colour, marker and dash of each method. Raises ValueError."""
    if not methods:
        raise ValueError("no methods: there is nothing to draw; run one method at least")
    if unknown := [name for name in grey if name not in methods]:
        raise ValueError(
            f"no method {', '.join(map(repr, unknown))} to draw in grey: the table "
            f"has {', '.join(methods)}"
        )
    bright = [name for name in methods if name not in grey]
    if len(bright) > len(COLOURS) or len(grey) > len(GREY_MARKERS):
        raise ValueError(
            f"{len(bright)} methods in colour and {len(grey)} in grey: at most "
            f"{len(COLOURS)} of each can be told apart; draw fewer, or some in grey"
        )
    looks = {}
    for name, colour, marker, dashes in zip(bright, COLOURS, MARKERS, DASHES, strict=False):
        looks[name] = {"color": colour, "marker": marker, "dashes": dashes}
    for name, marker, dashes in zip(grey, GREY_MARKERS, LEVEL_DASHES, strict=False):
        looks[name] = {"color": style.QUIET, "marker": marker, "dashes": dashes}
    return looks


def _published(
    axes: Axes, published: pd.DataFrame | None, looks: Mapping[str, dict], beside: float
) -> None:
    """The published points, hollow, to the right of the bars of their k; a legend says so."""
    if published is None or published.empty:
        return
    for name, part in published.groupby("method", sort=False):
        look = looks.get(name, {"color": style.INK, "marker": "o"})
        axes.plot(
            part["k"] + beside,
            100 * part["uar"],
            ls="none",
            marker=look["marker"],
            ms=4.6,
            mfc="none",
            mec=look["color"],
            mew=0.9,
            zorder=3,
            label=f"{name}, {PUBLISHED}",
        )
    key = axes.plot([], [], "o", ms=4.6, mfc="none", mec=style.INK, mew=0.9)
    axes.legend(
        key,
        [PUBLISHED],
        loc="lower right",
        bbox_to_anchor=(1, 1),
        frameon=False,
        borderpad=0,
        handletextpad=0.2,
    )


# --- UAR of each draw -----------------------------------------------------------------------------


def draws_figure(
    predictions: Mapping[str, pd.DataFrame],
    labels: Sequence[str],
    chance: float,
    title: str = "",
    by: Sequence[str] = ("seed", "draw"),
    marks: Sequence[str] = (),
) -> style.SuiteFigure:
    """UAR of every support draw as a point; thin lines join what the same draw gave.

    Beside each column a bar, and beneath it in numbers, the mean with one standard deviation (of
    draws, ddof 1) up and down.

    Args:
        predictions: a table for each method, by the name to show, at one number of shots and on
            the same draws: a column of points each.
        labels, by: as of `uar_by_draw`, whose numbers these are.
        chance: a fraction.
        title: above the figure.
        marks: stamps of the runs.

    Raises:
        PredictionError: as `uar_by_draw`.
    """
    table = 100 * uar_by_draw(predictions, labels, by)
    columns, spread = np.arange(table.shape[1]), table.std(ddof=1).fillna(0.0)
    with style.suite_style():
        wide = style.ONE_COLUMN if len(columns) <= 3 else style.WIDE_COLUMN
        figure = style.new_figure(wide, 2.6)
        axes = figure.subplots()
        axes.plot(columns, table.to_numpy().T, color=style.QUIET, lw=0.5, alpha=0.35, zorder=1)
        for column, name in zip(columns, table, strict=True):
            values, colour = table[name], COLOURS[column % len(COLOURS)]
            axes.plot(
                np.full(len(values), column),
                values,
                "o",
                ms=3.4,
                mfc=colour,
                mec="white",
                mew=0.4,
                alpha=0.8,
                ls="none",
                label=name,
            )
            axes.errorbar(
                column + 0.14,
                values.mean(),
                spread[name],
                color=colour,
                marker="_",
                ms=7,
                mew=1.6,
                lw=1.2,
            )
        axes.axhline(100 * chance, color=style.QUIET, lw=0.8, ls=":", zorder=0)
        axes.annotate(
            f"chance {100 * chance:.1f}",
            (1, 100 * chance),
            (0, 1.5),
            xycoords=axes.get_yaxis_transform(),
            textcoords="offset points",
            ha="right",
            fontsize=6.3,
            color=style.QUIET,
        )
        room, told = (figure.get_figwidth() - 0.6) / len(columns), []
        for name in table:
            numbers = f"{table[name].mean():.1f}"
            if len(table) > 1:
                numbers += f" ± {spread[name]:.1f}"
            told.append("\n".join([numbers, *captions.wrap(name, room, 7)]))
        axes.set_xticks(columns, told)
        axes.set(ylabel="UAR (%)", xlim=(-0.35, len(columns) - 0.25))
        axes.tick_params(axis="x", length=0)
        finish(figure, axes, title, [_about_draws(predictions, table)], marks)
    return figure


def _about_draws(predictions: Mapping[str, pd.DataFrame], table: pd.DataFrame) -> str:
    """What a point is, and what stands beside the points."""
    first, several = next(iter(predictions.values())), len(table) > 1
    pooled = ""
    if "fold" not in table.index.names and first["fold"].nunique() > 1:
        pooled = f", pooled over {first['fold'].nunique()} folds"
    lines = " Lines join the same draw." if table.shape[1] > 1 and several else ""
    beside = " Bars and numbers: mean ± standard deviation of the draws." if several else ""
    return f"Point: one support draw of {len(table)}{pooled}.{lines}{beside}"


# --- the figures of notebook 03 -------------------------------------------------------------------


def shots_figure(study: TransferStudy, runs: Runs, config: EmofslConfig) -> style.SuiteFigure:
    """UAR of all methods against the number of shots, decided by config.decision."""
    decided = _decided(runs, config)
    published = study.published
    if published is not None:
        published = published.rename(columns={"rate": "uar"})
    names = {name for name, _ in decided}
    return uar_by_shots_figure(
        decided,
        study.guessing,
        f"{study.title}, decided by {config.decision}",
        published,
        grey=[name for name in BASELINES if name in names],
        marks=_stamps(runs, config),
    )


def matrices_figure(study: TransferStudy, runs: Runs, config: EmofslConfig) -> style.SuiteFigure:
    """Confusion matrices of BTL, FSTL and EMOFSL at config.shots, decided by config.decision."""
    shown = {name: (run.predictions, run.metrics) for name, run in _at(runs, config).items()}
    title = f"{study.name}, {len(study.labels)}-way {config.shots}-shot"
    return matrices.confusion_matrices_figure(
        shown, f"{title}, decided by {config.decision}", labels=study.labels
    )


def luck_figure(study: TransferStudy, runs: Runs, config: EmofslConfig) -> style.SuiteFigure:
    """UAR of each support draw with BTL, FSTL and EMOFSL."""
    predictions = {name: run.predictions for name, run in _at(runs, config).items()}
    return draws_figure(
        predictions,
        study.labels,
        study.guessing,
        f"{study.name}, {config.shots}-shot",
        marks=_stamps(runs, config),
    )


def support_figure(study: TransferStudy, runs: Runs, config: EmofslConfig) -> style.SuiteFigure:
    """How much it matters whose clips are labelled, with EMOFSL."""
    run = runs[tuned_name("EMOFSL", config), config.shots]
    table = support_speakers(run.split, run.predictions)
    return support_speakers_figure(
        table, title=f"{study.name}, EMOFSL, {config.shots}-shot", marks=_stamps(runs, config)
    )


def layers_figure(study: TransferStudy, config: EmofslConfig) -> style.SuiteFigure | None:
    """Which layers of the encoder the source model listens to; None where there is one."""
    if study.layers == 1:
        return None
    return layer_weights_figure(study.layer_weights(config), title=study.title)


def _decided(runs: Runs, config: EmofslConfig) -> dict[tuple[str, int], Run]:
    """Baselines, and the methods that config.decision decided, by their name without it."""
    found = {}
    for (name, k), run in runs.items():
        method, _, decision = name.rpartition(", ")
        if name in BASELINES:
            found[name, k] = run
        elif decision == config.decision:
            found[method, k] = run
    return found


def _at(runs: Runs, config: EmofslConfig) -> dict[str, Run]:
    """BTL, FSTL and EMOFSL at config.shots, decided by config.decision."""
    return {name: runs[tuned_name(name, config), config.shots] for name in METHODS}


def _stamps(runs: Runs, config: EmofslConfig) -> list[str]:
    """What must not be missed of any of these runs."""
    run = runs[tuned_name("EMOFSL", config), config.shots]
    return captions.stamps(run.predictions, run.metrics)
