"""Rates of groups of utterances, by gender, language or any column of the manifest."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from IPython.display import display
from matplotlib.axes import Axes

from colab_utils.corpora.manifest import ManifestError
from colab_utils.corpora.parsers import rows_of_names
from colab_utils.display import captions, style
from colab_utils.results.comparison import NOT_KNOWN, compare_groups
from colab_utils.results.intervals import LEAST, units_of
from colab_utils.results.predictions import FILM, probability_columns
from colab_utils.results.runs import Run

MOST = 16  # groups in a figure
# Columns that name an utterance or speaker, or what was asked.
_NO_GROUPS = {"path", "file", "audio_sha256", "speaker", "emotion", "emotion_raw"}
_ABOUT = (
    "Point: UAR; bar: 95 % interval over its {unit}. Right: the group less all others together; a"
    " bar that holds 0 is no difference that could be told from luck. An interval needs {least}"
    " {unit}, that of a difference as many on both sides."
)
_WARNING = "A difference between groups of a few acted speakers says nothing about people at large."


def show_groups(
    runs: Run | Mapping[str, Run], by: str, rows: pd.DataFrame | None = None, title: str = ""
) -> None:
    """Display `groups_figure`, or say why there is none; and by which other columns there is one.

    Args:
        runs: a finished run, or several by name of one method on other corpora, which are pooled.
        by: a column of the manifest, such as "gender", "language" or "corpus".
        rows: the manifest of the tested utterances; None: what their names say.
        title: above the figure; default: the tested corpora and the method.

    Raises:
        ManifestError: no such column; lists those there are.

    Example:
        >>> show_groups(run, "gender", manifest)
    """
    named = {"": runs} if isinstance(runs, Run) else dict(runs)
    predictions, split = _pooled(named)
    tested = predictions["utt_id"].unique()
    if rows is None:
        rows = rows_of_names(tested)
    texts = rows.select_dtypes(exclude="number").drop_duplicates("utt_id").set_index("utt_id")
    facts = texts.reindex(tested).fillna("")
    numbers = facts.drop(columns=_NO_GROUPS, errors="ignore").nunique()
    found = list(numbers.index[numbers.between(2, MOST)])
    others = ", ".join(name for name in found if name != by) or "none"
    others = f"other columns for GROUP_BY: {others}"
    if by not in numbers:
        raise ManifestError(f"the manifest has no column {by!r} to group by; {others}")
    if by not in found:
        why = f"more than {MOST} groups cannot be read"
        if numbers[by] == 1:
            why = f"all are of one group ({facts[by].iloc[0] or NOT_KNOWN})"
        print(f"no figure by {by}: {why}; {others}")
        return
    metrics = next(iter(named.values())).metrics
    results = {name: (run.predictions, run.metrics) for name, run in named.items()}
    repeated = captions.repetitions(predictions)
    figure = groups_figure(
        compare_groups(predictions, metrics["labels"], facts[by], split),
        by,
        metrics["chance"],
        title or captions.subject(predictions),
        unit=units_of(predictions)[1],
        remarks=[*_apart(facts, by), f"Over {repeated}." if repeated else ""],
        marks=captions.stamps_of_all(results),
    )
    display(figure)
    print(others)


def _pooled(runs: Mapping[str, Run]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Predictions and splits of several runs as of one, their folds named after the run."""
    tables, splits = [], []
    for name, run in runs.items():
        table = run.predictions
        scores = probability_columns(table)
        table = table.drop(columns=scores)
        tables.append(table.assign(fold=name + table["fold"]))
        fold = name + run.split["fold"]
        splits.append(run.split.assign(fold=fold))
    predictions = pd.concat(tables, ignore_index=True)
    split = pd.concat(splits, ignore_index=True)
    return predictions.fillna({FILM: ""}), split


