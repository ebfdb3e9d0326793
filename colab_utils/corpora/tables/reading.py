"""A table in a file, in any of the shapes in which spreadsheets leave it, as cells of text.

Read right, or refused in one sentence with the line: rows are never shifted or swallowed.
"""

import contextlib
import csv
import io
import itertools
import pathlib
import re
import zipfile
from collections import Counter
from collections.abc import Collection, Iterator

import pandas as pd

from colab_utils.corpora.tables.decoding import TextError, line_of, text_of
from colab_utils.files import AnyPath

_SEPARATORS = ",;\t|"
_LOOK, _FIRST = 50, 1 << 18  # rows, and characters they are looked for in, for the separator
_ZIP, _OLD_WORKBOOK = b"PK\3\4", b"\xd0\xcf\x11\xe0"
_TOLD = re.compile(r'"?sep=(.)"?(?:\r\n|\r|\n)')  # Excel's own first line
_Row = tuple[int, list[str]]  # the line where it begins, cells


class ManifestError(ValueError):
    """A manifest (or a user's table) that cannot be used: names file, row, column and value.

    Rows are counted as a spreadsheet does: the header is row 1, the first utterance is row 2.
    """


def read_table(path: AnyPath) -> pd.DataFrame:
    """A CSV as text, every cell str, "" where empty.

    UTF-8 with or without a byte-order mark, or UTF-16; comma, semicolon, tab or bar between cells,
    whichever fits header and rows.

    Raises:
        ManifestError: as `read_cells`, and for text in an older encoding.
    """
    table = read_cells(path)
    refuse_unread(table, path)
    return table.reset_index(drop=True)


def refuse_unread(table: pd.DataFrame, path: AnyPath) -> None:
    """Raise ManifestError for the first cell (or header) with bytes that `read_cells` left open."""
    headers = pd.Series(table.columns, index=[-1] * len(table.columns), dtype=object)
    for column in [headers, *(table[name] for name in table)]:
        with contextlib.suppress(UnicodeEncodeError):
            "".join(column).encode()
            continue
        bad = column.str.contains("[\udc80-\udcff]")
        if bad.any():
            cell = column[bad].iloc[0].encode("ascii", "surrogateescape")
            raise ManifestError(
                f"{path}, row {column.index[bad.to_numpy()][0] + 2}: {str(cell)[1:]} is not UTF-8,"
                " and in which older encoding it stands cannot be told: save it as CSV UTF-8"
            )


