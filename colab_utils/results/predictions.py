"""The table of predictions: metrics, intervals and figures of a run follow from this one file."""

import os
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from colab_utils.csv_files import plain_columns, read_csv, write_csv

KEY_COLUMNS = ("method", "rule", "seed", "fold", "draw", "task", "utt_id")
PREDICTION_COLUMNS = (*KEY_COLUMNS, "corpus", "speaker", "true", "pred")
FILM = "film"  # a column besides, where the corpus has films
_INTEGERS = ("seed", "draw", "task")
_TEXTS = tuple(name for name in (*PREDICTION_COLUMNS, FILM) if name not in _INTEGERS)


class PredictionError(ValueError):
    """A table of predictions that cannot be used; the message names the column, row or label."""


def predictions_table(
    rows: pd.DataFrame,
    pred: Sequence[str],
    labels: Sequence[str],
    probabilities: np.ndarray,
    *,
    method: str,
    rule: str,
    seed: int,
    fold: str,
    draw: int | np.ndarray = 0,
) -> pd.DataFrame:
    """Predictions of one fold as a table.

    Args:
        rows: manifest rows of the tested utterances (utt_id, corpus, speaker, emotion).
        pred: the predicted emotion of each row.
        labels: the emotions in a fixed order.
        probabilities: (rows, labels) in [0, 1]; each row sums to 1.
        method: its name.
        rule: how the test set was used, such as "inductive".
        seed: of the method.
        fold: of the protocol.
        draw: of the support set; of each row, where there are several.

    Returns:
        PREDICTION_COLUMNS, then one column p_<emotion> for each label.

    Raises:
        PredictionError: probabilities of another shape, and all that `validate` refuses.
    """
    table = pd.DataFrame(
        {
            "method": method,
            "rule": rule,
            "seed": int(seed),
            "fold": str(fold),
            "draw": draw,
            "task": 0,
            "utt_id": rows["utt_id"].to_numpy(),
            "corpus": rows["corpus"].to_numpy(),
            "speaker": rows["speaker"].to_numpy(),
            "true": rows["emotion"].to_numpy(),
            "pred": np.asarray(pred, dtype=object),
        }
    )
    if probabilities.shape != (len(table), len(labels)):
        raise PredictionError(
            f"probabilities have shape {probabilities.shape}: ({len(table)}, {len(labels)}) is "
            "needed, one column per label"
        )
    for column, label in enumerate(labels):
        table[f"p_{label}"] = probabilities[:, column].astype(np.float64)
    return validate(table, labels)


