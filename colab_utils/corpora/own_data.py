"""A user's own recordings: a table with any column names, a folder an emotion, or a ready split."""

import os
import pathlib
from collections.abc import Mapping
from typing import Any

import pandas as pd

from colab_utils.corpora.archives import what_lies
from colab_utils.corpora.decode import find_audio, nfc, without_extension
from colab_utils.corpora.emotions import WORDS
from colab_utils.corpora.manifest import COLUMNS, NUMBERS, empty_row, numbers, refuse, text_faults
from colab_utils.corpora.own.finding import locate
from colab_utils.corpora.own.layouts import read_layout
from colab_utils.corpora.own.speakers import is_unknown, one_spelling
from colab_utils.corpora.scan import Scan, Sieve, existing_folder
from colab_utils.corpora.tables.reading import ManifestError, read_cells, refuse_unread
from colab_utils.corpora.tables.words import EMOTION_WORDS, folded
from colab_utils.files import AnyPath

OWN = "own"  # the name of a corpus without one
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
# columns of a table whose rows are pieces of files
_START = r"(start|begin|onset|offset|tmin|xmin)( ?(time|sec|s|ms|seconds))?"
_END = r"(end|stop|offset|tmax|xmax|duration|dur|length)( ?(time|sec|s|ms|seconds))?"
_CUT = (
    "cut them first and name the pieces in the table, for each row: rate ="
    " soundfile.info(file).samplerate; piece, _ = soundfile.read(file, start=int(start * rate),"
    ' stop=int(end * rate)); soundfile.write("piece_1.wav", piece, rate)'
)


def from_csv(
    path: AnyPath,
    wav: str,
    emotion: str,
    speaker: str | None = None,
    root: AnyPath | None = None,
    cache: AnyPath | None = None,
    corpus: str = OWN,
    join_speakers: bool = False,
    **columns: str,
) -> Scan:
    """The manifest of a table with any column names, with all usable audio decoded.

    Labels are lower-cased; plain English words such as "angry" become the suite's names. utt_id is
    `own/<path>`. Rows without label, with a line break in a name or with unusable audio become
    `.problems`. Without speakers it runs and says that speaker independence is unknown. Files that
    are not where the table says are looked for by name (see `own.finding`).

    Args:
        path: a CSV with comma, semicolon, tab or bar, or a workbook (.xlsx) of one sheet.
        wav: its column of audio files, with or without extension.
        emotion: its column of labels.
        speaker: its column of speakers, where known.
        root: what files are relative to (default: the folder of the CSV); absolute paths work too.
        cache: the CSV of `decode_rows`.
        corpus: its name.
        join_speakers: whether 01, 1 and 1.0, or Spk03 and spk03, are one speaker, and nan or NA
            none; otherwise such ids are printed.
        **columns: further columns by the manifest's own names (`gender="sex"`, `arousal="act"`).

    Returns:
        The Scan.

    Raises:
        ManifestError: naming the columns found and expected, or the row or line and the value that
            cannot be read; for a table of pieces of files (`start` and `end`).

    Example:
        >>> scan = from_csv("clips.csv", wav="file", emotion="label", speaker="who")
    """
    names = {"wav": wav, "emotion": emotion, "speaker": speaker, **columns}
    table = _user_table(path, names, root, corpus)
    return _scan_table(table, cache, corpus, join_speakers)


