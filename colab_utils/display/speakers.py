"""Figures about speakers: who spoke which emotion how often, and how well each test speaker was
recognised.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from colab_utils.corpora.manifest import speaker_keys
from colab_utils.display import captions, style
from colab_utils.display.figures import summary
from colab_utils.results.intervals import STEP_INTERVAL
from colab_utils.results.metrics import cell_counts
from colab_utils.results.rates import uar

# beyond it the names of speakers are left out: they would be illegible
MANY = 40


def speaker_recall(predictions: pd.DataFrame, labels: list[str]) -> pd.DataFrame:
    """UAR of each speaker: columns speaker (`<corpus>/<speaker>`, `unknown`), uar, low, high
    (fractions), n (utterances); sorted by uar.

    uar is the mean over (seed, draw), low and high are its extremes over these. A speaker's UAR
    counts only the emotions that this speaker's utterances hold, so its chance level is not the
    overall one where emotions are missing.
    """
    rows = []
    for speaker, part in predictions.groupby(speaker_keys(predictions).replace("", "unknown")):
        values = uar(cell_counts(part, labels))
        rows.append(
            {
                "speaker": speaker,
                "uar": values.mean(),
                "low": values.min(),
                "high": values.max(),
                "n": part["utt_id"].nunique(),
            }
        )
    return pd.DataFrame(rows).sort_values(["uar", "speaker"], ignore_index=True)


def per_speaker_figure(
    predictions: pd.DataFrame, metrics: Mapping[str, Any] | None = None, title: str = ""
) -> style.SuiteFigure:
    """UAR of every test speaker as a point (bar: lowest to highest seed and draw) with n, chance,
    and the overall UAR with its interval.

    `metrics`: metrics.json of the same table, computed here when left out. One row a speaker;
    beyond MANY speakers without their names.
    """
    metrics = summary(predictions) if metrics is None else metrics
    table = speaker_recall(predictions, list(metrics["labels"]))
    many, rows, repeated = (
        len(table) > MANY,
        np.arange(len(table)),
        captions.repetitions(predictions),
    )
    below = [_about_points(predictions, repeated), *captions.notes(metrics)]
    with style.suite_style():
        figure = style.new_figure(
            style.TWO_COLUMNS if many else style.ONE_COLUMN,
            (3 if many else 0.17 * len(table)) + 1.1,
        )
        axes = figure.subplots()
        _overall(axes, metrics)
        axes.hlines(rows, 100 * table["low"], 100 * table["high"], color=style.INK, lw=0.8)
        axes.plot(
            100 * table["uar"], rows, "o", ms=3 if many else 4, color=style.INK, clip_on=False
        )
        axes.set(
            xlim=(0, 100),
            ylim=(-0.7, len(table) - 0.3),
            xlabel="UAR of the speaker's utterances (%)",
            ylabel="Test speaker",
        )
        names = [
            f"{name} (n = {n})"
            for name, n in zip(short_names(table["speaker"]), table["n"], strict=True)
        ]
        axes.set_yticks([] if many else rows, [] if many else names)
        axes.spines[["top", "right"]].set_visible(False)
        if title:
            axes.set_title(title)
        figure.legend(loc="outside upper center", ncols=3 if many else 1, frameon=False)
        style.caption_below(figure, below, captions.stamps(predictions, metrics))
    return figure


def _about_points(predictions: pd.DataFrame, repeated: str) -> str:
    """What a point and a bar stand for: tasks are pooled, seeds and draws averaged."""
    if not repeated:
        return ""
    several = predictions[["seed", "draw"]].drop_duplicates().shape[0] > 1
    return f"Point: over {repeated}" + (
        "; bar: lowest to highest seed and draw." if several else ", pooled."
    )


def _overall(axes: Any, metrics: Mapping[str, Any]) -> None:
    """The overall UAR with its interval, and the chance level, as vertical marks."""
    if metrics.get("uar_ci95"):
        low, high = (100 * value for value in metrics["uar_ci95"])
        axes.axvspan(
            low,
            high,
            color="#cfe0ef",
            lw=0,
            label=(
                f"95 % interval over {captions.interval_unit(metrics)}: {low:.1f} to {high:.1f} %"
            ),
        )
    axes.axvline(
        100 * metrics["uar"],
        color=style.ACCENT,
        lw=1.2,
        label=f"UAR over all speakers: {100 * metrics['uar']:.1f} %",
    )
    axes.axvline(
        100 * metrics["chance"],
        color=style.QUIET,
        lw=1,
        ls=":",
        label=f"chance: {100 * metrics['chance']:.1f} %",
    )


def short_names(keys: pd.Series) -> list[str]:
    """Speaker keys without the corpus where all are of one corpus: `emodb/03` -> `03`."""
    one = len({key.rpartition("/")[0] for key in keys if "/" in key}) <= 1
    return [key.rpartition("/")[2] if one else key for key in keys]


def speaker_emotion_table(manifest: pd.DataFrame) -> pd.DataFrame:
    """Utterances of each speaker (rows: `<corpus>/<speaker>`, or `unknown`) and emotion (columns):
    int counts.
    """
    return pd.crosstab(
        speaker_keys(manifest).replace("", "unknown").rename("speaker"), manifest["emotion"]
    )


def speakers_by_emotion(manifest: pd.DataFrame, title: str = "") -> style.SuiteFigure:
    """Who spoke which emotion how often: counts of utterances, speakers (with gender f/m where
    known) on y, emotions on x.

    Of more than MANY speakers those with the most utterances are shown, and all others are summed
    in a last row that says how many.
    """
    table = speaker_emotion_table(manifest)
    gender = dict(zip(speaker_keys(manifest), manifest["gender"].str[:1], strict=True))
    names = [
        f"{name} ({gender[key]})" if gender.get(key) else name
        for key, name in zip(table.index, short_names(table.index.to_series()), strict=True)
    ]
    table.index, shade = names, table.to_numpy() / table.to_numpy().max(initial=1)
    if len(table) > MANY:
        order = np.argsort(-table.sum(axis=1).to_numpy(), kind="stable")
        shown, rest = np.sort(order[: MANY - 1]), order[MANY - 1 :]
        # a sum of many speakers is not shaded with the single ones
        shade = np.vstack([shade[shown], np.zeros(table.shape[1])])
        table = pd.concat(
            [table.iloc[shown], table.iloc[rest].sum().to_frame(f"{len(rest)} others").T]
        )
    size = f"{len(manifest):,} utterances, {len(names)} speakers"
    with style.suite_style():
        figure = style.new_figure(
            style.ONE_COLUMN if table.shape[1] <= 7 else style.WIDE_COLUMN, 0.17 * len(table) + 1.1
        )
        axes = figure.subplots()
        style.heat(
            axes,
            shade,
            list(table.index),
            list(table.columns),
            [[f"{count:,}" for count in row] for row in table.to_numpy()],
        )
        axes.set(xlabel="Emotion (number of utterances)", ylabel="Speaker")
        figure.suptitle(
            "\n".join(
                captions.wrap(f"{title}: {size}" if title else size, figure.get_figwidth(), 7)
            ),
            fontsize=7,
        )
    return figure


def support_speakers_figure(
    table: pd.DataFrame, title: str = "", marks: Sequence[str] = ()
) -> style.SuiteFigure:
    """Task accuracy with and without each speaker in the support (left), and the difference with
    its interval (right), sorted.

    table: what `results.support.support_speakers` gives; marks: stamps of the run
    (`captions.stamps`). Beyond MANY speakers the extremes only. Raises ValueError for an empty
    table.
    """
    if table.empty:
        raise ValueError(
            "no support speakers: there is nothing to draw; run a few-shot method first"
        )
    below = [
        f"In brackets: tasks with this speaker in the support. Bars: {STEP_INTERVAL}. A speaker's"
        " own queries are left out. About one interval in 20 misses 0 by chance alone."
    ]
    if len(table) > MANY:
        below.append(
            f"Of {len(table)} speakers the {MANY // 2} with the greatest gain and the {MANY // 2}"
            " with the greatest loss are shown."
        )
        told = table.dropna(subset="difference")
        table = pd.concat([told.head(MANY // 2), told.tail(MANY // 2)], ignore_index=True)
    rows = np.arange(len(table))[::-1]
    with style.suite_style():
        figure = style.new_figure(style.WIDE_COLUMN, 0.17 * len(table) + 0.85)
        left, right = figure.subplots(1, 2, sharey=True)
        for name, marker, face, shift in (
            ("with", "o", style.ACCENT, 0.14),
            ("without", "o", "white", -0.14),
        ):
            left.hlines(
                rows + shift,
                100 * table[f"{name}_low"],
                100 * table[f"{name}_high"],
                color=style.ACCENT,
                lw=0.7,
            )
            left.plot(
                100 * table[f"accuracy_{name}"],
                rows + shift,
                marker,
                ms=3.4,
                mfc=face,
                mec=style.ACCENT,
                mew=0.8,
                label=f"{name} the speaker",
            )
        left.set(
            xlabel="Task accuracy (%)", ylabel="Support speaker", ylim=(-0.6, len(table) - 0.4)
        )
        names = [
            f"{name} ({number})"
            for name, number in zip(short_names(table["speaker"]), table["tasks_with"], strict=True)
        ]
        left.set_yticks(rows, names)
        right.axvline(0, color=style.QUIET, lw=0.8, ls=":")
        right.hlines(rows, 100 * table["low"], 100 * table["high"], color=style.INK, lw=0.8)
        right.plot(100 * table["difference"], rows, "o", ms=3.4, color=style.INK)
        right.set(xlabel="With minus without (points)")
        right.tick_params(left=False)
        for axes in (left, right):
            axes.spines[["top", "right"]].set_visible(False)
        right.spines["left"].set_visible(False)
        if title:
            figure.suptitle("\n".join(captions.wrap(title, style.WIDE_COLUMN, 8)), fontsize=8)
        left.legend(
            loc="lower center",
            bbox_to_anchor=(0.5, 1),
            ncols=2,
            frameon=False,
            handlelength=1,
            columnspacing=1,
        )
        style.caption_below(figure, below, marks)
    return figure
