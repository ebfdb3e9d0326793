"""Tables by `utt_id` that were made elsewhere: CSV, NumPy's npz, Parquet."""

import pathlib
from collections.abc import Sequence

import numpy as np
import pandas as pd

from colab_utils.csv_files import read_csv
from colab_utils.files import AnyPath, unreadable

ENDINGS = (".csv", ".npz", ".parquet")


class TableError(ValueError):
    """A table that cannot be used; the message names file, row and value, and what to do."""


def is_table(name: str) -> bool:
    """Whether a name is that of such a file, by its ending; it may be missing."""
    return name.lower().endswith(ENDINGS)


def read_utterance_table(path: AnyPath) -> pd.DataFrame:
    """A table with a row an utterance.

    Args:
        path: a CSV or a Parquet file with a column utt_id, or an npz with an array utt_id (n,)
            beside others of n rows; one of two dimensions gives a column for each of its own.

    Returns:
        `utt_id`, str, all different, then the others as they are.

    Raises:
        TableError: it cannot be read, has no utt_id, or one twice; nothing is ever unpickled.

    Example:
        >>> table = read_utterance_table("emotion2vec.npz")
    """
    path = pathlib.Path(path).expanduser()
    try:
        table = _READERS[path.suffix.lower()](path)
    except TableError:
        raise
    except ImportError as error:
        raise TableError(
            f"{path}: Parquet needs pyarrow: run `pip install pyarrow`, or write a CSV or an npz"
        ) from error
    except Exception as error:  # torn files fail in many ways
        raise TableError(f"{path}: {unreadable(path, error)}; write it again") from error
    columns = list(table.columns)
    if "utt_id" not in columns:
        raise TableError(
            f"{path} has no utt_id, but {', '.join(map(str, columns[:5])) or 'nothing'}: add it, as"
            " in the manifest (<corpus>/<name>)"
        )
    table["utt_id"] = table["utt_id"].astype(str)
    wrong = table["utt_id"].isin(["", "nan", "None"]) | table["utt_id"].duplicated()
    if wrong.any():
        row = int(wrong.argmax())
        raise TableError(
            f"{path}: row {row + 1} has utt_id {table['utt_id'].iloc[row]!r}, which is empty or"
            " stands in a row above: keep one row an utterance"
        )
    return table[["utt_id", *(name for name in columns if name != "utt_id")]]


def finite_numbers(
    table: pd.DataFrame, columns: Sequence[str], path: AnyPath, dtype: type
) -> np.ndarray:
    """Columns of a table of `read_utterance_table` as numbers.

    Args:
        table: the table.
        columns: which of it; one at least.
        path: of its file, for the error.
        dtype: such as numpy.float32.

    Returns:
        (rows, columns) of that type, all finite.

    Raises:
        TableError: a value that is no finite number, by row and column.
    """
    found = []
    for name in columns:
        column = table[name]
        if not pd.api.types.is_numeric_dtype(column):
            column = pd.to_numeric(column.astype(str), errors="coerce")
        with np.errstate(over="ignore"):
            values = column.to_numpy(dtype=dtype)
        wrong = ~np.isfinite(values)
        if wrong.any():
            row = int(wrong.argmax())
            raise TableError(
                f"{path}: row {row + 1} ({table['utt_id'].iloc[row]}) has {name} ="
                f" {str(table[name].iloc[row])[:40]!r}: a finite number is needed; leave out this"
                " column or this row"
            )
        found.append(values)
    return np.stack(found, axis=1)


def _csv(path: pathlib.Path) -> pd.DataFrame:
    table = read_csv(path, dtype={"utt_id": str}, low_memory=False)
    if len(table.columns) and str(table.columns[0]).startswith("Unnamed:"):
        raise TableError(
            f"{path}: its first column has no name and may be numbers of rows: write it with"
            " to_csv(..., index=False)"
        )
    return table


def _parquet(path: pathlib.Path) -> pd.DataFrame:
    table = pd.read_parquet(path)
    return table.reset_index() if table.index.name == "utt_id" else table


def _npz(path: pathlib.Path) -> pd.DataFrame:
    with np.load(path, allow_pickle=False) as content:
        names = content.files
        if "utt_id" not in names:
            return pd.DataFrame(columns=names)
        parts = [_array(path, content, name) for name in names]
    rows = len(parts[names.index("utt_id")])
    for name, part in zip(names, parts, strict=True):
        if len(part) != rows:
            raise TableError(
                f"{path}: {name} has {len(part)} rows and utt_id {rows}: save one row an utterance"
            )
    return pd.concat(parts, axis=1)


def _array(path: pathlib.Path, content: np.lib.npyio.NpzFile, name: str) -> pd.DataFrame:
    """One array as columns. Raises TableError."""
    try:
        values = content[name]
    except ValueError as error:
        raise TableError(
            f"{path}: {name} holds Python objects, which are not read: save numbers, or texts as"
            " numpy.array(..., dtype=str)"
        ) from error
    if values.ndim not in (1, 2):
        raise TableError(
            f"{path}: {name} has shape {values.shape}: one row an utterance is needed, (n,) or (n,"
            " numbers)"
        )
    if values.ndim == 1:
        return pd.DataFrame({name: values})
    return pd.DataFrame(
        values, columns=[f"{name}_{column:04d}" for column in range(values.shape[1])]
    )


_READERS = {".csv": _csv, ".npz": _npz, ".parquet": _parquet}
