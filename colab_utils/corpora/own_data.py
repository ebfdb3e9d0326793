"""A user's own recordings: a table with any column names, a folder for each emotion, or ready-made
train and test tables.
"""

from __future__ import annotations

import os
import pathlib
import unicodedata
from collections.abc import Mapping

import pandas as pd

from colab_utils.corpora.audio import EXTENSIONS
from colab_utils.corpora.decode import decode_files, find_audio, nfc, without_extension
from colab_utils.corpora.emotions import WORDS
from colab_utils.corpora.manifest import (
    COLUMNS,
    NUMBERS,
    TEXTS,
    ManifestError,
    empty_row,
    numbers,
    read_table,
    refuse,
    speaker_keys,
)
from colab_utils.corpora.scan import Scan, existing_folder, problem_table, usable

ROLES = ("train", "valid", "test")
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
_FIXED = ("utt_id", "corpus", "path", "emotion_raw", "emotion", "speaker")


def from_csv(
    path: str | os.PathLike,
    wav: str,
    emotion: str,
    speaker: str | None = None,
    root: str | os.PathLike | None = None,
    corpus: str = "own",
    *,
    label_map: Mapping[str, str] | None = None,
    cache: str | os.PathLike | None = None,
    progress: bool = True,
    **columns: str,
) -> Scan:
    """The manifest of a CSV whose columns are called `wav`, `emotion` and `speaker`, with all
    usable audio decoded.

    `columns` names further columns by the manifest's own names (`gender="sex"`, `arousal="act"`).
    Audio is sought relative to `root` (default: the folder of the CSV), with or without its
    extension; absolute paths work too. `label_map` renames labels, as written or, failing that, in
    any case (any other label is lower-cased; plain English words such as "angry" become the suite's
    names). utt_id is `<corpus>/<path>`. Rows without label or with unusable audio become
    `.problems`. Without speakers it runs and says that speaker independence is unknown. Raises
    ManifestError naming the columns found and expected, or the row and value that cannot be read.
    """
    table = _named(path, {"wav": wav, "emotion": emotion, "speaker": speaker, **columns})
    return _from_tables([(path, table)], root, corpus, label_map, cache, progress)


def from_folder(
    root: str | os.PathLike,
    corpus: str = "own",
    *,
    label_map: Mapping[str, str] | None = None,
    cache: str | os.PathLike | None = None,
    progress: bool = True,
) -> Scan:
    """The manifest of a folder with a sub-folder for each emotion (`<emotion>/a.wav`); what lies
    deeper belongs to the same emotion.

    Speakers are unknown, which is said. Files beside the emotion folders become `.problems`. Raises
    ManifestError when there is no audio.
    """
    folder = existing_folder(root)
    found = find_audio(folder)
    if not any("/" in file for file in found.files):
        raise ManifestError(
            f"{folder}: no audio in sub-folders; one folder for each emotion is expected, such as"
            f" {folder.name}/anger/a.wav"
        )
    problems = [(file, "", reason) for file, reason in found.refused.items()]
    problems += [(file, "", "lies in no emotion folder") for file in found.files if "/" not in file]
    files = [file for file in found.files if "/" in file]
    table = pd.DataFrame(
        {"wav": files, "emotion": [nfc(file.split("/")[0]) for file in files], "speaker": ""},
        dtype=object,
    )
    result = _decoded(_rows(table, files, corpus, label_map), folder, problems, cache, progress)
    return Scan(result.manifest, result.problems, None, found.ignored, result.decoded)