def from_folder(
    root: AnyPath,
    cache: AnyPath | None = None,
    corpus: str = OWN,
    speaker_pattern: str = "",
    speaker_level: int = 0,
    join_speakers: bool = False,
    **columns: Any,
) -> Scan:
    r"""The manifest of a folder with a sub-folder for each emotion (`<emotion>/a.wav`).

    The emotions may be at any one level, with speakers above or below (`<speaker>/<emotion>/a.wav`;
    see `own.layouts`). Where speakers are unknown, that is said. Files in no emotion folder become
    `.problems`, as do those in which the speaker that was asked for is not found.

    Args:
        root: the folder.
        cache: the CSV of `decode_rows`.
        corpus: its name.
        speaker_pattern: a regular expression with one group, the speaker, that is looked for in
            the path below `root`, such as `(spk\d+)_`.
        speaker_level: the level of the speakers' folders, 1 for those in `root`; the pattern goes
            before it.
        join_speakers: as in `from_csv`.
        **columns: none; what only a table may have is refused.

    Returns:
        The Scan.

    Raises:
        ManifestError: when there is no audio in sub-folders, saying what there is; when folders may
            mean several things or are a ready split.

    Example:
        >>> scan = from_folder("recordings")  # recordings/angry/1.wav, recordings/sad/2.wav, ...
    """
    folder = existing_folder(root)
    if columns:
        raise ManifestError(
            f"{', '.join(columns)}: not for a folder ({folder}), which has speaker_pattern,"
            " speaker_level and join_speakers; bring a table for what else is known"
        )
    found = find_audio(folder)
    files = [file for file in found.files if "/" in file]
    if not files:
        raise ManifestError(
            f"{folder}: no audio in sub-folders ({what_lies(folder, found.ignored)}); one folder"
            f" for each emotion is expected, such as {folder.name}/anger/a.wav"
        )
    table = read_layout(folder, files, corpus, speaker_pattern, speaker_level)
    problems = list(found.refused)
    problems += [(file, "", "lies in no emotion folder") for file in found.files if "/" not in file]
    bad = table[table["fault"] != ""]
    problems += zip(bad["file"], [""] * len(bad), bad["fault"], strict=True)
    table = table[table["fault"] == ""].reset_index(drop=True)
    table["speaker"] = one_spelling(table["speaker"], corpus, join_speakers)
    sieve = Sieve(_rows(table, table["file"].tolist(), corpus), problems)
    return _decoded(sieve, folder, cache, corpus, found.ignored)


