"""Tables of other projects: audformat databases, read and written here, and EmoBox lists, read in `emobox.py`.

audformat (https://audeering.github.io/audformat/) is a folder with a header `db.yaml` and tables `db.<table>.parquet` or `.csv`
(field_notes D.2).
"""
from __future__ import annotations

import os
import pathlib
import tempfile
import types
from collections.abc import Mapping

import pandas as pd
import yaml

from colab_utils import files
from colab_utils.corpora.cards import corpus_names, load_card
from colab_utils.corpora.decode import nfc, without_extension
from colab_utils.corpora.emobox import from_emobox, plain_emotion
from colab_utils.corpora.manifest import COLUMNS, GENDERS, NUMBERS, ManifestError, empty_row, numbers, validate

__all__ = ["from_audformat", "from_emobox", "to_audformat"]


def _audformat() -> types.ModuleType:
    """The optional library. Raises ImportError that says how to get it."""
    try:
        import audformat
    except ImportError as error:
        raise ImportError("audformat is not installed: run `%pip install audformat` and then this cell again") from error
    return audformat


# ------------------------------------------------------------------------------------------------------- audformat: write

def to_audformat(manifest: pd.DataFrame, folder: str | os.PathLike, extension: str = ".wav") -> pathlib.Path:
    """Write the manifest of one corpus as an audformat database into `folder` (db.yaml, db.files.parquet); returns the folder.

    The table `files` has an index `file` = `path` plus the suffix of the column `file` where there is one, else `extension`, and a column
    for every manifest column that is known for some utterance; emotions, genders and speakers (with their gender) are label schemes.
    Local columns are left out. `from_audformat` gives the same manifest back. Raises ManifestError for several corpora at once.
    """
    audformat = _audformat()
    manifest, folder = validate(manifest), pathlib.Path(folder)
    corpora = manifest["corpus"].unique().tolist()
    if len(corpora) != 1:
        raise ManifestError(f"an audformat database holds one corpus, the manifest has {', '.join(corpora) or 'none'}: write each by itself")
    suffix = manifest["file"].map(lambda file: pathlib.PurePath(file).suffix) if "file" in manifest.columns else extension
    db = _header(audformat, corpora[0], manifest)
    table = audformat.Table(audformat.filewise_index((manifest["path"] + suffix).tolist()))
    db["files"] = table
    for column in COLUMNS:
        known = manifest[column].notna() if column in NUMBERS else manifest[column] != ""
        if column in ("corpus", "path") or not (known.any() or column.startswith("emotion")):
            continue
        db.schemes[column] = _scheme(audformat, column, manifest)
        table[column] = audformat.Column(scheme_id=column)
        table[column].set(manifest[column].where(known, None).tolist())
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".audformat-") as work:
        db.save(work, storage_format="parquet")                 # its CSV form reads a speaker called NA as unknown
        for name in ("db.files.parquet", "db.yaml"):            # the header last: a database without one is not taken for whole
            files.write_bytes(folder / name, pathlib.Path(work, name).read_bytes())
    return folder


def _header(audformat: types.ModuleType, corpus: str, manifest: pd.DataFrame) -> object:
    """A database with what the corpus' card says, and the languages that ISO 639-3 knows."""
    card = load_card(corpus) if corpus in corpus_names() else None
    languages = []
    for language in sorted(set(manifest["language"]) - {""}):
        try:
            languages.append(audformat.utils.map_language(language.split("-")[0]))
        except ValueError:
            continue            # "pseudo-a" and the like stay in the column `language`, where any text may stand
    return audformat.Database(corpus, source=card.url if card else "", usage=audformat.define.Usage.OTHER, languages=sorted(set(languages)),
                              description=card.title if card else None, license=card.license if card else None)


def _scheme(audformat: types.ModuleType, column: str, manifest: pd.DataFrame) -> object:
    """The audformat scheme of one manifest column."""
    if column in NUMBERS:
        return audformat.Scheme("float")
    labels = sorted(set(manifest[column]) - {""})
    if column not in ("emotion", "gender", "speaker") or not labels:
        return audformat.Scheme("str")
    if column != "speaker":
        return audformat.Scheme("str", labels=labels)
    genders = manifest.groupby("speaker")["gender"].agg(lambda gender: gender.iloc[0] if gender.nunique() == 1 else "")
    return audformat.Scheme("str", labels={speaker: {"gender": genders[speaker]} if genders[speaker] else {} for speaker in labels})


# -------------------------------------------------------------------------------------------------------- audformat: read