def from_split_csvs(
    train: str | os.PathLike,
    test: str | os.PathLike,
    wav: str,
    emotion: str,
    speaker: str | None = None,
    valid: str | os.PathLike | None = None,
    root: str | os.PathLike | None = None,
    corpus: str = "own",
    *,
    label_map: Mapping[str, str] | None = None,
    cache: str | os.PathLike | None = None,
    progress: bool = True,
    **columns: str,
) -> tuple[Scan, pd.DataFrame]:
    """As `from_csv`, for a ready-made split: (Scan of all tables together, split table).

    The split has `seed, fold, draw, task` (all 0), `utt_id, speaker` (speaker key, "" unknown) and
    `role` (train, valid or test). Speakers, and recordings with identical samples, that stand in
    more than one table are printed. Raises ManifestError as `from_csv` does, and when one file
    stands in two tables.
    """
    names = {"wav": wav, "emotion": emotion, "speaker": speaker, **columns}
    tables = [
        (path, _named(path, names).assign(role=role))
        for role, path in zip(ROLES, (train, valid, test), strict=True)
        if path is not None
    ]
    result = _from_tables(tables, root, corpus, label_map, cache, progress)
    manifest = result.manifest
    split = pd.DataFrame(
        {
            "seed": 0,
            "fold": 0,
            "draw": 0,
            "task": 0,
            "utt_id": manifest["utt_id"],
            "speaker": speaker_keys(manifest),
            "role": manifest["role"],
        }
    )
    for what, values in (
        ("speakers", split["speaker"]),
        ("identical recordings", manifest["audio_sha256"]),
    ):
        sides = split["role"].groupby(values).nunique()
        shared = sides[(sides > 1) & (sides.index != "")].index.tolist()
        if shared:
            examples = (
                shared
                if what == "speakers"
                else manifest.loc[values.isin(shared), "utt_id"].tolist()
            )
            print(
                f"{corpus}: {len(shared)} {what} in more than one of the tables (not independent):"
                f" {', '.join(examples[:6])}"
            )
    return Scan(manifest.drop(columns="role"), result.problems, None, {}, result.decoded), split


def _named(path: str | os.PathLike, names: Mapping[str, str | None]) -> pd.DataFrame:
    """Read a user's CSV and give its columns our names (wav, emotion, speaker, then manifest
    columns).
    """
    allowed = [column for column in (*TEXTS, *NUMBERS) if column not in _FIXED]
    strange = [ours for ours in names if ours not in ("wav", "emotion", "speaker", *allowed)]
    if strange:
        raise ManifestError(
            f"{strange[0]!r} is not a column of a manifest; possible: {', '.join(allowed)}"
        )
    table = read_table(path).rename(columns=nfc)
    names = {ours: None if theirs is None else nfc(str(theirs)) for ours, theirs in names.items()}
    missing = [
        f"{theirs!r} (for {ours})"
        for ours, theirs in names.items()
        if theirs is not None and theirs not in table.columns
    ]
    if missing:
        raise ManifestError(
            f"{path}: no column {', '.join(missing)}; found: {', '.join(table.columns)}; "
            f"expected: {', '.join(theirs for theirs in names.values() if theirs is not None)}"
        )
    table = pd.DataFrame(
        {
            ours: "" if theirs is None else table[theirs].str.strip()
            for ours, theirs in names.items()
        },
        index=table.index,
    )
    for column in set(NUMBERS) & set(names):
        table[column] = numbers(table[column], str(path), names[column])
    if "gender" in names:
        gender = table["gender"].str.lower().map(_GENDERS)
        refuse(
            gender.isna(),
            table["gender"],
            str(path),
            names["gender"],
            f"is none of {', '.join(filter(None, _GENDERS))} or empty",
        )
        table["gender"] = gender
    return table


def _from_tables(
    tables: list[tuple[os.PathLike | str, pd.DataFrame]],
    root: str | os.PathLike | None,
    corpus: str,
    label_map: Mapping[str, str] | None,
    cache: str | os.PathLike | None,
    progress: bool,
) -> Scan:
    """One Scan of several named tables: paths are made relative to one folder, which holds all the
    files.
    """
    problems: list[tuple[str, str, str]] = []
    located = []
    for path, table in tables:
        base = pathlib.Path(
            os.path.abspath(root if root is not None else pathlib.Path(path).parent)
        )
        empty = (table["wav"] == "") | (table["emotion"] == "")
        problems += [
            (
                table.at[row, "wav"] or str(path),
                "",
                (
                    f"row {row + 2} of {path} has no"
                    f" {'emotion' if table.at[row, 'wav'] else 'audio file'}"
                ),
            )
            for row in table.index[empty]
        ]
        table = table[~empty].reset_index(drop=True)
        if table.empty:
            raise ManifestError(f"{path}: no row has both an audio file and an emotion")
        located.append(
            table.assign(absolute=[_located(base, cell) for cell in table["wav"]], base=str(base))
        )
    table = pd.concat(located, ignore_index=True)
    _refuse_two_sides(table)
    bases = sorted(table["base"].unique())
    # a missing file names no utterance
    there = [file for file in table["absolute"] if os.path.isfile(file)] or table[
        "absolute"
    ].tolist()
    inside = len(bases) == 1 and all(file.startswith(bases[0] + os.sep) for file in there)
    folder = pathlib.Path(
        bases[0] if inside else os.path.commonpath([os.path.dirname(file) for file in there])
    )
    files = [
        pathlib.PurePath(os.path.relpath(file, folder)).as_posix() for file in table["absolute"]
    ]
    return _decoded(_rows(table, files, corpus, label_map), folder, problems, cache, progress)