def from_split_csvs(
    train: AnyPath,
    test: AnyPath,
    wav: str,
    emotion: str,
    speaker: str | None = None,
    root: AnyPath | None = None,
    cache: AnyPath | None = None,
    corpus: str = OWN,
    join_speakers: bool = False,
    **columns: str,
) -> tuple[Scan, pd.DataFrame]:
    """As `from_csv`, for a ready-made split into a training and a test table.

    Speakers and equal recordings that stand in both tables are printed.

    Args:
        train: the CSV of what is trained on.
        test: the CSV of what is tested, with the same column names.
        wav: as in `from_csv`.
        emotion: as in `from_csv`.
        speaker: as in `from_csv`.
        root: what files are relative to (default: the folder of each CSV).
        cache: as in `from_csv`.
        corpus: as in `from_csv`.
        join_speakers: as in `from_csv`.
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
        _user_table(train, names, root, corpus).assign(role="train"),
        _user_table(test, names, root, corpus).assign(role="test"),
    ]
    both = pd.concat(tables, ignore_index=True)
    result = _scan_table(both, cache, corpus, join_speakers)
    manifest = result.manifest
    role = manifest.pop("role")
    facts = (
        ("speakers", "speaker", "speaker", "not independent"),
        ("equal recordings", "audio_sha256", "utt_id", "their copies leave the training"),
    )
    for what, key, name, meaning in facts:
        sides = role.groupby(manifest[key]).transform("nunique")
        shared = manifest[(sides > 1) & (manifest[key] != "")]
        if len(shared):
            print(
                f"{corpus}: {shared[key].nunique()} {what} in both tables ({meaning}):"
                f" {', '.join(shared[name].unique()[:6])}"
            )
    return result, pd.DataFrame({"utt_id": manifest["utt_id"], "role": role})


def _user_table(
    path: AnyPath, names: Mapping[str, str | None], root: AnyPath | None, corpus: str
) -> pd.DataFrame:
    """A user's table, checked, with our names for its columns, and where each file should lie.

    Returns:
        wav, emotion, speaker and the further columns of `names`; base (the folder that files are
        relative to), absolute (the file), source (the table), row (the header is row 1) and fault
        (why it names no utterance, or "").
    """
    table = _renamed(path, names)
    table["fault"] = _faults(table)
    if (table["fault"] != "").all():
        first = "".join(
            f"; row {index + 2}: {fault}" for index, fault in table["fault"].head(1).items()
        )
        raise ManifestError(f"{path}: no row has both an audio file and an emotion{first}")
    for column in table.columns.intersection(list(NUMBERS)):
        table[column] = numbers(_with_points(table[column]), str(path), names[column])
    if "gender" in table:
        told = table["gender"]
        table["gender"] = told.str.lower().map(_GENDERS)
        known = ", ".join(filter(None, _GENDERS))
        why = f"is none of {known} or empty"
        refuse(table["gender"].isna(), told, str(path), names["gender"], why)
    table["base"] = os.path.abspath(root or pathlib.Path(path).parent)
    table["row"] = table.index + 2
    table["source"] = str(path)
    named = table["fault"] == ""
    table["absolute"] = ""
    absolute, faults = locate(table.loc[named, "wav"], path, root, corpus)
    table.loc[named, "absolute"], table.loc[named, "fault"] = absolute, faults
    return table


def _with_points(column: pd.Series) -> pd.Series:
    """Numbers with a point for a decimal comma, in a column without points; NA and such as ""."""
    column = column.mask(is_unknown(column), "")
    if column.str.contains(".", regex=False).any():
        return column
    return column.str.replace(r"\A([+-]?\d*),(\d+)\Z", r"\1.\2", regex=True)


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
    theirs = {ours: nfc(str(name)) for ours, name in names.items() if name is not None}
    words = EMOTION_WORDS.union(map(folded, theirs.values()))
    table = read_cells(path, words).rename(columns=nfc)
    missing = [f"{name!r} (for {ours})" for ours, name in theirs.items() if name not in table]
    if missing:
        refuse_unread(table.head(0), path)
        raise ManifestError(
            f"{path}: no column {', '.join(missing)}; found: {', '.join(table.columns)}; expected:"
            f" {', '.join(theirs.values())}"
        )
    refuse_unread(table[list(theirs.values())], path)
    _refuse_pieces(table, theirs["wav"], path)
    renamed = pd.DataFrame({ours: table[name].str.strip() for ours, name in theirs.items()})
    return renamed if "speaker" in renamed else renamed.assign(speaker="")


def _refuse_pieces(table: pd.DataFrame, wav: str, path: AnyPath) -> None:
    """Raise ManifestError where rows are pieces of files; print where they are whole files."""
    words = table.columns.map(folded)
    starts = table.columns[words.str.fullmatch(_START)]
    ends = table.columns[words.str.fullmatch(_END)]
    pairs = [(start, end) for start in starts for end in ends if start != end]
    if not pairs:
        return
    start, end = pairs[0]
    late = ~table[start].str.fullmatch(r"[0:.,\s]*")
    again = table[wav].duplicated(keep=False) & (table[wav] != "")
    bad = late | again
    if bad.any():
        row = bad.idxmax()
        file, begins, ends = table.loc[row, [wav, start, end]]
        raise ManifestError(
            f"{path}, row {row + 2}: a piece of {file} ({start} {begins}, {end} {ends}), and pieces"
            f" of files are not read here: {_CUT}"
        )
    print(f"{path}: {start} and {end} are not used: each row is the whole file")


def _scan_table(
    table: pd.DataFrame, cache: AnyPath | None, corpus: str, join_speakers: bool
) -> Scan:
    """The Scan of a table of `_user_table`, or of several behind each other."""
    problems = []
    for row in table[table["fault"] != ""].itertuples():
        told = f"row {row.row} of {row.source}: {row.fault}"
        problems.append((row.wav or row.source, "", told))
    table = table[table["fault"] == ""].reset_index(drop=True)
    table["speaker"] = one_spelling(table["speaker"], corpus, join_speakers)
    if "role" in table:
        _refuse_two_sides(table)
    folder = _common_folder(table)
    files = [os.path.relpath(file, folder).replace(os.sep, "/") for file in table["absolute"]]
    return _decoded(Sieve(_rows(table, files, corpus), problems), folder, cache, corpus)


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
    folders = {os.path.dirname(file) for file in there}
    common = pathlib.Path(os.path.commonpath(folders))
    bases = [pathlib.Path(base) for base in table["base"].unique()]
    if len(bases) == 1 and common.is_relative_to(bases[0]):
        return bases[0]
    return common


def _rows(table: pd.DataFrame, files: list[str], corpus: str) -> pd.DataFrame:
    """Manifest rows (`role` behind, where given, and `found`) of a table and its relative files."""
    rows = pd.DataFrame(empty_row(corpus, ""), index=range(len(files)))
    rows["path"] = [without_extension(file) for file in files]
    rows["utt_id"] = f"{corpus}/" + rows["path"]
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
    corpus: str,
    ignored: Mapping[str, int] | None = None,
) -> Scan:
    """Decode the files, keep what is usable, and say when speakers are unknown."""
    sieve.decode(folder, cache)
    manifest = sieve.rows
    unknown = (manifest["speaker"] == "").sum()
    if unknown:
        print(
            f"{corpus}: the speaker of {unknown} of {len(manifest)} utterances is unknown, so"
            " whether a tested speaker was also trained on cannot be known; every figure will say"
            " so"
        )
    return sieve.scan(ignored=ignored)
