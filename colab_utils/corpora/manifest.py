"""The manifest: one row an utterance, saying who said what with which emotion.

Everything else in the suite starts from this table.
"""

from __future__ import annotations

import os
import pathlib
import re
import unicodedata

import numpy as np
import pandas as pd

from colab_utils.corpora.audio import EXTENSIONS
from colab_utils.files import short_hash, write_csv

COLUMNS = (
    "utt_id",
    "corpus",
    "path",
    "speaker",
    "gender",
    "language",
    "session",
    "film",
    "text_id",
    "style",
    "emotion_raw",
    "emotion",
    "intensity",
    "valence",
    "arousal",
    "dominance",
)
NUMBERS = ("valence", "arousal", "dominance")
TEXTS = tuple(column for column in COLUMNS if column not in NUMBERS)
LOCAL_COLUMNS = ("file", "sample_rate", "channels", "duration", "audio_sha256")
GENDERS = ("", "female", "male")
_PATH_FAULTS = (
    (r"\A\Z", "is empty"),
    (r"\\", "has backslashes: write /"),
    (r"\A(?:/|[A-Za-z]:/)", "is absolute: give it relative to the corpus folder"),
    (r"(?:\A|/)\.\.?(?:/|\Z)", "has . or .. in it"),
    (
        rf"\.(?i:{'|'.join(extension[1:] for extension in EXTENSIONS)})\Z",
        "ends in an audio extension: leave it out",
    ),
)


class ManifestError(ValueError):
    """A manifest (or a user's table) that cannot be used; the message names the file, the row, the
    column and the value.

    Rows are counted as a spreadsheet does: the header is row 1, the first utterance is row 2.
    """


def read_manifest(path: str | os.PathLike) -> pd.DataFrame:
    """Read and validate a manifest CSV: text columns str ("" = unknown), valence, arousal,
    dominance float64 (NaN = unknown).

    Raises ManifestError, naming file, row, column and value, for anything `validate` refuses.
    """
    table = read_table(path)
    missing = [column for column in COLUMNS if column not in table.columns]
    if missing:
        raise ManifestError(
            f"{path}: no column {', '.join(missing)}; found: {', '.join(table.columns)}; expected:"
            f" {', '.join(COLUMNS)}"
        )
    for column in NUMBERS:
        table[column] = numbers(table[column], str(path), column)
    return validate(table, source=str(path))


