"""Few-shot rates: UAR against the number of shots, and how far it moves from one draw of the support to the next."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from colab_utils.display import captions, style
from colab_utils.display.curves import COLOURS, DASHES, LEVEL_DASHES, MARKERS, finish, name_ends
from colab_utils.methods.emofsl.draws import shots_table, uar_by_draw

PUBLISHED = "published (same protocol only)"
GREY_MARKERS = "^vPX<>"             # of the methods in grey
_STEP = 0.018                       # of the axis: how far bars of two methods at one k stand apart


def uar_by_shots_figure(runs: Mapping[tuple[str, int], Any] | pd.DataFrame, chance: float, title: str = "",
                        published: pd.DataFrame | None = None, grey: Sequence[str] = (), unit: str = "speakers",
                        marks: Sequence[str] = ()) -> style.SuiteFigure:
    """UAR against the number of shots: for each method a line through its points, each with its interval, and the method's name at the end.

    runs: finished runs by (method, k), or a table with results.draws.SHOTS_COLUMNS (fractions; NaN: no interval). Points of one k stand side by
    side, so that their bars do not cover each other. published: method, k, uar of the paper, for the same protocol only; drawn hollow, in the
    colour of the method of that name. grey: methods that stand back, such as baselines; unit: what the intervals resample; marks: stamps of
    the runs. Raises ValueError for an empty table, a method that stands twice at one k, and more methods than can be told apart.
    """
    table = runs if isinstance(runs, pd.DataFrame) else shots_table(runs)
    methods = list(dict.fromkeys(table["method"]))
    looks, shots = _looks(methods, grey), sorted({*table["k"], *(() if published is None else published["k"])})
    if len(twice := table[table.duplicated(["method", "k"])]):
        raise ValueError(f"{twice.method.iloc[0]} stands twice at k = {twice.k.iloc[0]}: pass one run for each method and number of shots")
    with style.suite_style():
        figure = style.new_figure(style.WIDE_COLUMN, 3.0)
        axes, ends = figure.subplots(), []
        reach = max(shots[-1] - shots[0], 1)
        for number, name in enumerate(methods):
            part = table[table["method"] == name].sort_values("k")
            place = part["k"] + reach * _STEP * (number - (len(methods) - 1) / 2)
            axes.vlines(place, 100 * part["low"], 100 * part["high"], color=looks[name]["color"], lw=0.8, alpha=0.75)
            axes.plot(place, 100 * part["uar"], ms=3.4, lw=1, label=name, **looks[name])
            ends.append((place.iloc[-1], 100 * part["uar"].iloc[-1], name, looks[name]["color"]))
        _published(axes, published, looks, reach * _STEP * (len(methods) / 2 + 0.5))
        axes.axhline(100 * chance, color=style.QUIET, lw=0.8, ls=":", label="chance")
        edge = reach * _STEP * (len(methods) / 2 + 1.5)
        ends.append((shots[-1] + edge, 100 * chance, "chance", style.QUIET))
        axes.set(xlabel="Support utterances a class (k)", ylabel="UAR (%)", xlim=(shots[0] - edge, shots[-1] + edge))
        axes.set_xticks(shots, [str(k) for k in shots])
        finish(figure, axes, title, [f"Bars: 95 % interval over {unit}. Points of one k stand side by side."], marks)
        name_ends(axes, ends)
    return figure


def _looks(methods: Sequence[str], grey: Sequence[str]) -> dict[str, dict]:
    """Colour, marker and dash of each method. Raises ValueError."""
    if not methods:
        raise ValueError("no methods: there is nothing to draw; run one method at least")
    if unknown := [name for name in grey if name not in methods]:
        raise ValueError(f"no method {', '.join(map(repr, unknown))} to draw in grey: the table has {', '.join(methods)}")
    bright = [name for name in methods if name not in grey]
    if len(bright) > len(COLOURS) or len(grey) > len(GREY_MARKERS):
        raise ValueError(f"{len(bright)} methods in colour and {len(grey)} in grey: at most {len(COLOURS)} of each can be told apart; "
                         "draw fewer, or some in grey")
    coloured = zip(bright, COLOURS, MARKERS, DASHES, strict=False)
    back = zip(grey, GREY_MARKERS, LEVEL_DASHES, strict=False)
    return ({name: {"color": colour, "marker": marker, "dashes": dashes} for name, colour, marker, dashes in coloured}
            | {name: {"color": style.QUIET, "marker": marker, "dashes": dashes} for name, marker, dashes in back})


def _published(axes: Axes, published: pd.DataFrame | None, looks: Mapping[str, dict], beside: float) -> None:
    """The published points, hollow, to the right of the bars of their k, and what they are in a legend."""
    if published is None or published.empty:
        return
    for name, part in published.groupby("method", sort=False):
        look = looks.get(name, {"color": style.INK, "marker": "o"})
        axes.plot(part["k"] + beside, 100 * part["uar"], ls="none", marker=look["marker"], ms=4.6, mfc="none", mec=look["color"], mew=0.9, zorder=3,
                  label=f"{name}, {PUBLISHED}")
    key = axes.plot([], [], "o", ms=4.6, mfc="none", mec=style.INK, mew=0.9)
    axes.legend(key, [PUBLISHED], loc="lower right", bbox_to_anchor=(1, 1), frameon=False, borderpad=0, handletextpad=0.2)


def draws_figure(predictions: Mapping[str, pd.DataFrame], labels: Sequence[str], chance: float, title: str = "",
                 by: Sequence[str] = ("seed", "draw"), marks: Sequence[str] = ()) -> style.SuiteFigure:
    """UAR of every support draw as a point, a column of points for each method; thin lines join what the same draw gave with each.

    predictions: a table for each method, by the name to show, at one number of shots and on the same draws; labels, by: as
    `results.draws.uar_by_draw`, whose numbers these are; chance: a fraction. Beside each column a bar, and beneath it in numbers, the mean with
    one standard deviation (of draws, ddof 1) up and down. Raises PredictionError.
    """
    table = 100 * uar_by_draw(predictions, labels, by)
    columns, spread = np.arange(table.shape[1]), table.std(ddof=1).fillna(0.0)
    with style.suite_style():
        figure = style.new_figure(style.ONE_COLUMN if len(columns) <= 3 else style.WIDE_COLUMN, 2.6)
        axes = figure.subplots()
        axes.plot(columns, table.to_numpy().T, color=style.QUIET, lw=0.5, alpha=0.35, zorder=1)
        for column, name in zip(columns, table, strict=True):
            values, colour = table[name], COLOURS[column % len(COLOURS)]
            axes.plot(np.full(len(values), column), values, "o", ms=3.4, mfc=colour, mec="white", mew=0.4, alpha=0.8, ls="none", label=name)
            axes.errorbar(column + 0.14, values.mean(), spread[name], color=colour, marker="_", ms=7, mew=1.6, lw=1.2)
        axes.axhline(100 * chance, color=style.QUIET, lw=0.8, ls=":", zorder=0)
        axes.annotate(f"chance {100 * chance:.1f}", (1, 100 * chance), (0, 1.5), xycoords=axes.get_yaxis_transform(), textcoords="offset points",
                      ha="right", fontsize=6.3, color=style.QUIET)
        wide = (figure.get_figwidth() - 0.6) / len(columns)
        told = {name: f"{table[name].mean():.1f}" + (f" ± {spread[name]:.1f}" if len(table) > 1 else "") for name in table}
        axes.set_xticks(columns, ["\n".join([told[name], *captions.wrap(name, wide, 7)]) for name in table])
        axes.set(ylabel="UAR (%)", xlim=(-0.35, len(columns) - 0.25))
        axes.tick_params(axis="x", length=0)
        finish(figure, axes, title, [_about_draws(predictions, table)], marks)
    return figure


def _about_draws(predictions: Mapping[str, pd.DataFrame], table: pd.DataFrame) -> str:
    """What a point is, and what stands beside the points."""
    first = next(iter(predictions.values()))
    pooled = f", pooled over {first['fold'].nunique()} folds" if "fold" not in table.index.names and first["fold"].nunique() > 1 else ""
    beside = " Bars and numbers: mean ± standard deviation of the draws." if len(table) > 1 else ""
    lines = " Lines join the same draw." if table.shape[1] > 1 and len(table) > 1 else ""
    return f"Point: one support draw of {len(table)}{pooled}.{lines}{beside}"
