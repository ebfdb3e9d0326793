"""metrics.json from a table of predictions: rates, interval, and what has to be said about them.

Predictions are pooled over folds and tasks within a (seed, draw), then averaged over these: where a
speaker has one clip of an emotion, a UAR per fold is nearly noise.
"""

import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np
import pandas as pd

from colab_utils import files
from colab_utils.csv_files import read_csv
from colab_utils.results import calibration
from colab_utils.results.intervals import over_speakers
from colab_utils.results.predictions import (
    PredictionError,
    probability_columns,
    read_predictions,
    validate,
)
from colab_utils.results.rates import confusion, macro_f1, recalls, uar, wa


def cell_counts(
    predictions: pd.DataFrame, labels: Sequence[str], by: Sequence[str] = ("seed", "draw")
) -> np.ndarray:
    """Confusion counts of each group of predictions.

    Args:
        predictions: a table of `results.predictions`.
        labels: the emotions in a fixed order.
        by: the columns that make a group.

    Returns:
        int64 (groups, labels, labels), groups in sorted order.

    Raises:
        PredictionError: no predictions, a label that is not in `labels`.
    """
    if predictions.empty:
        raise PredictionError("there are no predictions to evaluate")
    counts = []
    for _, part in predictions.groupby(list(by), sort=True):
        counts.append(confusion(part["true"], part["pred"], labels))
    return np.stack(counts)


def mean_rate(rate: Callable[[np.ndarray], np.ndarray], counts: np.ndarray) -> float:
    """The mean of a rate such as `rates.uar` over counts (groups, labels, labels)."""
    return float(np.mean(rate(counts)))


def summarise(
    predictions: pd.DataFrame,
    labels: Sequence[str],
    *,
    split: pd.DataFrame | None = None,
    preset: str = "",
    speaker_independence: str = "not checked",
    notes: Sequence[str] = (),
    chance: float | None = None,
) -> dict:
    """Everything in metrics.json, as plain JSON values; rates are fractions.

    Args:
        predictions: a table of `results.predictions`.
        labels: the emotions in a fixed order.
        split: who supports which episode (`intervals.leave_out`), where there are episodes or draws
            of support sets; None: unknown.
        preset: carried along.
        speaker_independence: carried along.
        notes: carried along; what the numbers call for (an absent label, few speakers) is added.
        chance: the rate of guessing where fewer labels compete than occur, such as 1/3 in 3-way
            tasks over six emotions; `majority` is then counted within each task, too.

    Returns:
        The content of metrics.json.

    Raises:
        PredictionError: a table without rows or that `validate` refuses, a chance that is no rate.
    """
    table = validate(predictions, labels)
    cells = cell_counts(table, labels)
    interval, remarks = _interval(table, labels, split)
    recall_of = _mean_recalls(cells, labels)
    absent = [label for label, recall in recall_of.items() if recall is None]
    if absent:
        remarks.append(f"no true utterance of {', '.join(absent)}: left out of the means")
    return {
        "uar": mean_rate(uar, cells),
        **interval,
        "wa": mean_rate(wa, cells),
        "macro_f1": mean_rate(macro_f1, cells),
        **_of_scores(table),
        "per_class_recall": recall_of,
        "fold_mean_uar": mean_rate(uar, cell_counts(table, labels, ("seed", "draw", "fold"))),
        "labels": list(labels),
        "labels_absent": absent,
        "chance": _chance(chance, len(labels) - len(absent)),
        "chance_given": chance is not None,
        "majority": _majority(table, within_tasks=chance is not None),
        **_about(table),
        "confusion": cells.sum(axis=0).tolist(),
        "method": sorted(set(table["method"])),
        "rule": sorted(set(table["rule"])),
        "preset": preset,
        "speaker_independence": speaker_independence,
        "notes": list(dict.fromkeys([*notes, *remarks])),
    }


def _interval(
    table: pd.DataFrame, labels: Sequence[str], split: pd.DataFrame | None
) -> tuple[dict, list[str]]:
    """The entries of the 95 % interval, and what has to be said about it."""
    leaving, unit, remarks = over_speakers(table, labels, split)
    found = {"uar_ci95": None, "ci_unit": unit, "ci_df": None}
    if leaving is None:
        return found, remarks
    estimate = leaving.estimate()
    limits = estimate.limits(0.0, 1.0)
    if limits is None:
        return found, [*remarks, f"no interval: every {unit} has the same rates"]
    return found | {"uar_ci95": limits, "ci_df": estimate.freedom}, remarks


def _of_scores(table: pd.DataFrame) -> dict[str, float | None]:
    """Calibration error and area under risk and coverage; None where a method has no scores."""
    if not probability_columns(table):
        return {"ece": None, "aurc": None}
    return {
        "ece": calibration.calibration_error(calibration.reliability(table)),
        "aurc": calibration.risk_under_coverage(table),
    }


def _mean_recalls(cells: np.ndarray, labels: Sequence[str]) -> dict[str, float | None]:
    """The recall of each label, averaged over cells; None where it does not occur in truth."""
    found = {}
    for label, values in zip(labels, recalls(cells).T, strict=True):
        occurs = not np.isnan(values).all()
        found[label] = float(np.nanmean(values)) if occurs else None
    return found


