"""What the AlexNet system sees and how it fares: pictures with the places it looks at, rates by fold, rates against the noise."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from colab_utils.display import captions, style
from colab_utils.display.curves import COLOURS, DASHES, MARKERS, finish, name_ends
from colab_utils.results.metrics import cell_counts, summarise
from colab_utils.results.rates import uar, wa

_SPECTRUM, _MAP = "magma", 0.55           # colour map of the picture; opacity of the activation map


def views_figure(views: Sequence[Mapping[str, Any]], title: str = "", marks: Sequence[str] = ()) -> style.SuiteFigure:
    """Pictures as the network sees them (upper row), and with what speaks for the predicted emotion over them (lower row).

    views: 1 to 4, each with `picture` (rows, columns) in [0, 1], low frequencies last, `activation` (r, c) of the predicted emotion, NaN where a
    place has no say, or None where the network has none, `seconds` (the width), `valid` (the share of it that is speech), `hertz` (frequencies
    of the lower and upper edge), `scale` ("Hz", or "mel" where rows are not linear in Hz), `true`, `predicted`, `name`. Raises ValueError for
    another number of views.
    """
    if not 0 < len(views) <= 4:
        raise ValueError(f"{len(views)} pictures: pass 1 to 4")
    shown = any(view["activation"] is not None for view in views)
    with style.suite_style():
        figure = style.new_figure(style.TWO_COLUMNS if len(views) > 2 else style.WIDE_COLUMN, 3.2 if shown else 1.8)
        panels = figure.subplots(2 if shown else 1, len(views), squeeze=False, sharex="col")
        for column, view in enumerate(views):
            extent = (0, view["seconds"], *[edge / 1000 for edge in view["hertz"]])
            for row, axes in enumerate(panels[:, column]):
                common = {"extent": extent, "aspect": "auto"}
                axes.imshow(view["picture"], cmap="gray" if row else _SPECTRUM, vmin=0, vmax=1, interpolation="nearest", **common)
                if row and view["activation"] is not None:
                    axes.imshow(_stretched(view["activation"]), cmap="viridis", alpha=_MAP, interpolation="nearest", **common)
                axes.axvline(view["seconds"] * view["valid"], color="white", lw=0.8, ls="--")
                if column == 0:
                    axes.set_ylabel("Frequency (kHz)" if view["scale"] == "Hz" else "Mel band (kHz at the edges)")
                if view["scale"] != "Hz":
                    axes.set_yticks([edge / 1000 for edge in view["hertz"]])
            right = "" if view["predicted"] == view["true"] else " (wrong)"
            name = captions.wrap(view["name"], figure.get_figwidth() / len(views) - 0.3, 6.5)
            told = [*name, view["true"], f"taken for {view['predicted']}{right}"]
            panels[0, column].set_title("\n".join(told), fontsize=6.5)
            panels[-1, column].set_xlabel("Time (s)")
        below = ["Upper row: the picture the network gets, each band scaled by the training utterances. Dashed: where the speech ends and silence is "
                 "filled in."]
        below += ["Lower row: bright where a place speaks for the predicted emotion (class activation map)."] if shown else []
        if title:
            figure.suptitle("\n".join(captions.wrap(title, figure.get_figwidth(), 8)), fontsize=8)
        style.caption_below(figure, below, marks)
    return figure


def _stretched(values: np.ndarray) -> np.ndarray:
    """From the least to the largest value, 0 to 1."""
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    return (values - low) / (high - low) if high > low else np.where(np.isnan(values), np.nan, 0.5)


def folds_table(predictions: pd.DataFrame, labels: Sequence[str], n_boot: int = 1000) -> pd.DataFrame:
    """One row a fold: fold, speakers, n (utterances), uar, low, high (95 % over its speakers; NaN for one), wa; fractions, means over seeds."""
    rows = []
    for fold, part in predictions.groupby("fold", sort=True):
        counts, interval = cell_counts(part, labels), summarise(part, labels, n_boot)["uar_ci95"]
        low, high = interval or (np.nan, np.nan)
        rows.append({"fold": fold, "speakers": ", ".join(sorted(set(part["speaker"]))), "n": part["utt_id"].nunique(),
                     "uar": float(np.mean(uar(counts))), "low": low, "high": high, "wa": float(np.mean(wa(counts)))})
    return pd.DataFrame(rows)


def folds_figure(table: pd.DataFrame, metrics: Mapping[str, Any], title: str = "", marks: Sequence[str] = ()) -> style.SuiteFigure:
    """UAR (with its interval) and WA of every fold of `folds_table`, and beneath them those of all folds pooled, from metrics.json."""
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
        axes.set_yticks([*rows, 0], [*(f"{row.speakers} (n = {row.n})" for row in table.itertuples()), "all, pooled"])
        axes.set(xlabel="Rate (%)", ylabel="Speakers of the fold", xlim=(0, 100), ylim=(-0.7, len(table) + 0.7))
        above = "\n".join(captions.wrap(title, style.ONE_COLUMN, 8))
        figure.legend(loc="outside upper center", ncols=3, frameon=False, title=above, title_fontsize=8)
        finish(figure, axes, "", ["Bars: 95 % interval of the UAR over speakers (none for a fold of one)."], marks)
    return figure


def noise_figure(table: pd.DataFrame, chance: float, noise: str, title: str = "", marks: Sequence[str] = ()) -> style.SuiteFigure:
    """UAR against the signal-to-noise ratio for each model, and on the clean recording at the right end.

    table: columns model, condition ("clean", or "<noise>@<dB>"; others are left out), uar, low, high, fractions. Raises ValueError where no
    condition has that noise.
    """
    mine = table[(table["condition"] == "clean") | table["condition"].str.startswith(f"{noise}@")].copy()
    mine["snr"] = [np.nan if one == "clean" else float(one.partition("@")[2]) for one in mine["condition"]]
    if mine["snr"].isna().all():
        raise ValueError(f"no condition has {noise} noise: the table has {', '.join(sorted(set(table['condition'])))}")
    clean_at = mine["snr"].max() + 8
    mine["place"] = mine["snr"].fillna(clean_at)
    models = list(dict.fromkeys(mine["model"]))
    with style.suite_style():
        figure = style.new_figure(style.WIDE_COLUMN, 2.8)
        axes, ends = figure.subplots(), []
        for number, model in enumerate(models):
            part = mine[mine["model"] == model].sort_values("place")
            place, colour = part["place"] + 0.25 * (number - (len(models) - 1) / 2), COLOURS[number % len(COLOURS)]
            axes.vlines(place, 100 * part["low"], 100 * part["high"], color=colour, lw=0.8, alpha=0.75)
            axes.plot(place, 100 * part["uar"], marker=MARKERS[number], ms=3.6, lw=1, color=colour, dashes=DASHES[number], label=model)
            ends.append((place.iloc[-1], 100 * part["uar"].iloc[-1], model, colour))
        axes.axhline(100 * chance, color=style.QUIET, lw=0.8, ls=":")
        ends.append((clean_at, 100 * chance, "chance", style.QUIET))
        ticks = sorted(mine["snr"].dropna().unique())
        axes.set_xticks([*ticks, clean_at], [*(f"{tick:g}" for tick in ticks), "clean"])
        axes.set(xlabel=f"Signal-to-noise ratio, {noise} noise (dB)", ylabel="UAR (%)")
        finish(figure, axes, title, ["Bars: 95 % interval over speakers. This noise was not heard in training."], marks)
        name_ends(axes, ends)
    return figure


def conditions_table(runs: Mapping[tuple[str, str], Any]) -> pd.DataFrame:
    """Finished runs {(model, condition): run} as rows: model, condition, uar, low, high, wa; fractions."""
    rows = []
    for (model, condition), run in runs.items():
        metrics = run.metrics
        low, high = metrics["uar_ci95"] or (np.nan, np.nan)
        rows.append({"model": model, "condition": condition, "uar": metrics["uar"], "low": low, "high": high, "wa": metrics["wa"]})
    return pd.DataFrame(rows)
