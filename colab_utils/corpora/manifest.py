"""The manifest: one row an utterance, saying who said what with which emotion.

Everything else in the suite starts from this table.
"""

import pathlib
import re
import unicodedata
from collections.abc import Iterator

import numpy as np
import pandas as pd

from colab_utils.corpora.audio import EXTENSIONS
from colab_utils.corpora.tables.reading import ManifestError, read_table
from colab_utils.csv_files import without_guards, write_csv
from colab_utils.files import AnyPath, short_hash

TEXTS = (
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
)
NUMBERS = ("valence", "arousal", "dominance")
COLUMNS = TEXTS + NUMBERS
LOCAL_COLUMNS = ("file", "sample_rate", "channels", "duration", "audio_sha256")
GENDERS = ("", "female", "male")
_AUDIO = "|".join(map(re.escape, EXTENSIONS))
_PATH_FAULTS = {
    r"\A\Z": "is empty",
    r"\\": "has backslashes: write /",
    r"\A(?:/|[A-Za-z]:/)": "is absolute: give it relative to the corpus folder",
    r"(?:\A|/)\.\.?(?:/|\Z)": "has . or .. in it",
    rf"(?i)(?:{_AUDIO})\Z": "ends in an audio extension: leave it out",
}
_CONTROL = r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]"
_CONTROLS = "holds a line break or another control character: write it without"


def read_manifest(path: AnyPath) -> pd.DataFrame:
    """Read and validate a manifest CSV.

    Returns:
        Text columns str ("" = unknown); valence, arousal, dominance float64 (NaN = unknown).

    Raises:
        ManifestError: naming file, row, column and value, for anything that `validate` refuses.
    """
    return validate(without_guards(read_table(path)), source=str(path))


def numbers(column: pd.Series, source: str, name: str) -> pd.Series:
    """Text or numbers as float64, "" as NaN.

    Args:
        column: of a table.
        source: the table, for the error.
        name: of the column, for the error.

    Raises:
        ManifestError: naming the first cell that is not a finite number.
    """
    values = pd.to_numeric(column, errors="coerce").astype(float)
    bad = ~np.isfinite(values) & column.notna()
    bad &= column != ""
    written = column[bad].astype(str).str.strip()
    bad[bad] = written.ne("").to_numpy()
    refuse(bad, column, source, name, "is not a finite number")
    return values


def write_manifest(df: pd.DataFrame, path: AnyPath) -> pathlib.Path:
    """Write a manifest as CSV (UTF-8, LF, atomically); returns the path.

    Columns that depend on the copy at hand (LOCAL_COLUMNS) are left out.
    """
    return write_csv(path, validate(df).drop(columns=list(LOCAL_COLUMNS), errors="ignore"))


def validate(df: pd.DataFrame, source: str = "manifest") -> pd.DataFrame:
    """A copy of `df` with COLUMNS first, of the right types, and a fresh index.

    Args:
        df: the manifest; its further columns come behind.
        source: names the table in messages.

    Raises:
        ManifestError: for a missing column; text cells that are not str, or hold control characters
            (a line break, for one); an empty, repeated or ill-made `utt_id` (it is `<corpus>/...`);
            a `path` that is absolute, climbs out, has backslashes, is not NFC or ends in an audio
            extension; an `emotion` that is not lower case; a `gender` outside GENDERS; a number
            that is not finite.
    """
    missing = [column for column in COLUMNS if column not in df.columns]
    if missing:
        raise ManifestError(
            f"{source}: no column {', '.join(missing)}; found: {', '.join(map(str, df.columns))};"
            f" expected: {', '.join(COLUMNS)}"
        )
    further = [column for column in df.columns if column not in COLUMNS]
    df = df[[*COLUMNS, *further]].reset_index(drop=True)

    def check(bad: pd.Series, name: str, why: str) -> None:
        refuse(bad, df[name], source, name, why)

    for column in TEXTS:
        if pd.api.types.infer_dtype(df[column], skipna=False) not in ("string", "empty"):
            is_text = df[column].map(lambda cell: isinstance(cell, str)).astype(bool)
            check(~is_text, column, "is not text (unknown is the empty text)")
    for text_check in _text_checks(df):
        check(*text_check)
    for column in NUMBERS:
        df[column] = numbers(df[column], source, column)
    corpus, ids, path = df["corpus"], df["utt_id"], df["path"]
    check(_holds(corpus, r"\A\Z|/"), "corpus", "is empty or holds a slash")
    whole = [
        utt_id.startswith(f"{name}/") and len(utt_id) > len(name) + 1
        for utt_id, name in zip(ids, corpus, strict=True)
    ]
    check(~pd.Series(whole, dtype=bool), "utt_id", "is not of the form <corpus>/<name>")
    check(ids.duplicated(), "utt_id", "stands in an earlier row too")
    composed = [unicodedata.is_normalized("NFC", text) for text in path]
    check(~pd.Series(composed, dtype=bool), "path", "is not in Unicode form NFC")
    check(~df["gender"].isin(GENDERS), "gender", "is none of female, male or empty")
    ill = [name for name in df["emotion"].unique() if name != name.strip().lower()]
    check(df["emotion"].isin(ill), "emotion", "has spaces around it or capitals")
    return df


