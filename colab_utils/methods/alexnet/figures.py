"""What the AlexNet system sees and how it fares: pictures with the places it looks at, rates by
fold, rates against the noise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from colab_utils.display import captions, style
from colab_utils.display.curves import COLOURS, DASHES, MARKERS, finish, name_ends
from colab_utils.results.metrics import cell_counts, summarise
from colab_utils.results.rates import uar, wa
from colab_utils.results.runs import Run

_SPECTRUM, _MAP = "magma", 0.55  # colour map of the picture; opacity of the activation map
_SMALL = 6.5  # points
_SEEN = (
    "Upper row: the picture the network gets, each band scaled by the training utterances. "
    "Dashed: where the speech ends and silence is filled in."
)
_LOOKED_AT = (
    "Lower row: bright where a place speaks for the predicted emotion (class activation map)."
)


class View(NamedTuple):
    """A picture as the network sees it, and where it looks.

    picture: (rows, columns) in [0, 1], low frequencies last; activation: (r, c) of the predicted
    emotion, NaN where a place has no say, or None where the network has none; seconds: the width;
    valid: the share of it that is speech; hertz: frequencies of the lower and upper edge; scale:
    "Hz", or "mel" where rows are not linear in Hz; true, predicted: emotions; name: of the clip.
    """

    picture: np.ndarray
    activation: np.ndarray | None
    seconds: float
    valid: float
    hertz: tuple[float, float]
    scale: str
    true: str
    predicted: str
    name: str


def views_figure(
    views: Sequence[View], title: str = "", marks: Sequence[str] = ()
) -> style.SuiteFigure:
    """Pictures as the network sees them (upper row), and with what speaks for the predicted emotion
    over them (lower row).

    Raises ValueError for another number of views than 1 to 4.
    """
    if not 0 < len(views) <= 4:
        raise ValueError(f"{len(views)} pictures: pass 1 to 4")
    shown = any(view.activation is not None for view in views)
    with style.suite_style():
        width = style.TWO_COLUMNS if len(views) > 2 else style.WIDE_COLUMN
        figure = style.new_figure(width, 3.2 if shown else 1.8)
        panels = figure.subplots(2 if shown else 1, len(views), squeeze=False, sharex="col")
        room = figure.get_figwidth() / len(views) - 0.3
        for view, column in zip(views, panels.T, strict=True):
            _draw_view(view, column)
            column[0].set_title("\n".join(_above(view, room)), fontsize=_SMALL)
            column[-1].set_xlabel("Time (s)")
        for axes in panels[:, 0]:
            of_hertz = views[0].scale == "Hz"
            axes.set_ylabel("Frequency (kHz)" if of_hertz else "Mel band (kHz at the edges)")
        if title:
            figure.suptitle("\n".join(captions.wrap(title, figure.get_figwidth(), 8)), fontsize=8)
        style.caption_below(figure, [_SEEN, _LOOKED_AT] if shown else [_SEEN], marks)
    return figure


def _draw_view(view: View, column: Sequence[Axes]) -> None:
    """One picture, and below it, where there is room, the same in grey under its activation."""
    edges = [edge / 1000 for edge in view.hertz]
    common = {"extent": (0, view.seconds, *edges), "aspect": "auto", "interpolation": "nearest"}
    for row, axes in enumerate(column):
        axes.imshow(view.picture, cmap="gray" if row else _SPECTRUM, vmin=0, vmax=1, **common)
        if row and view.activation is not None:
            axes.imshow(_stretched(view.activation), cmap="viridis", alpha=_MAP, **common)
        axes.axvline(view.seconds * view.valid, color="white", lw=0.8, ls="--")
        if view.scale != "Hz":
            axes.set_yticks(edges)


def _above(view: View, room: float) -> list[str]:
    """Lines of name and emotions over a picture `room` inches wide."""
    right = "" if view.predicted == view.true else " (wrong)"
    name = captions.wrap(view.name, room, _SMALL)
    return [*name, view.true, f"taken for {view.predicted}{right}"]


def _stretched(values: np.ndarray) -> np.ndarray:
    """From the least to the largest value, 0 to 1."""
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    if high > low:
        return (values - low) / (high - low)
    return np.where(np.isnan(values), np.nan, 0.5)


def folds_table(
    predictions: pd.DataFrame, labels: Sequence[str], n_boot: int = 1000
) -> pd.DataFrame:
    """One row a fold, fractions, means over seeds.

    Columns: fold, speakers, n (utterances), uar, low, high (95 % over its speakers; NaN for one),
    wa.
    """
    rows = []
    for fold, part in predictions.groupby("fold", sort=True):
        counts = cell_counts(part, labels)
        low, high = summarise(part, labels, n_boot)["uar_ci95"] or (np.nan, np.nan)
        speakers = ", ".join(sorted(set(part["speaker"])))
        rows.append(
            {
                "fold": fold,
                "speakers": speakers,
                "n": part["utt_id"].nunique(),
                "uar": float(np.mean(uar(counts))),
                "low": low,
                "high": high,
                "wa": float(np.mean(wa(counts))),
            }
        )
    return pd.DataFrame(rows)


def folds_figure(
    table: pd.DataFrame, metrics: Mapping[str, Any], title: str = "", marks: Sequence[str] = ()
) -> style.SuiteFigure:
    """UAR (with its interval) and WA of every fold of `folds_table`, and beneath them those of all
    folds pooled, from metrics.json.
    """
    with style.suite_style():
        figure = style.new_figure(style.ONE_COLUMN, 0.2 * len(table) + 1.6)
        axes, rows = figure.subplots(), np.arange(len(table), 0, -1)
        axes.hlines(rows, 100 * table["low"], 100 * table["high"], color=COLOURS[0], lw=0.9)
        axes.plot(100 * table["uar"], rows, "o", ms=4, color=COLOURS[0], label="UAR (UA)")
        axes.plot(100 * table["wa"], rows, "s", ms=3.5, mfc="none", color=COLOURS[1], label="WA")
        low, high = metrics["uar_ci95"] or (np.nan, np.nan)
        axes.hlines(0, 100 * low, 100 * high, color=COLOURS[0], lw=1.4)
        axes.plot(100 * metrics["uar"], 0, "D", ms=5, color=COLOURS[0])
        axes.plot(100 * metrics["wa"], 0, "s", ms=4.5, mfc="none", color=COLOURS[1])
        axes.axvline(100 * metrics["chance"], color=style.QUIET, lw=0.8, ls=":", label="chance")
        names = [f"{row.speakers} (n = {row.n})" for row in table.itertuples()]
        axes.set_yticks([*rows, 0], [*names, "all, pooled"])
        axes.set(
            xlabel="Rate (%)",
            ylabel="Speakers of the fold",
            xlim=(0, 100),
            ylim=(-0.7, len(table) + 0.7),
        )
        above = "\n".join(captions.wrap(title, style.ONE_COLUMN, 8))
        figure.legend(
            loc="outside upper center", ncols=3, frameon=False, title=above, title_fontsize=8
        )
        told = "Bars: 95 % interval of the UAR over speakers (none for a fold of one)."
        finish(figure, axes, "", [told], marks)
    return figure


def noise_figure(
    table: pd.DataFrame, chance: float, noise: str, title: str = "", marks: Sequence[str] = ()
) -> style.SuiteFigure:
    """UAR against the signal-to-noise ratio for each model, and on the clean recording at the right
    end.

    Args:
        table: of `conditions_table`; other conditions than "clean" and "<noise>@<dB>" are left out.
        chance: fraction.
        noise: which, such as "pink".
        title, marks: above and below.

    Raises:
        ValueError: where no condition has that noise.
    """
    place, clean_at = _places(table["condition"], noise)
    mine = table.assign(place=place).dropna(subset="place")
    models = list(dict.fromkeys(mine["model"]))
    with style.suite_style():
        figure = style.new_figure(style.WIDE_COLUMN, 2.8)
        axes, ends = figure.subplots(), []
        for number, model in enumerate(models):
            part = mine[mine["model"] == model].sort_values("place")
            aside = 0.25 * (number - (len(models) - 1) / 2)
            place, colour = part["place"] + aside, COLOURS[number % len(COLOURS)]
            axes.vlines(
                place, 100 * part["low"], 100 * part["high"], color=colour, lw=0.8, alpha=0.75
            )
            axes.plot(
                place,
                100 * part["uar"],
                marker=MARKERS[number],
                ms=3.6,
                lw=1,
                color=colour,
                dashes=DASHES[number],
                label=model,
            )
            ends.append((place.iloc[-1], 100 * part["uar"].iloc[-1], model, colour))
        axes.axhline(100 * chance, color=style.QUIET, lw=0.8, ls=":")
        ends.append((clean_at, 100 * chance, "chance", style.QUIET))
        levels = sorted(set(mine["place"]) - {clean_at})
        axes.set_xticks([*levels, clean_at], [*(f"{level:g}" for level in levels), "clean"])
        axes.set(xlabel=f"Signal-to-noise ratio, {noise} noise (dB)", ylabel="UAR (%)")
        told = "Bars: 95 % interval over speakers. This noise was not heard in training."
        finish(figure, axes, title, [told], marks)
        name_ends(axes, ends)
    return figure


def _places(conditions: pd.Series, noise: str) -> tuple[pd.Series, float]:
    """Where each condition stands on the axis (its dB; NaN: left out), and where "clean" does."""
    place = pd.Series(np.nan, index=conditions.index)
    for row, condition in conditions.items():
        if condition.startswith(f"{noise}@"):
            place[row] = float(condition.partition("@")[2])
    if place.isna().all():
        there = ", ".join(sorted(set(conditions)))
        raise ValueError(f"no condition has {noise} noise: the table has {there}")
    clean_at = place.max() + 8
    place[conditions == "clean"] = clean_at
    return place, clean_at


def conditions_table(runs: Mapping[str, Run]) -> pd.DataFrame:
    """Finished runs as rows: model, condition, uar, low, high, wa; fractions."""
    rows = []
    for run in runs.values():
        metrics = run.metrics
        low, high = metrics["uar_ci95"] or (np.nan, np.nan)
        rows.append(
            {
                "model": run.config["model"],
                "condition": run.config["condition"],
                "uar": metrics["uar"],
                "low": low,
                "high": high,
                "wa": metrics["wa"],
            }
        )
    return pd.DataFrame(rows)


def clean_runs(runs: Mapping[str, Run]) -> dict[str, Run]:
    """Those tested on clean recordings, by their model."""
    return {run.config["model"]: run for run in runs.values() if run.config["condition"] == "clean"}
