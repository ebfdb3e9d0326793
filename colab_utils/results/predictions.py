"""The table of predictions: the one file from which every metric, interval and figure of a run can
be made again.
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Sequence

import numpy as np
import pandas as pd

from colab_utils import files

PREDICTION_COLUMNS = (
    "method",
    "rule",
    "seed",
    "fold",
    "draw",
    "task",
    "utt_id",
    "corpus",
    "speaker",
    "true",
    "pred",
)
KEY_COLUMNS = ("method", "rule", "seed", "fold", "draw", "task", "utt_id")
_INTEGERS = ("seed", "draw", "task")
_TEXTS = tuple(name for name in PREDICTION_COLUMNS if name not in _INTEGERS)


class PredictionError(ValueError):
    """A table of predictions that cannot be evaluated; the message names the column, row or label."""


def predictions_table(
    rows: pd.DataFrame,
    pred: Sequence[str],
    labels: Sequence[str],
    probabilities: np.ndarray | None = None,
    *,
    method: str,
    rule: str,
    seed: int,
    fold: str,
    draw: int = 0,
    task: int = 0,
) -> pd.DataFrame:
    """Predictions of one fold (or task) as a table with PREDICTION_COLUMNS, then one column
    p_<emotion> per label.

    rows: manifest rows of the tested utterances (utt_id, corpus, speaker, emotion); pred: the
    predicted emotion of each row;
    probabilities: (rows, labels) in [0, 1] with rows that sum to 1, in the order of `labels`, or
    None where a method has no scores. Raises PredictionError.
    """
    table = pd.DataFrame(
        {
            "method": method,
            "rule": rule,
            "seed": int(seed),
            "fold": str(fold),
            "draw": int(draw),
            "task": int(task),
            "utt_id": rows["utt_id"].to_numpy(),
            "corpus": rows["corpus"].to_numpy(),
            "speaker": rows["speaker"].to_numpy(),
            "true": rows["emotion"].to_numpy(),
            "pred": np.asarray(pred, dtype=object),
        }
    )
    if probabilities is not None:
        values = np.asarray(probabilities, dtype=np.float64)
        if values.shape != (len(table), len(labels)):
            raise PredictionError(
                f"probabilities have shape {values.shape}: ({len(table)}, {len(labels)}) is needed,"
                " one column per label"
            )
        table = pd.concat(
            [table, pd.DataFrame(values, columns=[f"p_{label}" for label in labels])], axis=1
        )
    return validate(table, labels)


def probability_columns(predictions: pd.DataFrame) -> list[str]:
    """The names of the p_<emotion> columns, in the order of the table."""
    return [name for name in predictions.columns if name.startswith("p_")]


def validate(predictions: pd.DataFrame, labels: Sequence[str] | None = None) -> pd.DataFrame:
    """Return the table with its columns in order and typed; raise PredictionError, in one sentence,
    where it cannot be used.

    Checked: the columns, integers in seed/draw/task, an utterance at most once per KEY_COLUMNS,
    `true` and `pred` within `labels` (if given), probabilities within [0, 1] that sum to 1 (to
    1e-3).
    """
    missing = [name for name in PREDICTION_COLUMNS if name not in predictions.columns]
    if missing:
        raise PredictionError(f"the predictions lack the column(s) {', '.join(missing)}")
    scores = probability_columns(predictions)
    foreign = set(predictions.columns) - set(PREDICTION_COLUMNS) - set(scores)
    if foreign:
        raise PredictionError(
            f"the predictions hold unknown column(s): {', '.join(sorted(foreign))}"
        )
    table = predictions.loc[:, [*PREDICTION_COLUMNS, *scores]].reset_index(drop=True)
    table = table.astype(dict.fromkeys(_INTEGERS, "int64") | dict.fromkeys(scores, "float64"))
    for name in _TEXTS:
        table[name] = table[name].astype(str).astype(object)
    twice = table.duplicated(list(KEY_COLUMNS))
    if twice.any():
        row = table[twice].iloc[0]
        raise PredictionError(
            f"{row.utt_id} is predicted twice in seed {row.seed}, fold {row.fold}, draw {row.draw},"
            f" task {row.task}"
        )
    _check_labels(table, labels)
    _check_probabilities(table, scores)
    return table


def _check_labels(table: pd.DataFrame, labels: Sequence[str] | None) -> None:
    """Raise PredictionError for the first label in `true` or `pred` that is not in `labels`."""
    for column in ("true", "pred") if labels is not None else ():
        unknown = ~table[column].isin(list(labels))
        if unknown.any():
            row = table[unknown].iloc[0]
            raise PredictionError(
                f"{row.utt_id} has {column} = {row[column]!r}, which is not among the labels"
                f" {', '.join(labels)}"
            )


def _check_probabilities(table: pd.DataFrame, scores: list[str]) -> None:
    """Raise PredictionError for the first row whose p_ columns are no distribution."""
    if not scores or table.empty:
        return
    values = table[scores].to_numpy()
    bad = ~((values >= -1e-9).all(axis=1) & (np.abs(values.sum(axis=1) - 1) < 1e-3))
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise PredictionError(
            f"{table.utt_id[row]} has scores {values[row].tolist()}: probabilities that sum to 1"
            " are needed"
        )


def write_predictions(predictions: pd.DataFrame, path: str | os.PathLike) -> pathlib.Path:
    """Validate and write as CSV, atomically; floats come back bit for bit with `read_predictions`."""
    return files.write_csv(path, validate(predictions))


def read_predictions(path: str | os.PathLike) -> pd.DataFrame:
    """Read and validate a predictions.csv. Raises PredictionError that names the file."""
    types = dict.fromkeys(_TEXTS, str)
    try:
        table = pd.read_csv(path, dtype=types, keep_default_na=False, float_precision="round_trip")
        return validate(table)
    except (
        PredictionError,
        pd.errors.ParserError,
        pd.errors.EmptyDataError,
        UnicodeDecodeError,
        ValueError,
    ) as error:
        raise PredictionError(f"{path}: {error}") from error


def check_one_rule(predictions: pd.DataFrame, name: str = "the table") -> None:
    """Raise PredictionError for a table without rows, and for one of several methods or decision
    rules, which have no rate in common.
    """
    if predictions.empty:
        raise PredictionError(
            f"{name} has no predictions: there is nothing to draw; run the method first"
        )
    kinds = predictions[["method", "rule"]].drop_duplicates().agg(" / ".join, axis=1)
    if len(kinds) > 1:
        raise PredictionError(
            f"{name} holds several methods or rules ({'; '.join(kinds)}): choose one, such as"
            " predictions[predictions.rule == ...]"
        )