def read_cells(path: AnyPath, words: Collection[str] = ()) -> pd.DataFrame:
    """A table of any origin: CSV in its many shapes, or the one sheet of a workbook (.xlsx).

    Empty cells behind the last column are left out. Columns of one name are told apart by their
    place. What was taken for an older encoding is printed.

    Args:
        path: the file.
        words: what may be expected in cells, for the encoding (as in `text_of`).

    Returns:
        Cells str, "" where empty; the index is the row in a spreadsheet minus 2, so that it begins
        at 0 where nothing is left out. Bytes that could not be read are lone surrogates.

    Raises:
        ManifestError: for a file that is missing, empty, no text or workbook, or holds NUL; for a
            quotation mark that is not closed or swallows rows, and for a row with too many or too
            few cells: with the line.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise ManifestError(f"{path}: no such file")
    data = path.read_bytes()
    if data.startswith(_OLD_WORKBOOK):
        raise ManifestError(f"{path}: an old workbook (.xls): save it as .xlsx or CSV UTF-8")
    if data.startswith(_ZIP):
        return _table(_sheet_rows(path), path, "row")
    try:
        text, told = text_of(data, words)
    except TextError as error:
        raise ManifestError(f"{path}, {error}") from error
    if told not in ("", "?"):
        first = next(line for line in text.splitlines() if not line.isascii())
        print(
            f"{path} is not UTF-8; read as {told} ({first[:60]!r}): save it as CSV UTF-8 if that is"
            " wrong"
        )
    if not told and (plain := _plain(text)) is not None:
        return plain
    return _table(_csv_rows(text, path), path, "line")


def _plain(text: str) -> pd.DataFrame | None:
    """A table of which no row can be in doubt, as `_table` gives it but several times faster.

    Returns:
        None for a text with a quotation mark or a blank line, or where not every row has as many
        cells as the header, or where of its cells one is empty or there twice.
    """
    text = text.replace("\r\n", "\n").removesuffix("\n")
    if '"' in text or "\r" in text or _TOLD.match(text):
        return None
    separator = _separator(text)
    lines = text.split("\n")
    names = [name.strip() for name in lines[0].split(separator)]
    more = {line.count(separator) for line in lines} - {len(names) - 1}
    if more or len(names) < 2 or "" in names or len(set(names)) < len(names):
        return None
    table = pd.read_csv(
        io.StringIO("\n".join(lines[1:])),
        sep=separator,
        names=names,
        header=None,
        index_col=False,
        dtype=str,
        na_filter=False,
        quoting=csv.QUOTE_NONE,
        skip_blank_lines=False,
    )
    return table.astype(object)


def workbook(path: AnyPath) -> dict[str, pd.DataFrame]:
    """All sheets of a workbook by name, as text without header. Raises ManifestError."""
    try:
        return pd.read_excel(
            path, sheet_name=None, header=None, dtype=str, na_filter=False, engine="openpyxl"
        )
    except ImportError as error:
        raise ManifestError(
            f"{path}: reading .xlsx needs openpyxl: `pip install openpyxl`, or save it as CSV UTF-8"
        ) from error
    except (ValueError, KeyError, OSError, zipfile.BadZipFile) as error:
        raise ManifestError(
            f"{path}: a zip, but no workbook that can be read: save it as CSV UTF-8"
        ) from error


def _sheet_rows(path: pathlib.Path) -> Iterator[_Row]:
    """The rows of the one sheet of a workbook that holds any."""
    sheets = {name: sheet for name, sheet in workbook(path).items() if sheet.size}
    if len(sheets) > 1:
        raise ManifestError(
            f"{path}: {len(sheets)} sheets ({', '.join(sheets)}): save the one you mean as CSV"
            " UTF-8, or delete the others"
        )
    for sheet in sheets.values():
        yield from enumerate(sheet.to_numpy().tolist(), 1)


def _csv_rows(text: str, path: pathlib.Path) -> Iterator[_Row]:
    """The rows of a CSV. Raises ManifestError."""
    told = _TOLD.match(text)
    skipped = line_of(told.group()) - 1 if told else 0
    body = text[told.end() :] if told else text
    separator = told[1] if told else _separator(body)
    try:
        for line, cells in _parsed(body, separator):
            yield line + skipped, cells
    except _QuoteError as error:
        raise ManifestError(
            f"{path}, line {error.line + skipped}: a quotation mark that is not closed within its"
            f' cell ({error}): take it out, or write "" for one within a quoted cell'
        ) from error


class _QuoteError(ValueError):
    """A quotation mark that goes wrong, in the row that begins at `line`."""

    def __init__(self, line: int, why: str):
        super().__init__(why)
        self.line = line


def _parsed(text: str, separator: str) -> Iterator[_Row]:
    """The rows of a text, [] for a blank line; raises _QuoteError."""
    lines = list(io.StringIO(text, newline=""))
    spaced = _spaced(text, separator)
    reader = csv.reader(lines, delimiter=separator, strict=True, skipinitialspace=spaced)
    width, line = 0, 1
    try:
        for cells in reader:
            width = width or len(_trimmed(cells, 0))
            last = reader.line_num
            if last > line and _swallowed(lines[line - 1 : last], separator, width):
                why = f"the rows of lines {line} to {last} would be one"
                raise _QuoteError(line, why)
            yield line, cells
            line = last + 1
    except csv.Error as error:
        raise _QuoteError(line, str(error)) from error


def _spaced(text: str, separator: str) -> bool:
    """Whether cells in quotation marks have a space before these, which is none of the cell."""
    behind = re.escape(separator)
    cell = rf'(?:^|{behind}) +"[^"\r\n]*"(?:{behind}|\r?$)'
    return ' "' in text and re.search(cell, text, re.MULTILINE) is not None


def _swallowed(lines: list[str], separator: str, width: int) -> bool:
    """Whether each of the lines that quotation marks join would be a row of its own."""
    filled = [line for line in lines if line.strip(' \r\n"')]
    return len(filled) > 1 and all(line.count(separator) + 1 >= width > 1 for line in filled)


def _separator(text: str) -> str:
    """What stands between cells: the sign by which most rows have as many cells as the header."""
    fits = {}
    for separator in _SEPARATORS:
        widths, width = [], 0
        try:
            for _, cells in itertools.islice(_parsed(text[:_FIRST], separator), _LOOK):
                width = width or len(_trimmed(cells, 0))
                if not _blank(cells):
                    widths.append(len(_trimmed(cells, width)))
        except _QuoteError:
            pass  # told when the separator is known
        fits[separator] = (width > 1, widths.count(width) / max(1, len(widths)), width)
    if not any(wide for wide, _, _ in fits.values()):
        return max(_SEPARATORS, key=text.partition("\n")[0].count)
    return max(fits, key=fits.__getitem__)


def _trimmed(cells: list[str], width: int) -> list[str]:
    """The cells of a row without the empty ones behind the last that is not, or behind `width`."""
    last = len(cells)
    while last > width and not cells[last - 1].strip():
        last -= 1
    return cells[:last]


def _blank(cells: list[str]) -> bool:
    """Whether a row is a blank line."""
    return not cells or (len(cells) == 1 and not cells[0].strip())


def _table(rows: Iterator[_Row], path: pathlib.Path, unit: str) -> pd.DataFrame:
    """Rows as a table, the first as its header. Raises ManifestError for one that does not fit."""
    numbered = ((row, *one) for row, one in enumerate(rows, 1) if not _blank(one[1]))
    _, _, header = next(numbered, (1, 1, []))
    header = _trimmed(header, 0)
    if not header:
        raise ManifestError(f"{path}: not a readable CSV (no header in its first row)")
    width = len(header)
    kept, index = [], []
    for row, line, cells in numbered:
        if len(cells) != width:
            cells = _trimmed(cells, width)
        if len(cells) != width:
            raise ManifestError(
                f"{path}, {unit} {line}: {len(cells)} cell(s) ({' | '.join(cells)[:80]}), but the"
                f" header has {width}: put a cell that holds the separator between quotation marks,"
                " and leave none out"
            )
        kept.append(cells)
        index.append(row - 2)
    names = [name.strip() for name in header]
    seen = Counter(names)
    columns = [
        name if seen[name] == 1 else f"{name} (column {place})".strip()
        for place, name in enumerate(names, 1)
    ]
    return pd.DataFrame(kept, columns=columns, index=pd.Index(index, dtype=int), dtype=object)
