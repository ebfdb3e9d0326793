"""Our CSVs: any text comes back as it was, and a spreadsheet runs none of it as a formula."""

import csv
import pathlib
import re
from collections.abc import Callable
from typing import Any, BinaryIO

import pandas as pd

from colab_utils.files import AnyPath, write_text

# What a spreadsheet runs as a formula, or may once it has dropped the white space before it;
# apostrophes count, so that a text which begins with them comes back whole, too.
_FORMULA = re.compile(r"'*(?:[\t\r\n]|\s*[=+\-@\uff1d\uff0b\uff0d\uff20])")
# Without these a cell of a CSV is what stands between two commas.
_NOT_PLAIN = (b'"', b"'", b"\r", b"\0")
# What UTF-8 or a CSV cannot hold.
_LOST = re.compile("[\0\ud800-\udfff]")


def write_csv(path: AnyPath, table: pd.DataFrame) -> pathlib.Path:
    """Write `table` as CSV (no index, LF), atomically; `read_csv` gives it back as it was.

    A text that a spreadsheet would run as a formula (`=`, `+`, `-` or `@` at its beginning), in a
    cell or as the name of a column, stands behind an apostrophe. Numbers are never changed.

    Args:
        path: the file.
        table: any.

    Returns:
        The path.

    Raises:
        ValueError: a text with NUL or half a character (a lone surrogate), which no CSV can hold;
            names the column.
        DiskFullError: no room on the disk.
    """
    table = _with_texts(table, _guarded)
    quoting = csv.QUOTE_MINIMAL
    for name, texts in _texts_of(table):
        for text in (str(name), *texts):
            if _LOST.search(text):
                raise ValueError(
                    f"{path}: {text!r} in column {name!r} holds NUL or half a character, which no "
                    "CSV can: rename it"
                )
            if "\r" in text:
                # Minimal quoting leaves it bare, and a reader takes it for the end of the row.
                quoting = csv.QUOTE_NONNUMERIC
    return write_text(path, table.to_csv(index=False, lineterminator="\n", quoting=quoting))


def read_csv(path: AnyPath | BinaryIO, **options: Any) -> pd.DataFrame:
    """Read what `write_csv` wrote: "" where a cell is empty, floats bit for bit.

    Args:
        path: the file, or one that is open in binary mode.
        **options: of `pandas.read_csv`, such as `dtype` for texts that look like numbers.

    Returns:
        The table, without the apostrophes before formulas.

    Raises:
        ValueError: it is no CSV.
        OSError: it cannot be read.
    """
    table = pd.read_csv(path, keep_default_na=False, float_precision="round_trip", **options)
    return without_guards(table)


def plain_columns(content: bytes) -> dict[str, tuple[str, ...]]:
    """The cells of a CSV by column where they are what stands between commas, as in most of ours.

    Many times faster than `read_csv` for small files, of which there may be thousands.

    Args:
        content: of a file that `write_csv` wrote.

    Returns:
        The texts of each column, numbers as they are written; {} where a cell is quoted or stands
        behind an apostrophe, where rows have several lengths, and where there are none: `read_csv`
        knows what to make of it.

    Raises:
        UnicodeDecodeError: it is no text.
    """
    if any(mark in content for mark in _NOT_PLAIN):
        return {}
    text = content.decode("utf-8").removesuffix("\n")
    lines = text.split("\n")
    commas = {line.count(",") for line in lines}
    # One list of texts: a list for each row would keep the garbage collector busy.
    cells = text.replace("\n", ",").split(",")
    width = len(cells) // len(lines)
    if len(commas) > 1 or len(lines) == 1 or len(set(cells[:width])) < width:
        return {}
    return {cells[place]: tuple(cells[place + width :: width]) for place in range(width)}


def without_guards(table: pd.DataFrame) -> pd.DataFrame:
    """A table of `write_csv` that was read by other means, without apostrophes before formulas."""
    return _with_texts(table, _bare)


def _guarded(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and _FORMULA.match(value) else value


def _bare(value: Any) -> Any:
    guarded = isinstance(value, str) and value.startswith("'") and _FORMULA.match(value)
    return value[1:] if guarded else value


def _texts_of(table: pd.DataFrame) -> list[tuple[Any, list[str]]]:
    """The name of each column and its different texts, none in one of numbers."""
    found = []
    for name, column in table.items():
        values = [] if pd.api.types.is_numeric_dtype(column) else column.unique()
        found.append((name, [value for value in values if isinstance(value, str)]))
    return found


def _with_texts(table: pd.DataFrame, change: Callable[[Any], Any]) -> pd.DataFrame:
    """A table with `change` made to the names of columns and to cells, where it changes any.

    The table given is not changed.
    """
    table = table.copy(deep=False)
    table.columns = [change(name) for name in table.columns]
    for place, (_, texts) in enumerate(_texts_of(table)):
        if any(change(text) != text for text in texts):
            table.isetitem(place, table.iloc[:, place].map(change))
    return table