def _located(base: pathlib.Path, cell: str) -> str:
    """The absolute path that a cell means: as written, with / for \\, in either Unicode form, or
    with an audio extension added.
    """
    written = [cell, cell.replace("\\", "/")]
    forms = dict.fromkeys(form for text in written for form in (text, nfc(text), _nfd(text)))
    for form in forms:
        for ending in ("", *EXTENSIONS, *(extension.upper() for extension in EXTENSIONS)):
            path = os.path.normpath(base / (form + ending))
            if os.path.isfile(path):
                return path
    return os.path.normpath(base / written[1])


def _nfd(text: str) -> str:
    return unicodedata.normalize("NFD", text)


def _refuse_two_sides(table: pd.DataFrame) -> None:
    """Raise ManifestError for the first file that stands in more than one of the tables of a split."""
    if "role" not in table.columns:
        return
    roles = table.groupby("absolute")["role"].agg(lambda role: sorted(set(role)))
    both = roles[roles.map(len) > 1]
    if len(both):
        raise ManifestError(
            f"{both.index[0]} stands in the tables {' and '.join(both.iloc[0])} (and"
            f" {len(both) - 1} more files do): leave it in one of them"
        )


def _rows(
    table: pd.DataFrame, files: list[str], corpus: str, label_map: Mapping[str, str] | None
) -> pd.DataFrame:
    """Rows of COLUMNS (`role` behind, where given) and `found`, for a table whose columns have our
    names, and its files.
    """
    told = {nfc(str(label)).strip(): emotion for label, emotion in (label_map or {}).items()}
    loosely = {label.lower(): emotion for label, emotion in told.items()}
    written = [nfc(label).strip() for label in table["emotion"]]
    emotion = [
        told.get(label, loosely.get(label.lower(), WORDS.get(label.lower(), label.lower())))
        for label in written
    ]
    if unused := sorted(set(loosely) - {label.lower() for label in written}):
        print(f"{corpus}: label_map speaks of {', '.join(unused)}, and no row has such a label")
    paths = [without_extension(file) for file in files]
    rows = pd.DataFrame(
        {**empty_row(corpus, ""), "path": paths, "utt_id": [f"{corpus}/{path}" for path in paths]},
        index=table.index,
    )
    given = [column for column in table.columns if column in COLUMNS or column == "role"]
    return rows.assign(**table[given], emotion_raw=table["emotion"], found=files).assign(
        emotion=emotion
    )


def _decoded(
    rows: pd.DataFrame,
    folder: pathlib.Path,
    problems: list,
    cache: str | os.PathLike | None,
    progress: bool,
) -> Scan:
    """Decode the files of `rows`, keep what is usable, and say when speakers are unknown."""
    facts, decoded = decode_files(
        rows.pop("found").tolist(), folder, pathlib.Path(cache) if cache else None, progress
    )
    manifest = usable(pd.concat([rows.reset_index(drop=True), facts], axis=1), folder, problems)
    unknown = int((manifest["speaker"] == "").sum())
    if unknown:
        print(
            f"{rows['corpus'].iloc[0]}: the speaker of {unknown} of {len(manifest)} utterances is"
            " unknown, so whether a tested speaker was also trained on cannot be known; every"
            " figure will say so"
        )
    return Scan(manifest, problem_table(problems), None, {}, decoded)