def _chance(given: float | None, n_occurring: int) -> float:
    """The rate of guessing: as given, else one over the labels that occur."""
    if given is None:
        return 1 / n_occurring
    if not 0 < given <= 1:
        raise PredictionError(
            f"chance = {given}: a rate above 0 and up to 1 is needed, such as 1 / ways"
        )
    return float(given)


def _majority(table: pd.DataFrame, within_tasks: bool) -> float:
    """The accuracy of always naming the commonest label, of all or of each task."""
    if not within_tasks:
        commonest = table["true"].value_counts().max()
    else:
        task = ["seed", "fold", "draw", "task"]
        of_label = table.groupby([*task, "true"]).size()
        commonest = of_label.groupby(task).max().sum()
    return float(commonest / len(table))


def _about(table: pd.DataFrame) -> dict:
    """How many there are of what."""
    known = table[table["speaker"] != ""]
    return {
        "n": len(table),
        "n_utterances": table["utt_id"].nunique(),
        "n_speakers": len(known[["corpus", "speaker"]].drop_duplicates()),
        "n_folds": table["fold"].nunique(),
        "n_draws": table["draw"].nunique(),
        "n_tasks": table["task"].nunique(),
        "seeds": sorted(set(table["seed"].tolist())),
    }


def _is_rate(value: Any) -> bool:
    return isinstance(value, (int, float)) and 0 <= value <= 1


def _is_rate_or_none(value: Any) -> bool:
    return value is None or _is_rate(value)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and value >= 0


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _is_interval(value: Any) -> bool:
    if not isinstance(value, list):
        return value is None
    return len(value) == 2 and all(map(_is_rate, value))


def _are_recalls(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    return all(map(_is_rate_or_none, value.values()))


# What every reader of metrics.json relies on.
_NEEDED = {
    **dict.fromkeys(("uar", "wa", "macro_f1", "chance", "majority"), _is_rate),
    # files of an earlier version lack these
    **dict.fromkeys(("ece", "aurc"), _is_rate_or_none),
    **dict.fromkeys(("n", "n_speakers"), _is_count),
    **dict.fromkeys(("ci_unit", "preset", "speaker_independence"), _is_text),
    **dict.fromkeys(("labels", "method", "rule", "notes"), _are_texts),
    "uar_ci95": _is_interval,
    "per_class_recall": _are_recalls,
}


def read_metrics(path: str | os.PathLike) -> dict:
    """The content of a metrics.json.

    Args:
        path: of the file.

    Returns:
        What `summarise` gave when it was written.

    Raises:
        PredictionError: foreign; names the file and the first key that is missing or holds
            something else.
        ValueError: torn; names the file.
    """
    metrics = files.read_json(path)
    if not isinstance(metrics, dict):
        raise PredictionError(f"{path} is foreign: it holds no rates by name")
    for name, is_good in _NEEDED.items():
        if not is_good(metrics.get(name)):
            raise PredictionError(
                f"{path} is foreign, or of another version: {name} is {metrics.get(name)!r:.60}"
            )
    return metrics


def recompute(run_folder: str | os.PathLike) -> dict:
    """Make metrics.json of a run again from its predictions.csv.

    Labels, notes and a given chance are those that metrics.json states. Anyone can compare the
    result with the stored file: they agree to 1e-12.

    Args:
        run_folder: holds predictions.csv and metrics.json, and split.csv, where there are episodes.

    Returns:
        The content of metrics.json.

    Raises:
        PredictionError: predictions.csv or metrics.json cannot be used; names the file.
        ValueError: metrics.json is torn; names the file.

    Example:
        >>> recompute("out/runs/baselines/emodb-logmel-logistic-0123456789ab")["uar"]
    """
    folder = pathlib.Path(run_folder)
    stored = read_metrics(folder / "metrics.json")
    split = None
    if (folder / "split.csv").exists():
        split = read_split(folder / "split.csv")
    return summarise_again(read_predictions(folder / "predictions.csv"), stored, split)


def summarise_again(
    predictions: pd.DataFrame, stored: Mapping[str, Any], split: pd.DataFrame | None
) -> dict:
    """`summarise` predictions of a run, all or some, with what its metrics.json says of it.

    Args:
        predictions: a table of `results.predictions`.
        stored: the content of metrics.json.
        split: as of `summarise`.

    Returns:
        The content of a metrics.json.

    Raises:
        PredictionError: as of `summarise`.
    """
    # What is said of an interval is said anew.
    notes = [note for note in stored["notes"] if "interval" not in note]
    # Files written before chance could be given lack `chance_given`.
    chance = stored["chance"] if stored.get("chance_given") else None
    return summarise(
        predictions,
        stored["labels"],
        split=split,
        preset=stored["preset"],
        speaker_independence=stored["speaker_independence"],
        notes=notes,
        chance=chance,
    )


def read_split(path: str | os.PathLike | BinaryIO) -> pd.DataFrame:
    """The split.csv of a run, folds and speakers as text. Raises ValueError for a torn one."""
    return read_csv(path, dtype=dict.fromkeys(("fold", "utt_id", "speaker", "role"), str))