def refuse(bad: pd.Series, column: pd.Series, source: str, name: str, why: str) -> None:
    """Raise ManifestError for the first row where `bad` is true, saying how many more there are.

    The index of `column` is the row minus 2 (see ManifestError).
    """
    bad = bad.to_numpy(dtype=bool)
    if bad.any():
        first = int(bad.argmax())
        row = column.index[first] + 2
        more = f" (and {bad.sum() - 1} more rows)" if bad.sum() > 1 else ""
        raise ManifestError(
            f"{source}, row {row}, column {name}: {column.iloc[first]!r} {why}{more}"
        )


def text_faults(table: pd.DataFrame) -> pd.Series:
    """What is wrong with the texts of each row, where it makes no utterance.

    Args:
        table: any; of its columns TEXTS and `wav` are looked at.

    Returns:
        The first fault of each row with column and value; "" where nothing is wrong.
    """
    faults = pd.Series("", index=table.index)
    for bad, name, why in _text_checks(table):
        bad &= faults == ""
        faults[bad] = f"{name} " + table.loc[bad, name].map(repr) + f" {why}"
    return faults


def _text_checks(table: pd.DataFrame) -> Iterator[tuple[pd.Series, str, str]]:
    """Which rows are bad, in which column, and why; of texts, the paths last."""
    for name in table.columns.intersection(["wav", *TEXTS]):
        yield _holds(table[name], _CONTROL), name, _CONTROLS
    if "path" in table:
        for pattern, why in _PATH_FAULTS.items():
            yield _holds(table["path"], pattern), "path", why


def _holds(texts: pd.Series, pattern: str) -> pd.Series:
    """Where a pattern is found; each text is looked at once, however often it is there."""
    found = list(filter(re.compile(pattern).search, texts.unique()))
    return texts.isin(found)


def manifest_hash(df: pd.DataFrame) -> str:
    """12 hex digits that name the content of COLUMNS.

    The order of rows, further columns and the audio at hand do not matter.
    """
    rows = df[list(COLUMNS)].sort_values("utt_id")
    return short_hash(rows.to_csv(index=False, lineterminator="\n"))


def speaker_keys(df: pd.DataFrame) -> pd.Series:
    """`<corpus>/<speaker>` for each row, "" where the speaker is unknown.

    Every grouping by speaker uses these keys, since speakers' names repeat over corpora.
    """
    keys = df["corpus"] + "/" + df["speaker"]
    return keys.where(df["speaker"] != "", "").rename("speaker")


def empty_row(corpus: str, stem: str, **fields: str) -> dict[str, str | float]:
    """A row of COLUMNS for the utterance `<corpus>/<stem>`.

    Args:
        corpus: its name.
        stem: the path of the utterance.
        **fields: columns that are known; the rest is unknown.
    """
    row: dict[str, str | float] = dict.fromkeys(TEXTS, "")
    row.update(dict.fromkeys(NUMBERS, float("nan")))
    row["utt_id"] = f"{corpus}/{stem}"
    row["corpus"] = corpus
    row["path"] = stem
    row.update(fields)
    return row