def _apart(facts: pd.DataFrame, by: str) -> list[str]:
    """What has to be said where groups are of other corpora, which may be all that differs."""
    if by == "corpus":
        return []
    of_groups = facts.groupby(facts[by].replace("", NOT_KNOWN))["corpus"].agg(set)
    if all(corpora == of_groups.iloc[0] for corpora in of_groups):
        return []
    told = []
    for name, corpora in of_groups.items():
        told.append(f"{name} {captions.corpora('+'.join(sorted(corpora)))}")
    return [f"The groups are of other corpora, which may be all that differs: {'; '.join(told)}."]


def groups_figure(
    table: pd.DataFrame,
    by: str,
    chance: float,
    title: str = "",
    unit: str = "speaker",
    remarks: Sequence[str] = (),
    marks: Sequence[str] = (),
) -> style.SuiteFigure:
    """A row a group: its UAR with interval and, right, the difference to all others together.

    Args:
        table: of `comparison.compare_groups`.
        by: the column that makes the groups.
        chance: the rate of guessing, a fraction.
        title: above the figure.
        unit: what the intervals are over.
        remarks: further sentences of the caption.
        marks: stamps of the run (`captions.stamps`).

    Returns:
        The figure.
    """
    rows = np.arange(len(table))[::-1]
    with style.suite_style():
        figure = style.new_figure(style.ONE_COLUMN, 0.4 * len(table) + 0.5)
        left, right = figure.subplots(1, 2, sharey=True)
        style.guess(left, chance)
        right.axvline(0, color=style.QUIET, lw=0.8, ls=":", zorder=0)
        rates = _column(left, rows, table, "uar", "")
        differences = _column(right, rows, table, "difference", "+")
        left.set(
            xlabel="UAR (%)",
            ylabel=by.replace("_", " ").capitalize(),
            ylim=(-0.6, len(table) - 0.2),
        )
        left.set_yticks(rows, _names(table), fontsize=style.LABEL, va="center")
        right.set(xlabel="Less others (points)")
        right.tick_params(left=False)
        right.spines["left"].set_visible(False)
        told = table["group"] + " " + rates + ", less all others " + differences
        notes = dict(zip(table["group"], table["notes"], strict=True))
        said = [f"{sentence[:1].upper()}{sentence[1:]}." for sentence in captions.shared(notes)]
        about = _ABOUT.format(unit=f"{unit}s", least=LEAST)
        style.tell(
            figure,
            f"UAR by {by}",
            title,
            sentences=[about, *said, *remarks, _WARNING],
            stamps=marks,
            numbers=f"In %, differences in points: {'; '.join(told)}; chance {100 * chance:.1f}.",
        )
    return figure


def _names(table: pd.DataFrame) -> pd.Series:
    """Each group, and below it its speakers and utterances."""
    speakers = table["n_speakers"].map("{:,} speakers".format)
    speakers = speakers.replace({"1 speakers": "1 speaker", "0 speakers": "speakers unknown"})
    return table["group"] + "\n" + speakers + "\n" + table["n_utterances"].map("{:,} utt.".format)


def _column(axes: Axes, rows: np.ndarray, table: pd.DataFrame, name: str, sign: str) -> pd.Series:
    """Points with their bars, and above each its numbers, which it gives."""
    low, high = table[f"{name}_low"], table[f"{name}_high"]
    style.points(axes, rows, table[name], low, high, ms=3.4)
    told = []
    for row, value, least, most in zip(rows, table[name], low, high, strict=True):
        span = f"{100 * least:{sign}.1f} to {100 * most:{sign}.1f}"
        if np.isnan(least):
            span = "no interval"
        text = f"{100 * value:{sign}.1f} ({span})"
        if np.isnan(value):
            text = "none"
        axes.annotate(
            text.replace("-", "\u2212"),
            (0.5, row),
            (0, 4.5),
            xycoords=axes.get_yaxis_transform(),
            textcoords="offset points",
            ha="center",
            fontsize=style.LABEL,
            bbox={"fc": "white", "ec": "none", "pad": 0.5},
        )
        told.append(text)
    axes.grid(axis="x", color="#e3e3e3", lw=0.5)
    axes.set_axisbelow(True)
    return pd.Series(told)
