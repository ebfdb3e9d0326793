"""Figures about speakers: who spoke which emotion how often, and how well each was recognised."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn
from matplotlib.axes import Axes

from colab_utils.corpora.manifest import speaker_keys
from colab_utils.display import captions, style
from colab_utils.display.figures import heat
from colab_utils.results.intervals import STEP_INTERVAL
from colab_utils.results.metrics import cell_counts
from colab_utils.results.rates import uar

# Beyond it the names of speakers are left out: they would be illegible.
MANY = 40


def speaker_recall(predictions: pd.DataFrame, labels: Sequence[str]) -> pd.DataFrame:
    """UAR of each speaker in each seed and draw.

    A speaker's UAR counts only the emotions that this speaker's utterances hold, so its chance
    level is not the overall one where emotions are missing.

    Args:
        predictions: a table of `results.predictions`.
        labels: the emotions in a fixed order.

    Returns:
        Columns speaker (`<corpus>/<speaker>`, or `unknown`), uar (a fraction) and n (utterances of
        the speaker), a row for each seed and draw; speakers sorted by their mean.
    """
    speakers = speaker_keys(predictions).replace("", "unknown")
    tables = []
    for speaker, part in predictions.groupby(speakers):
        found = pd.DataFrame({"uar": uar(cell_counts(part, labels))})
        found["mean"] = found["uar"].mean()
        found["speaker"] = speaker
        found["n"] = part["utt_id"].nunique()
        tables.append(found)
    table = pd.concat(tables).sort_values(["mean", "speaker"], ignore_index=True)
    return table[["speaker", "uar", "n"]]


def per_speaker_figure(
    predictions: pd.DataFrame, metrics: Mapping[str, Any], title: str = ""
) -> style.SuiteFigure:
    """UAR of every test speaker, beside chance and the overall UAR with its interval.

    A row a speaker: a point, and a bar from the lowest to the highest seed and draw. Beyond MANY
    speakers without their names.

    Args:
        predictions: a table of `results.predictions`.
        metrics: its metrics.json.
        title: above the figure; default: the tested corpora and the method.

    Returns:
        The figure.

    Example:
        >>> per_speaker_figure(run.predictions, run.metrics)
    """
    table = speaker_recall(predictions, metrics["labels"])
    number = table["speaker"].nunique()
    many = number > MANY
    width = style.TWO_COLUMNS if many else style.ONE_COLUMN
    with style.suite_style():
        figure = style.new_figure(width, (3 if many else 0.17 * number) + 0.5)
        axes = figure.subplots()
        _overall(axes, metrics)
        seaborn.pointplot(
            x=100 * table["uar"],
            y=_named(table["speaker"], "n = " + table["n"].astype(str)),
            errorbar=("pi", 100),
            color=style.INK,
            linestyle="none",
            markersize=2.5 if many else 3.3,
            err_kws={"linewidth": 0.8},
            clip_on=False,
            legend=False,
            ax=axes,
        )
        axes.set(xlim=(0, 100), ylim=(-0.7, number - 0.3), ylabel="Test speaker")
        axes.set_xlabel("UAR of the speaker (%)")
        if many:
            axes.set_yticks([])
        figure.legend(loc="outside upper center", ncols=3 if many else 1)
        style.tell(
            figure,
            "UAR by speaker",
            title or captions.subject(predictions),
            sentences=[_about_points(predictions), *captions.notes(metrics)],
            stamps=captions.stamps(predictions, metrics),
            numbers=f"{captions.headline(metrics)}; {_extremes(table)}",
        )
    return figure


def _extremes(table: pd.DataFrame) -> str:
    """The speakers recognised best and worst, in words."""
    mean = 100 * table.groupby(_named(table["speaker"], ""))["uar"].mean()
    return (
        f"best {mean.idxmax()} with {mean.max():.1f} %, worst {mean.idxmin()} with"
        f" {mean.min():.1f} %."
    )


def _about_points(predictions: pd.DataFrame) -> str:
    """What a point and a bar stand for: tasks are pooled, seeds and draws averaged."""
    repeated = captions.repetitions(predictions)
    if not repeated:
        return ""
    several = len(predictions[["seed", "draw"]].drop_duplicates()) > 1
    told = "; bar: lowest to highest seed and draw." if several else ", pooled."
    return f"Point: over {repeated}{told}"


def _overall(axes: Axes, metrics: Mapping[str, Any]) -> None:
    """The overall UAR with its interval, and the chance level, as vertical marks."""
    inside = captions.span(metrics)
    if inside:
        low, high = metrics["uar_ci95"]
        label = f"95 % interval over {captions.interval_unit(metrics)}: {inside} %"
        axes.axvspan(100 * low, 100 * high, color="#cfe0ef", lw=0, label=label)
    rate, chance = 100 * metrics["uar"], 100 * metrics["chance"]
    axes.axvline(rate, color=style.ACCENT, lw=1.2, label=f"UAR over all speakers: {rate:.1f} %")
    axes.axvline(chance, color=style.QUIET, lw=1, ls=":", label=f"chance: {chance:.1f} %")


def _named(speakers: pd.Series, told: pd.Series | str) -> pd.Series:
    """Names to show, `03 (n = 49)`, behind the corpus where there are several."""
    parts = speakers.str.rpartition("/")
    speakers = parts[2]
    if len(set(parts[0]) - {""}) > 1:
        speakers = (parts[0].map(captions.corpus) + " " + speakers).str.strip()
    names = speakers + " (" + told + ")"
    return names.str.replace(" ()", "")


def speaker_emotion_table(manifest: pd.DataFrame) -> pd.DataFrame:
    """Count the utterances of each speaker and emotion.

    Args:
        manifest: with corpus, speaker and emotion.

    Returns:
        int counts; rows: `<corpus>/<speaker>`, or `unknown`; columns: emotions.
    """
    speakers = speaker_keys(manifest).replace("", "unknown")
    return pd.crosstab(speakers, manifest["emotion"])


def speakers_by_emotion(manifest: pd.DataFrame, title: str = "") -> style.SuiteFigure:
    """Who spoke which emotion how often: speakers (with gender f/m where known) by emotions.

    Args:
        manifest: the utterances.
        title: above the figure.

    Returns:
        The figure. Of more than MANY speakers those with the most utterances are shown, and all
        others are summed in a last row that says how many.

    Example:
        >>> speakers_by_emotion(manifest, "EmoDB")
    """
    table = speaker_emotion_table(manifest)
    gender = dict(zip(speaker_keys(manifest), manifest["gender"].str[:1], strict=True))
    speakers = table.index.to_series()
    table.index = _named(speakers, speakers.map(gender).fillna(""))
    size = f"{len(manifest):,} utterances, {len(table)} speakers"
    shade = table / max(1, table.to_numpy().max(initial=1))
    if len(table) > MANY:
        order = np.argsort(-table.sum(axis=1).to_numpy(), kind="stable")
        shown, rest = np.sort(order[: MANY - 1]), order[MANY - 1 :]
        others = f"{len(rest)} others"
        summed = table.iloc[rest].sum()
        # A sum of many speakers is not shaded with the single ones.
        table, shade = table.iloc[shown].copy(), shade.iloc[shown].copy()
        table.loc[others], shade.loc[others] = summed, 0.0
    width = style.ONE_COLUMN if table.shape[1] <= 7 else style.WIDE_COLUMN
    with style.suite_style():
        figure = style.new_figure(width, 0.17 * len(table) + 0.8)
        axes = figure.subplots()
        texts = table.map("{:,}".format).to_numpy()
        heat(axes, shade.to_numpy(), list(table.index), list(table.columns), [texts])
        axes.set(xlabel="Emotion (number of utterances)", ylabel="Speaker")
        number = manifest["emotion"].value_counts()
        style.tell(
            figure,
            "utterances by speaker and emotion",
            title,
            facts=[size],
            stamps=captions.stamps_of_rows(manifest),
            numbers=", ".join(f"{name} {count:,}" for name, count in number.items()),
        )
    return figure


def support_speakers_figure(
    table: pd.DataFrame, title: str = "", marks: Sequence[str] = ()
) -> style.SuiteFigure:
    """Task accuracy with and without each speaker in the support, and the difference.

    Args:
        table: of `results.support.support_speakers`.
        title: above the figure.
        marks: stamps of the run (`captions.stamps`).

    Returns:
        The figure: accuracies on the left, the difference with its interval on the right, sorted.
        Beyond MANY speakers the extremes only.

    Raises:
        ValueError: an empty table.
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
        figure = style.new_figure(style.WIDE_COLUMN, 0.17 * len(table) + 0.8)
        left, right = figure.subplots(1, 2, sharey=True)
        _with_and_without(left, table, rows)
        right.axvline(0, color=style.QUIET, lw=0.8, ls=":")
        style.points(right, rows, table["difference"], table["low"], table["high"], ms=3.4)
        difference = table.rename(columns={"difference": "rate"})
        frames = [_keep_in_sight(right, difference, 0.0), _keep_in_sight(left, _both(table))]
        below += list(filter(None, dict.fromkeys(frames)))
        right.set_xlabel("With minus without (points)")
        right.tick_params(left=False)
        right.spines["left"].set_visible(False)
        names, known = _named(table["speaker"], ""), table["difference"].notna()
        if not known.all():
            below.append(
                f"Always in the support, so without a difference: {', '.join(names[~known])}."
            )
        told = names[known] + (100 * table["difference"][known]).map(" {:+.1f}".format)
        style.tell(
            figure,
            "support speakers",
            title,
            sentences=below,
            stamps=marks,
            numbers=f"With minus without, in points: {'; '.join(told)}.",
        )
    return figure


