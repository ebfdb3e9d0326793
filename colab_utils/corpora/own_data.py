"""A user's own recordings: a table with any column names, a folder an emotion, or a ready split."""

import os
import pathlib
import unicodedata
from collections.abc import Mapping

import pandas as pd

from colab_utils.corpora.audio import EXTENSIONS
from colab_utils.corpora.decode import find_audio, nfc, without_extension
from colab_utils.corpora.emotions import WORDS
from colab_utils.corpora.manifest import (
    COLUMNS,
    NUMBERS,
    ManifestError,
    empty_row,
    numbers,
    read_table,
    refuse,
    text_faults,
)
from colab_utils.corpora.scan import Scan, Sieve, existing_folder
from colab_utils.files import AnyPath

OWN = "own"  # the name of the corpus
_GENDERS = {
    "f": "female",
    "female": "female",
    "w": "female",
    "woman": "female",
    "m": "male",
    "male": "male",
    "man": "male",
    "": "",
}
_MADE = ("utt_id", "corpus", "path", "emotion_raw")  # columns that no table names
_ENDINGS = ("", *EXTENSIONS, *(ending.upper() for ending in EXTENSIONS))


def from_csv(
    path: AnyPath,
    wav: str,
    emotion: str,
    speaker: str | None = None,
    root: AnyPath | None = None,
    cache: AnyPath | None = None,
    **columns: str,
) -> Scan:
    """The manifest of a CSV with any column names, with all usable audio decoded.

    Labels are lower-cased; plain English words such as "angry" become the suite's names. utt_id is
    `own/<path>`. Rows without label, with a line break in a name or with unusable audio become
    `.problems`. Without speakers it runs and says that speaker independence is unknown.

    Args:
        path: the CSV.
        wav: its column of audio files, with or without extension.
        emotion: its column of labels.
        speaker: its column of speakers, where known.
        root: what files are relative to (default: the folder of the CSV); absolute paths work too.
        cache: the CSV of `decode_rows`.
        **columns: further columns by the manifest's own names (`gender="sex"`, `arousal="act"`).

    Returns:
        The Scan; its corpus is "own".

    Raises:
        ManifestError: naming the columns found and expected, or the row and value that cannot be
            read.

    Example:
        >>> scan = from_csv("clips.csv", wav="file", emotion="label", speaker="who")
    """
    names = {"wav": wav, "emotion": emotion, "speaker": speaker, **columns}
    return _scan_table(_user_table(path, names, root), cache)


def from_folder(root: AnyPath, cache: AnyPath | None = None) -> Scan:
    """The manifest of a folder with a sub-folder for each emotion (`<emotion>/a.wav`).

    What lies deeper belongs to the same emotion. Speakers are unknown, which is said. Files beside
    the emotion folders become `.problems`.

    Args:
        root: the folder.
        cache: the CSV of `decode_rows`.

    Returns:
        The Scan; its corpus is "own".

    Raises:
        ManifestError: when there is no audio in sub-folders.

    Example:
        >>> scan = from_folder("recordings")  # recordings/angry/1.wav, recordings/sad/2.wav, ...
    """
    folder = existing_folder(root)
    found = find_audio(folder)
    files = [file for file in found.files if "/" in file]
    if not files:
        raise ManifestError(
            f"{folder}: no audio in sub-folders; one folder for each emotion is expected, such as"
            f" {folder.name}/anger/a.wav"
        )
    problems = list(found.refused)
    problems += [(file, "", "lies in no emotion folder") for file in found.files if "/" not in file]
    labels = [nfc(file.partition("/")[0]) for file in files]
    table = pd.DataFrame({"emotion": labels, "speaker": ""})
    return _decoded(Sieve(_rows(table, files), problems), folder, cache, found.ignored)


