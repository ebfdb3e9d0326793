"""All methods of a study side by side: rates, intervals, and paired differences to one of them."""

import dataclasses
import pathlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from colab_utils import files
from colab_utils.csv_files import write_csv
from colab_utils.files import AnyPath
from colab_utils.results.comparison import UnpairedError, compare_runs, holm
from colab_utils.results.metrics import summarise
from colab_utils.results.predictions import PredictionError
from colab_utils.results.runs import Run
from colab_utils.settings import plain

METHOD_COLUMNS = (
    "method",
    "uar",
    "low",
    "high",
    "ci_unit",
    "wa",
    "macro_f1",
    "chance",
    "ece",
    "n_tasks",
    "n_speakers",
    "rule",
    "preset",
    "speaker_independence",
    "difference",
    "difference_low",
    "difference_high",
    "p",
    "p_holm",
    "n_contrasts",
    "test",
    "notes",
)
SETTINGS = "settings"  # the table of a run that `settings_table` makes
# what LaTeX's own fonts would print as another letter, or not at all
_LATEX = str.maketrans(
    {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", "→": r"$\rightarrow$"}
)
PUBLISHED_COLUMNS = ("task", "method", "k", "rate")


def methods_table(runs: Mapping[str, Run], baseline: str) -> pd.DataFrame:
    """Finished runs of the same tasks side by side.

    Args:
        runs: by the name to show, in the order of the rows.
        baseline: the run that differences are to.

    Returns:
        METHOD_COLUMNS, rates as fractions. difference: the UAR less that of `baseline`, on the same
        speakers and tasks, with 95 % interval, two-sided p and the name of the `test`
        (`comparison.compare`); NaN for the baseline itself. p_holm: corrected for the n_contrasts
        of the table (`with_holm`). notes: what has to be said of rates, intervals and p.

    Raises:
        PredictionError: an unknown baseline.
        UnpairedError: names the method that was not tested on the same utterances.
        RunError: a run that is not finished.
    """
    if baseline not in runs:
        raise PredictionError(
            f"no run named {baseline!r}: choose from {', '.join(runs) or 'none, there are no runs'}"
        )
    reference = runs[baseline]
    rows = []
    for name, run in runs.items():
        metrics = run.metrics
        row = {key: metrics[key] for key in METHOD_COLUMNS if key in metrics}
        row["method"] = name
        row["low"], row["high"] = metrics["uar_ci95"] or (np.nan, np.nan)
        row["rule"] = ", ".join(metrics["rule"])
        row["test"] = ""
        if name != baseline:
            try:
                found = compare_runs(run, reference)
            except UnpairedError as error:
                raise UnpairedError(f"{name} against {baseline}: {error}") from error
            limits = found["difference_ci95"] or (np.nan, np.nan)
            row["difference_low"], row["difference_high"] = limits
            row |= {key: found[key] for key in ("difference", "p", "test")}
            row["notes"] = list(dict.fromkeys([*row["notes"], *found["notes"]]))
        row["notes"] = "; ".join(row["notes"])
        rows.append(row)
    table = pd.DataFrame(rows, columns=list(METHOD_COLUMNS))
    numbers = ["ece", "difference", "difference_low", "difference_high", "p"]
    # A missing p is NaN, as everything that cannot be compared, and the error of missing scores.
    table[numbers] = table[numbers].astype(float)
    return with_holm(table)


@dataclasses.dataclass
class Pooled:
    """Finished runs that differ in the seed alone, as one for the tables of this module."""

    predictions: pd.DataFrame
    split: pd.DataFrame
    metrics: dict[str, Any]


def pool(runs: Sequence[Run]) -> Pooled:
    """Runs of several seeds as one: rates are means over seeds, the interval is of all.

    Args:
        runs: finished, of the same utterances and emotions.

    Raises:
        RunError: one that is not finished.
    """
    predictions = pd.concat([run.predictions for run in runs], ignore_index=True)
    split = pd.concat([run.split for run in runs], ignore_index=True)
    first = runs[0].metrics
    notes = [note for run in runs for note in run.metrics["notes"]]
    metrics = summarise(
        predictions,
        first["labels"],
        split=split,
        preset=first["preset"],
        speaker_independence=first["speaker_independence"],
        notes=list(dict.fromkeys(notes)),
        chance=first["chance"] if first.get("chance_given") else None,
    )
    return Pooled(predictions, split, metrics)


def with_holm(table: pd.DataFrame) -> pd.DataFrame:
    """A table of contrasts, or several below each other, with p_holm and n_contrasts made anew.

    Args:
        table: rows of `methods_table`.

    Returns:
        The same rows: p_holm holds for all contrasts of the table at once, n_contrasts of which
        have a p.
    """
    return table.assign(p_holm=holm(table["p"]), n_contrasts=table["p"].notna().sum())


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """The table of `methods_table` as text for a page: per cent, differences in points.

    Args:
        table: of `methods_table`.

    Returns:
        One row a method, with the methods as index; ECE is the expected calibration error.
    """
    rows = {}
    for row in table.itertuples():
        difference, its_interval = "", ""
        if not np.isnan(row.difference):
            difference = f"{100 * row.difference:+.1f}"
            its_interval = _span(row.difference_low, row.difference_high, "+")
        rows[row.method] = {
            "UAR %": f"{100 * row.uar:.1f}",
            "95 % interval": _span(row.low, row.high),
            "WA %": f"{100 * row.wa:.1f}",
            "chance %": f"{100 * row.chance:.1f}",
            "ECE %": "" if np.isnan(row.ece) else f"{100 * row.ece:.1f}",
            "difference": difference,
            "its 95 % interval": its_interval,
            "p": _p(row.p),
            f"p (Holm, {row.n_contrasts} contrasts)": _p(row.p_holm),
            "speakers": row.n_speakers,
            "rule": row.rule,
            "notes": row.notes,
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def _p(value: float) -> str:
    """A p to three digits; empty where there is none."""
    if np.isnan(value):
        return ""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _span(low: float, high: float, sign: str = "") -> str:
    """An interval in per cent, or "none"."""
    return "none" if np.isnan(low) else f"{100 * low:{sign}.1f} to {100 * high:{sign}.1f}"


def recalls_table(runs: Mapping[str, Run]) -> pd.DataFrame:
    """The recall of each emotion, in per cent, as text for a page.

    Args:
        runs: finished, by the name to show.

    Returns:
        A row a run, a column an emotion; empty where it does not occur in truth.
    """
    rows = {}
    for name, run in runs.items():
        recalls = run.metrics["per_class_recall"]
        rows[name] = {
            label: "" if recall is None else f"{100 * recall:.1f}"
            for label, recall in recalls.items()
        }
    return pd.DataFrame.from_dict(rows, orient="index").fillna("")


def settings_table(config: Any, fields: Iterable[dataclasses.Field]) -> pd.DataFrame:
    """Settings for a reader: a row each, with `setting`, `value` and `meaning` as texts.

    Args:
        config: the settings dataclass of a method.
        fields: those that decide something, such as of `settings.looked_at`.
    """
    rows = []
    for field in fields:
        value = plain(getattr(config, field.name))
        rows.append((field.name, str(value), field.metadata["help"]))
    return pd.DataFrame(rows, columns=["setting", "value", "meaning"])


def save_table(table: pd.DataFrame, path: AnyPath) -> list[pathlib.Path]:
    """Write a table as CSV and, for a paper, as LaTeX (booktabs; without the column `notes`).

    Args:
        table: such as of `readable`; what its index says becomes columns.
        path: without a suffix; a dot in its name is kept.

    Returns:
        The paths of `path`.csv and `path`.tex.

    Raises:
        DiskFullError: no room on the disk.
    """
    if not isinstance(table.index, pd.RangeIndex):
        names = [name or "run" for name in table.index.names]
        table = table.rename_axis(names).reset_index(allow_duplicates=True)
    written = write_csv(pathlib.Path(f"{path}.csv"), table.apply(_differences))
    lines = table.drop(columns="notes", errors="ignore").to_latex(
        index=False, escape=True, float_format="{:g}".format
    )
    lines = re.sub(r"(?<!\S)-(?=\d)", "$-$", lines.translate(_LATEX))  # a minus, no hyphen
    lines = f"% needs \\usepackage{{booktabs}}\n{lines}"
    return [written, files.write_text(pathlib.Path(f"{path}.tex"), lines)]


def _differences(column: pd.Series) -> pd.Series:
    """A column of `+1.2`, `-0.3` and empty cells as numbers, which need no guard in a CSV."""
    texts = column.astype(str)
    if not texts.str.match("[+-]").any():
        return column
    numbers = pd.to_numeric(texts.where(texts != ""), errors="coerce")
    return numbers if numbers.notna().equals(texts != "") else column


def published_table(published: Mapping[str, Any], task: str | None = None) -> pd.DataFrame:
    """The figures of a paper.

    Args:
        published: of `protocols.published.Protocol`.
        task: this one alone; None: all.

    Returns:
        PUBLISHED_COLUMNS, fractions; k is 0 where a figure has none. No rows where there are no
        figures.
    """
    rows = []
    for name, methods in published.get("values", {}).items():
        if task in (None, name):
            for method, figures in methods.items():
                by_k = figures if isinstance(figures, Mapping) else {0: figures}
                for k, rate in by_k.items():
                    rows.append((name, method, k, rate / 100))
    return pd.DataFrame(rows, columns=list(PUBLISHED_COLUMNS))