def _both(table: pd.DataFrame) -> pd.DataFrame:
    """Accuracies with and without the speakers, in one column `rate`, and their low and high."""
    sides = []
    for name in ("with", "without"):
        columns = [f"accuracy_{name}", f"{name}_low", f"{name}_high"]
        sides.append(table[columns].set_axis(["rate", "low", "high"], axis=1))
    return pd.concat(sides)


def _keep_in_sight(axes: Axes, table: pd.DataFrame, middle: float | None = None) -> str:
    """Give a few very long bars no room that all others need; what the caption says of it."""
    half = 100 * (table["high"] - table["low"]) / 2
    middle = 100 * table["rate"].median() if middle is None else middle
    reach = max(1.3 * (100 * table["rate"] - middle).abs().max(), 3 * half.median())
    if not half.max() > reach:  # NaN: no bars
        return ""
    axes.set_xlim(middle - reach, middle + reach)
    return "Bars that go to the frame are longer."


def _with_and_without(axes: Axes, table: pd.DataFrame, rows: np.ndarray) -> None:
    """Accuracies with the speaker (filled) and, below, without (hollow)."""
    for name, face, up in (("with", style.ACCENT, 0.14), ("without", "white", -0.14)):
        style.points(
            axes,
            rows + up,
            table[f"accuracy_{name}"],
            table[f"{name}_low"],
            table[f"{name}_high"],
            color=style.ACCENT,
            lw=0.7,
            ms=3.4,
            mfc=face,
            mew=0.8,
            label=f"{name} the speaker",
        )
    axes.set(xlabel="Task accuracy (%)", ylabel="Support speaker", ylim=(-0.6, len(table) - 0.4))
    axes.set_yticks(rows, _named(table["speaker"], table["tasks_with"].astype(str)))
    axes.legend(
        loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, handlelength=1, columnspacing=1
    )