def from_split_csvs(
    train: AnyPath,
    test: AnyPath,
    wav: str,
    emotion: str,
    speaker: str | None = None,
    root: AnyPath | None = None,
    cache: AnyPath | None = None,
    **columns: str,
) -> tuple[Scan, pd.DataFrame]:
    """As `from_csv`, for a ready-made split into a training and a test table.

    Speakers, and recordings with identical samples, that stand in both tables are printed.

    Args:
        train: the CSV of what is trained on.
        test: the CSV of what is tested, with the same column names.
        wav: as in `from_csv`.
        emotion: as in `from_csv`.
        speaker: as in `from_csv`.
        root: what files are relative to (default: the folder of each CSV).
        cache: as in `from_csv`.
        **columns: as in `from_csv`.

    Returns:
        The Scan of both tables together, and the split: `utt_id` and `role` ("train" or "test").

    Raises:
        ManifestError: as `from_csv`, and when one file stands in both tables.

    Example:
        >>> scan, split = from_split_csvs("train.csv", "test.csv", wav="file", emotion="label")
    """
    names = {"wav": wav, "emotion": emotion, "speaker": speaker, **columns}
    tables = [
        _user_table(train, names, root).assign(role="train"),
        _user_table(test, names, root).assign(role="test"),
    ]
    result = _scan_table(pd.concat(tables, ignore_index=True), cache)
    manifest = result.manifest
    role = manifest.pop("role")
    facts = (
        ("speakers", "speaker", "speaker"),
        ("identical recordings", "audio_sha256", "utt_id"),
    )
    for what, key, name in facts:
        sides = role.groupby(manifest[key]).transform("nunique")
        shared = manifest[(sides > 1) & (manifest[key] != "")]
        if len(shared):
            print(
                f"{OWN}: {shared[key].nunique()} {what} in more than one of the tables (not"
                f" independent): {', '.join(shared[name].unique()[:6])}"
            )
    return result, pd.DataFrame({"utt_id": manifest["utt_id"], "role": role})


def _user_table(
    path: AnyPath, names: Mapping[str, str | None], root: AnyPath | None
) -> pd.DataFrame:
    """A user's CSV, checked, with our names for its columns, and where each file should lie.

    Returns:
        wav, emotion, speaker and the further columns of `names`; base (the folder that files are
        relative to), absolute (the file), source (the CSV), row (the header is row 1) and fault
        (why it names no utterance, or "").
    """
    table = _renamed(path, names)
    table["fault"] = _faults(table)
    if (table["fault"] != "").all():
        first = "".join(f"; row 2: {fault}" for fault in table["fault"].head(1))
        raise ManifestError(f"{path}: no row has both an audio file and an emotion{first}")
    for column in table.columns.intersection(list(NUMBERS)):
        table[column] = numbers(table[column], str(path), names[column])
    if "gender" in table:
        told = table["gender"]
        table["gender"] = told.str.lower().map(_GENDERS)
        known = ", ".join(filter(None, _GENDERS))
        why = f"is none of {known} or empty"
        refuse(table["gender"].isna(), told, str(path), names["gender"], why)
    base = os.path.abspath(root or pathlib.Path(path).parent)
    table["base"] = base
    table["absolute"] = [_located(base, cell) for cell in table["wav"]]
    table["source"] = str(path)
    table["row"] = range(2, len(table) + 2)
    return table


def _faults(table: pd.DataFrame) -> pd.Series:
    """Why rows of a user's table name no utterance, "" for those that do."""
    faults = text_faults(table)
    faults[table["emotion"] == ""] = "has no emotion"
    faults[table["wav"] == ""] = "has no audio file"
    return faults