def read_table(path: str | os.PathLike) -> pd.DataFrame:
    """A CSV as text, every cell str ("" where empty): UTF-8 with or without a byte-order mark;
    comma, semicolon, tab or bar between cells.

    The separator is the one that occurs most often in the header. Raises ManifestError when the
    file is missing, empty, not UTF-8 or torn.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise ManifestError(f"{path}: no such file")
    try:
        with open(path, encoding="utf-8-sig") as handle:
            header = handle.readline()
        table = pd.read_csv(
            path,
            sep=max(",;\t|", key=header.count),
            dtype=str,
            na_filter=False,
            encoding="utf-8-sig",
        )
    except UnicodeDecodeError as error:
        raise ManifestError(
            f"{path}: not UTF-8 text ({error.reason} at byte {error.start}); save it as CSV UTF-8"
        ) from error
    except (pd.errors.EmptyDataError, pd.errors.ParserError) as error:
        raise ManifestError(f"{path}: not a readable CSV ({str(error).strip()})") from error
    table.columns = [str(column).strip() for column in table.columns]
    return table


def numbers(column: pd.Series, source: str, name: str) -> pd.Series:
    """Text or numbers to float64, "" to NaN.

    Raises ManifestError naming the first cell that is not a finite number.
    """
    values = pd.to_numeric(column, errors="coerce").astype(float)
    bad = np.isinf(values)
    # a cell that gave NaN is empty, or NaN itself, or no number
    if not pd.api.types.is_numeric_dtype(column):
        bad |= values.isna() & ~column.isin(["", None, float("nan")])
        bad &= ~(column[bad].astype(str).str.strip() == "").reindex(column.index, fill_value=False)
    refuse(bad, column, source, name, "is not a finite number")
    return values


def write_manifest(df: pd.DataFrame, path: str | os.PathLike) -> pathlib.Path:
    """Write `df` as CSV (UTF-8, LF, atomically) without the columns that depend on the copy at hand
    (LOCAL_COLUMNS); returns the path.
    """
    return write_csv(path, validate(df).drop(columns=list(LOCAL_COLUMNS), errors="ignore"))


def validate(df: pd.DataFrame, source: str = "manifest") -> pd.DataFrame:
    """Return a copy of `df` with COLUMNS first and of the right types, further columns behind, and
    a fresh index.

    `source` names the table in messages. Raises ManifestError for: a missing column; text cells
    that are not str; an empty, repeated or ill-made `utt_id` (it is `<corpus>/...`); a `path` that
    is absolute, climbs out, has backslashes, is not NFC or ends in an audio extension; an `emotion`
    that is not lower case; a `gender` outside GENDERS; a number that is not finite.
    """
    missing = [column for column in COLUMNS if column not in df.columns]
    if missing:
        raise ManifestError(
            f"{source}: no column {', '.join(missing)}; found: {', '.join(map(str, df.columns))}"
        )
    df = df[[*COLUMNS, *(column for column in df.columns if column not in COLUMNS)]].reset_index(
        drop=True
    )
    for column in TEXTS:
        if pd.api.types.infer_dtype(df[column], skipna=False) not in ("string", "empty"):
            foreign = ~df[column].map(lambda cell: isinstance(cell, str)).astype(bool)
            refuse(foreign, df[column], source, column, "is not text (unknown is the empty text)")
    for column in NUMBERS:
        df[column] = numbers(df[column], source, column)
    _check_names(df, source)
    _check_paths(df["path"], source)
    refuse(
        ~df["gender"].isin(GENDERS),
        df["gender"],
        source,
        "gender",
        "is none of female, male or empty",
    )
    ill = [name for name in df["emotion"].unique() if name != name.strip().lower()]
    refuse(
        df["emotion"].isin(ill),
        df["emotion"],
        source,
        "emotion",
        "has spaces around it or capitals",
    )
    return df


def _check_names(df: pd.DataFrame, source: str) -> None:
    """Refuse utterance ids that are empty, repeated or do not begin with their corpus, and corpora
    without a name.
    """
    ids, corpus = df["utt_id"], df["corpus"]
    ill = [name for name in corpus.unique() if not name or "/" in name]
    refuse(corpus.isin(ill), corpus, source, "corpus", "is empty or holds a slash")
    starts = [
        utt_id.startswith(f"{name}/") and len(utt_id) > len(name) + 1
        for utt_id, name in zip(ids, corpus, strict=True)
    ]
    refuse(
        ~pd.Series(starts, index=df.index, dtype=bool),
        ids,
        source,
        "utt_id",
        "is not of the form <corpus>/<name>",
    )
    refuse(ids.duplicated(), ids, source, "utt_id", "stands in an earlier row too")


def _check_paths(path: pd.Series, source: str) -> None:
    """Refuse paths that another machine could not find: they are relative, POSIX, NFC and without
    extension.
    """
    faulty = re.compile("|".join(f"(?:{pattern})" for pattern, _ in _PATH_FAULTS)).search
    bad = np.array(
        [bool(faulty(text)) or not unicodedata.is_normalized("NFC", text) for text in path],
        dtype=bool,
    )
    first = path[bad].iloc[0] if bad.any() else ""
    why = next(
        (why for pattern, why in _PATH_FAULTS if re.search(pattern, first)),
        "is not in Unicode form NFC",
    )
    refuse(pd.Series(bad, index=path.index), path, source, "path", why)


def refuse(bad: pd.Series, column: pd.Series, source: str, name: str, why: str) -> None:
    """Raise ManifestError for the first row where `bad` is true, saying how many more there are."""
    bad = bad.to_numpy(dtype=bool)
    if bad.any():
        first = int(bad.argmax())
        more = f" (and {bad.sum() - 1} more rows)" if bad.sum() > 1 else ""
        raise ManifestError(
            f"{source}, row {first + 2}, column {name}: {column.iloc[first]!r} {why}{more}"
        )


def manifest_hash(df: pd.DataFrame) -> str:
    """12 hex digits that name the content of COLUMNS: row order, further columns and the audio at
    hand do not matter.
    """
    return short_hash(
        df[list(COLUMNS)].sort_values("utt_id").to_csv(index=False, lineterminator="\n")
    )


def speaker_keys(df: pd.DataFrame) -> pd.Series:
    """`<corpus>/<speaker>` for each row ("" where the speaker is unknown): what every grouping by
    speaker uses, since ids repeat over corpora.
    """
    return (df["corpus"] + "/" + df["speaker"]).where(df["speaker"] != "", "").rename("speaker")


def empty_row(corpus: str, stem: str, **fields: str) -> dict[str, str | float]:
    """A row of COLUMNS for the utterance `<corpus>/<stem>` (`path` is the stem) with `fields`
    filled in and the rest unknown.
    """
    row: dict[str, str | float] = {
        **dict.fromkeys(TEXTS, ""),
        **dict.fromkeys(NUMBERS, float("nan")),
    }
    return {**row, "utt_id": f"{corpus}/{stem}", "corpus": corpus, "path": stem, **fields}