def with_films(predictions: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """The same table with a column FILM, where the tested utterances are of dubbed films.

    Args:
        predictions: a table with utt_id.
        rows: the manifest rows of all these utterances.
    """
    if FILM not in rows or not (rows[FILM] != "").any():
        return predictions
    film_of = rows.set_index("utt_id")[FILM]
    return predictions.assign(**{FILM: predictions["utt_id"].map(film_of)})


def probability_columns(predictions: pd.DataFrame) -> list[str]:
    """The names of the p_<emotion> columns, in the order of the table."""
    return [name for name in predictions.columns if name.startswith("p_")]


def validate(predictions: pd.DataFrame, labels: Sequence[str] | None = None) -> pd.DataFrame:
    """Check a table of predictions, and put its columns in order.

    Args:
        predictions: PREDICTION_COLUMNS, FILM where there are films, and, where a method has scores,
            p_<emotion>.
        labels: the emotions that may occur; None: any.

    Returns:
        A typed copy with a fresh index.

    Raises:
        PredictionError: a missing or unknown column, an utterance twice under one KEY_COLUMNS, a
            label outside `labels`, probabilities outside [0, 1] or with another sum than 1 (to
            1e-3).
        ValueError: seed, draw or task that are no integers.
    """
    missing = [name for name in PREDICTION_COLUMNS if name not in predictions]
    if missing:
        raise PredictionError(f"the predictions lack the column(s) {', '.join(missing)}")
    scores = probability_columns(predictions)
    foreign = set(predictions.columns) - {*PREDICTION_COLUMNS, FILM, *scores}
    if foreign:
        raise PredictionError(
            f"the predictions hold unknown column(s): {', '.join(sorted(foreign))}"
        )
    films = [FILM] if FILM in predictions else []
    table = predictions[[*PREDICTION_COLUMNS, *films, *scores]].reset_index(drop=True)
    _set_types(table, scores)
    _check_keys(table)
    if labels is not None:
        _check_labels(table, labels)
    _check_probabilities(table, scores)
    return table


def _set_types(table: pd.DataFrame, scores: list[str]) -> None:
    """Give each column its type; what has it already, as all of a CSV has, is left alone."""
    types = dict.fromkeys(_INTEGERS, "int64") | dict.fromkeys(scores, "float64")
    for name, dtype in types.items():
        if table[name].dtype != dtype:
            table[name] = table[name].astype(dtype)
    for name in table.columns.intersection(_TEXTS):
        column = table[name]
        are_texts = pd.api.types.infer_dtype(column, skipna=False) == "string"
        if column.dtype != object or not are_texts:
            table[name] = column.astype(str).astype(object)


def _check_keys(table: pd.DataFrame) -> None:
    """Raise PredictionError for the first row whose KEY_COLUMNS stand in a row above."""
    columns = [table[name].tolist() for name in KEY_COLUMNS]
    if len(set(zip(*columns, strict=True))) == len(table):
        return
    row = table[table.duplicated(list(KEY_COLUMNS))].iloc[0]
    raise PredictionError(
        f"{row.utt_id} is predicted twice in seed {row.seed}, fold {row.fold}, draw {row.draw},"
        f" task {row.task}"
    )


def _check_labels(table: pd.DataFrame, labels: Sequence[str]) -> None:
    """Raise PredictionError for the first label in `true` or `pred` that is not in `labels`."""
    for column in ("true", "pred"):
        unknown = table[~table[column].isin(list(labels))]
        if len(unknown):
            row = unknown.iloc[0]
            raise PredictionError(
                f"{row.utt_id} has {column} = {row[column]!r}, which is not among the labels"
                f" {', '.join(labels)}"
            )


def _check_probabilities(table: pd.DataFrame, scores: list[str]) -> None:
    """Raise PredictionError for the first row whose p_ columns are no distribution."""
    if not scores:
        return
    values = table[scores].to_numpy()
    good = _are_distributions(values)
    if not good.all():
        row = int(good.argmin())
        raise PredictionError(
            f"{table.utt_id[row]} has scores {values[row].tolist()} by {table.method[row]}: "
            "probabilities that sum to 1 are needed"
        )


def _are_distributions(values: np.ndarray) -> np.ndarray:
    """Whether each row of (rows, labels) is one of probabilities, as bool (rows,)."""
    return (values >= -1e-9).all(axis=1) & (np.abs(values.sum(axis=1) - 1) < 1e-3)


def write_predictions(predictions: pd.DataFrame, path: str | os.PathLike) -> pathlib.Path:
    """Validate and write as CSV, atomically; `read_predictions` gives floats back bit for bit."""
    return write_csv(path, validate(predictions))


def read_predictions(path: str | os.PathLike) -> pd.DataFrame:
    """Read and validate a predictions.csv. Raises PredictionError that names the file."""
    types = dict.fromkeys(_TEXTS, str)
    try:
        return validate(read_csv(path, dtype=types))
    except (ValueError, OverflowError) as error:
        raise PredictionError(f"{path}: {error}") from error


def read_texts(path: str | os.PathLike) -> dict[str, Sequence[str]]:
    """The text columns of a predictions.csv, checked as `read_predictions` does, but faster.

    Args:
        path: the file.

    Returns:
        The values of each column by its name, at least those of PREDICTION_COLUMNS that are text.

    Raises:
        PredictionError: as `read_predictions`.
    """
    try:
        columns = plain_columns(pathlib.Path(path).read_bytes())
        if _are_sound(columns):
            return columns
    except (ValueError, OverflowError, OSError):
        pass  # what is wrong is told below
    table = read_predictions(path)
    return {name: table[name].tolist() for name in table.columns.intersection(_TEXTS)}


def _are_sound(columns: Mapping[str, Sequence[str]]) -> bool:
    """Whether `validate` would take the columns of a CSV.

    Raises ValueError or OverflowError for what is no number of its type.
    """
    scores = [name for name in columns if name.startswith("p_")]
    foreign = columns.keys() - {*PREDICTION_COLUMNS, FILM, *scores}
    if foreign or not columns.keys() >= set(PREDICTION_COLUMNS):
        return False
    keys = {name: columns[name] for name in KEY_COLUMNS}
    for name in _INTEGERS:
        whole = [int(text) for text in columns[name]]
        numbers = np.array(whole, dtype=np.int64)
        keys[name] = tuple(map(str, numbers.tolist()))
    # No cell of a plain CSV holds a comma.
    different = set(map(",".join, zip(*keys.values(), strict=True)))
    if len(different) < len(columns["utt_id"]):
        return False
    values = [list(map(float, columns[name])) for name in scores]
    return not scores or bool(_are_distributions(np.array(values).T).all())


def check_one_rule(predictions: pd.DataFrame, name: str = "the table") -> None:
    """Refuse a table without rows, and one of several methods or rules, which share no rate.

    Raises:
        PredictionError: names the table, and the methods and rules that are there.
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