def _renamed(path: AnyPath, names: Mapping[str, str | None]) -> pd.DataFrame:
    """The columns of a CSV that `names` (ours -> theirs) tells, by our names, as text."""
    allowed = [column for column in COLUMNS if column not in (*_MADE, "emotion", "speaker")]
    for ours in names:
        if ours not in ("wav", "emotion", "speaker", *allowed):
            raise ManifestError(
                f"{ours!r} is not a column of a manifest; possible: {', '.join(allowed)}"
            )
    table = read_table(path).rename(columns=nfc)
    theirs = {ours: nfc(str(name)) for ours, name in names.items() if name is not None}
    missing = [f"{name!r} (for {ours})" for ours, name in theirs.items() if name not in table]
    if missing:
        raise ManifestError(
            f"{path}: no column {', '.join(missing)}; found: {', '.join(table.columns)}; expected:"
            f" {', '.join(theirs.values())}"
        )
    renamed = pd.DataFrame({ours: table[name].str.strip() for ours, name in theirs.items()})
    return renamed if "speaker" in renamed else renamed.assign(speaker="")


def _located(base: str, cell: str) -> str:
    """The absolute path that a cell means.

    As written (with / for a backslash), in either Unicode form, or with an audio extension added.
    """
    written = cell.replace("\\", "/")
    for form in (written, nfc(written), unicodedata.normalize("NFD", written)):
        for ending in _ENDINGS:
            path = os.path.normpath(os.path.join(base, form + ending))
            if os.path.isfile(path):
                return path
    return os.path.normpath(os.path.join(base, written))


def _scan_table(table: pd.DataFrame, cache: AnyPath | None) -> Scan:
    """The Scan of a table of `_user_table`, or of several behind each other."""
    problems = []
    for row in table[table["fault"] != ""].itertuples():
        told = f"row {row.row} of {row.source}: {row.fault}"
        problems.append((row.wav or row.source, "", told))
    table = table[table["fault"] == ""].reset_index(drop=True)
    if "role" in table:
        _refuse_two_sides(table)
    folder = _common_folder(table)
    files = [pathlib.Path(os.path.relpath(file, folder)).as_posix() for file in table["absolute"]]
    return _decoded(Sieve(_rows(table, files), problems), folder, cache)


def _refuse_two_sides(table: pd.DataFrame) -> None:
    """Raise ManifestError for the first file that stands in both tables of a split."""
    sides = table.groupby("absolute")["role"].nunique()
    both = sides.index[sides > 1]
    if len(both):
        raise ManifestError(
            f"{both[0]} stands in the tables test and train (and {len(both) - 1} more files do):"
            " leave it in one of them"
        )


def _common_folder(table: pd.DataFrame) -> pathlib.Path:
    """The folder that utterances are named from: the tables' own, or one that holds all files."""
    # a missing file names no utterance
    there = [file for file in table["absolute"] if os.path.isfile(file)]
    there = there or table["absolute"].tolist()
    folders = [os.path.dirname(file) for file in there]
    common = pathlib.Path(os.path.commonpath(folders))
    bases = [pathlib.Path(base) for base in table["base"].unique()]
    if len(bases) == 1 and common.is_relative_to(bases[0]):
        return bases[0]
    return common


def _rows(table: pd.DataFrame, files: list[str]) -> pd.DataFrame:
    """Manifest rows (`role` behind, where given, and `found`) of a table and its relative files."""
    rows = pd.DataFrame([empty_row(OWN, without_extension(file)) for file in files])
    for column in table.columns.intersection([*COLUMNS, "role"]):
        rows[column] = table[column]
    rows["emotion_raw"] = table["emotion"]
    label = table["emotion"].map(nfc).str.strip().str.lower()
    rows["emotion"] = label.replace(WORDS)
    rows["found"] = files
    return rows


def _decoded(
    sieve: Sieve,
    folder: pathlib.Path,
    cache: AnyPath | None,
    ignored: Mapping[str, int] | None = None,
) -> Scan:
    """Decode the files, keep what is usable, and say when speakers are unknown."""
    sieve.decode(folder, cache)
    manifest = sieve.rows
    unknown = (manifest["speaker"] == "").sum()
    if unknown:
        print(
            f"{OWN}: the speaker of {unknown} of {len(manifest)} utterances is unknown, so whether"
            " a tested speaker was also trained on cannot be known; every figure will say so"
        )
    return sieve.scan(ignored=ignored)