def from_audformat(folder: str | os.PathLike, corpus: str | None = None, emotion: str = "emotion", speaker: str = "speaker",
                   label_map: Mapping[str, str] | None = None) -> pd.DataFrame:
    """The manifest of an audformat database, from all its tables with one row a file.

    `corpus` defaults to the database's name, `emotion` and `speaker` name its columns, `label_map` renames emotions (others are
    lower-cased, plain English words become the suite's names). A speaker's gender is also taken from the labels of the speaker scheme.
    Files without an emotion stay, with an empty one; tables of segments are not read, which is printed.
    Raises ManifestError when no table has the emotion, when two tables disagree on a file, or for a database that could run code when
    read (pickled tables, Python objects in the header); ImportError without audformat.
    """
    folder = pathlib.Path(folder)
    _refuse_unsafe(folder)
    db = _audformat().Database.load(str(folder), load_data=True)
    tables = {name: table for name, table in db.tables.items() if table.is_filewise}
    segmented = sorted(set(db.tables) - set(tables))
    if segmented:
        print(f"{folder}: tables of segments are not read: {', '.join(segmented)} (an utterance is a whole file here)")
    names = {**{column: column for column in COLUMNS}, "emotion": emotion, "speaker": speaker}
    found = {ours: _combined(tables, theirs, folder) for ours, theirs in names.items()}
    if found["emotion"] is None:
        present = sorted({column for table in tables.values() for column in table.columns})
        raise ManifestError(f"{folder}: no table of files has a column {emotion!r}; columns found: {', '.join(present) or 'none'}; "
                            "pass emotion=<one of them>")
    if found["gender"] is None:
        found["gender"] = _from_labels(tables, speaker, "gender", folder)
    language = db.languages[0] if len(db.languages) == 1 else ""
    names_of_files = pd.Index(dict.fromkeys(file for table in tables.values() for file in table.index))
    return _manifest_of(names_of_files, found, corpus or nfc(db.name).replace("/", "-"), language, label_map)


def _refuse_unsafe(folder: pathlib.Path) -> None:
    """Raise ManifestError where reading would run code: audformat prefers pickled tables, and loads the header with a loader that makes objects."""
    header = folder / "db.yaml"
    if not header.is_file():
        raise ManifestError(f"{folder}: no db.yaml in it, so this is not an audformat database")
    pickled = sorted(path.name for path in folder.glob("db.*.pkl"))
    if pickled:
        raise ManifestError(f"{folder}: {pickled[0]} is a pickle, which can run code when read: delete it where there is a .csv or .parquet of the "
                            "same name")
    try:
        yaml.safe_load(header.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ManifestError(f"{header}: not plain YAML ({' '.join(str(error).split())})") from error


def _combined(tables: Mapping[str, object], column: str, folder: pathlib.Path) -> pd.Series | None:
    """One column over all tables that have it, indexed by file; None where none has it. Raises ManifestError when two tables disagree."""
    parts = [table.df[column].astype(object).dropna().rename(name) for name, table in tables.items() if column in table.columns]
    if not parts:
        return None
    values = pd.concat(parts)
    several = values.groupby(level=0).nunique()
    if (several > 1).any():
        file = several.index[several > 1][0]
        raise ManifestError(f"{folder}: the tables {', '.join(str(part.name) for part in parts)} give {file} different values of {column}: "
                            f"{', '.join(map(str, values[[file]].unique()))}")
    return values[~values.index.duplicated()]


def _from_labels(tables: Mapping[str, object], speaker: str, key: str, folder: pathlib.Path) -> pd.Series | None:
    """What the labels of the speaker scheme say of each file's speaker (their gender), or None."""
    parts = []
    for table in tables.values():
        scheme = table.columns[speaker].scheme if speaker in table.columns else None
        if scheme is not None and isinstance(scheme.labels, dict) and any(isinstance(of, dict) and key in of for of in scheme.labels.values()):
            parts.append(table[speaker].get(map=key).astype(object).dropna())
    values = pd.concat(parts) if parts else None
    return None if values is None else values[~values.index.duplicated()]


def _manifest_of(index: pd.Index, found: Mapping[str, pd.Series | None], corpus: str, language: str,
                 label_map: Mapping[str, str] | None) -> pd.DataFrame:
    """Rows of COLUMNS for the files of `index`; `found` has a Series by file, or None, for each of COLUMNS."""
    paths = [without_extension(str(file).removeprefix("./")) for file in index]
    rows = pd.DataFrame({**empty_row(corpus, ""), "language": language}, index=index)
    for column, values in found.items():
        if values is not None:
            values = values.reindex(index)
            rows[column] = numbers(values, corpus, column) if column in NUMBERS else values.fillna("").astype(str)
    if found["emotion_raw"] is None:
        rows["emotion_raw"] = rows["emotion"]
    if found["utt_id"] is None or not rows["utt_id"].str.startswith(f"{corpus}/").all():
        rows["utt_id"] = [f"{corpus}/{path}" for path in paths]
    strange = ~rows["gender"].isin(GENDERS)
    if strange.any():
        print(f"{corpus}: the gender of {strange.sum()} utterances is {', '.join(sorted(set(rows['gender'][strange])))}, which is unknown here")
    rows = rows.assign(corpus=corpus, path=paths, gender=rows["gender"].where(~strange, ""),
                       emotion=[plain_emotion(label, label_map) for label in rows["emotion"]])
    return validate(rows[list(COLUMNS)], corpus)
