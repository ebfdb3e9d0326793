"""Tables of other projects: audformat databases (read and written) and EmoBox lists (read).

audformat (https://audeering.github.io/audformat/) is a folder with a header `db.yaml` and tables `db.<table>.csv`; EmoBox
(https://github.com/emo-box/EmoBox) one JSON record a line and a `label_map.json`, without speakers (field_notes D.2).
"""
from __future__ import annotations

import os
import pathlib
import re
import tempfile
import types
from collections.abc import Mapping

import pandas as pd
import yaml

from colab_utils import files
from colab_utils.corpora.cards import corpus_names, load_card
from colab_utils.corpora.decode import nfc, without_extension
from colab_utils.corpora.emotions import WORDS
from colab_utils.corpora.manifest import COLUMNS, GENDERS, NUMBERS, TEXTS, ManifestError, empty_row, numbers, speaker_keys, validate
from colab_utils.corpora.parsers import PARSERS, ForeignNameError

ROLES = ("train", "valid", "test")


def _audformat() -> types.ModuleType:
    """The optional library. Raises ImportError that says how to get it."""
    try:
        import audformat
    except ImportError as error:
        raise ImportError("audformat is not installed: run `%pip install audformat` (or `pip install colab_utils[egemaps]`) and this cell again") from error
    return audformat


# ------------------------------------------------------------------------------------------------------- audformat: write

def to_audformat(manifest: pd.DataFrame, folder: str | os.PathLike, extension: str = ".wav") -> pathlib.Path:
    """Write the manifest of one corpus as an audformat database into `folder` (db.yaml, db.files.csv); returns the folder.

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
        if column in ("corpus", "path") or not known.any():
            continue
        db.schemes[column] = _scheme(audformat, column, manifest)
        table[column] = audformat.Column(scheme_id=column)
        table[column].set(manifest[column].where(known, None).tolist())
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".audformat-") as work:
        db.save(work, storage_format="csv")
        for name in ("db.files.csv", "db.yaml"):            # the header last: a database without one is not taken for whole
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
    if column not in ("emotion", "gender", "speaker"):
        return audformat.Scheme("str")
    labels = sorted(set(manifest[column]) - {""})
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
    Tables of segments are not read, which is printed. Raises ManifestError when no table has the emotion, when two tables disagree on a
    file, or for a database that could run code when read (pickled tables, Python objects in the header); ImportError without audformat.
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
        raise ManifestError(f"{folder}: no table of files has a column {emotion!r}; columns found: {', '.join(present) or 'none'}; pass emotion=<one of them>")
    if found["gender"] is None:
        found["gender"] = _from_labels(tables, speaker, "gender", folder)
    labelled = found["emotion"].dropna()
    return _manifest_of(db, labelled, found, corpus or nfc(db.name).replace("/", "-"), label_map)


def _refuse_unsafe(folder: pathlib.Path) -> None:
    """Raise ManifestError where reading would run code: audformat prefers pickled tables, and loads the header with a loader that makes objects."""
    header = folder / "db.yaml"
    if not header.is_file():
        raise ManifestError(f"{folder}: no db.yaml in it, so this is not an audformat database")
    pickled = sorted(path.name for path in folder.glob("db.*.pkl"))
    if pickled:
        raise ManifestError(f"{folder}: {pickled[0]} is a pickle, which can run code when read: delete it where a .csv or .parquet of the same name exists")
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


def _manifest_of(db: object, labelled: pd.Series, found: Mapping[str, pd.Series | None], corpus: str, label_map: Mapping[str, str] | None) -> pd.DataFrame:
    """Rows of COLUMNS for the labelled files of a database."""
    index = labelled.index
    paths = [without_extension(str(file).removeprefix("./")) for file in index]
    language = db.languages[0] if len(db.languages) == 1 else ""
    rows = pd.DataFrame({**empty_row(corpus, ""), "language": language}, index=index)
    for column, values in found.items():
        if values is not None:
            rows[column] = numbers(values.reindex(index), str(db.name), column) if column in NUMBERS else values.reindex(index).fillna("").astype(str)
    strange = ~rows["gender"].isin(GENDERS)
    if strange.any():
        print(f"{corpus}: gender {', '.join(sorted(set(rows['gender'][strange])))} of {strange.sum()} utterances is neither female nor male here and is left unknown")
    own = rows["utt_id"].str.startswith(f"{corpus}/") if found["utt_id"] is not None else pd.Series(False, index=index)
    return validate(rows.assign(corpus=corpus, path=paths, gender=rows["gender"].where(~strange, ""),
                                utt_id=rows["utt_id"].where(own, [f"{corpus}/{path}" for path in paths]),
                                emotion_raw=labelled.astype(str) if found["emotion_raw"] is None else rows["emotion_raw"],
                                emotion=[_plain(label, label_map) for label in labelled.astype(str)])[list(COLUMNS)], str(db.name))


def _plain(label: str, label_map: Mapping[str, str] | None) -> str:
    """The suite's name of an emotion: by `label_map`, else the lower-cased label, with plain English words made ours."""
    label = (label_map or {}).get(label, label)
    plain = nfc(label).strip().lower()
    return WORDS.get(plain, plain)


# ------------------------------------------------------------------------------------------------------------------ EmoBox

def from_emobox(jsonl_path: str | os.PathLike, corpus: str, label_map: Mapping[str, str] | None = None) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    """The manifest of an EmoBox list, and the split when it is a training list: (manifest, split or None).

    `corpus` is this suite's name (`crema_d`, not cremad). For a `..._train_...jsonl` the `test` (and `valid`) list of the same name is
    read too, and the split has `seed, fold, draw, task, utt_id, speaker` (key) and `role`. `label_map` (EmoBox label -> name) defaults to
    the label_map.json beside the list or one folder up. EmoBox has no speakers: for corpora whose file names this suite reads, they come
    from there (with utt_ids equal to the suite's own); otherwise they are unknown. Both are printed, and so are speakers who stand on
    both sides of a split, and labels that differ from the file names'.
    Raises ManifestError for a missing list, a record without `wav` or `emo`, a label that the map lacks, and a file in two lists.
    """
    path = pathlib.Path(jsonl_path)
    lists = {"": path}
    if "_train" in path.name:
        lists = {role: path.with_name(path.name.replace("_train", f"_{role}")) for role in ROLES}
        lists = {role: file for role, file in lists.items() if role != "valid" or file.is_file()}
    names = label_map if label_map is not None else _label_map_near(path)
    rows = [_emobox_row(file, line, record, corpus, names) | {"role": role}
            for role, file in lists.items() for line, record in enumerate(_records(file), 1)]
    table = pd.DataFrame(rows)
    manifest = validate(table, str(path))[list(COLUMNS)]
    _report(table, corpus)
    if len(lists) == 1:
        return manifest, None
    fold = re.search(r"fold_?(\d+)", path.name)
    split = pd.DataFrame({"seed": 0, "fold": int(fold[1]) if fold else 0, "draw": 0, "task": 0, "utt_id": manifest["utt_id"],
                          "speaker": speaker_keys(manifest), "role": table["role"]})
    both = set(split["speaker"][split["role"] == "train"]) & set(split["speaker"][split["role"] == "test"]) - {""}
    if both:
        print(f"{corpus}: {len(both)} speakers stand in both the training and the test list of {path.name}, so it is not speaker-independent: "
              f"{', '.join(sorted(both)[:6])}{' ...' if len(both) > 6 else ''}")
    return manifest, split


def _records(file: pathlib.Path) -> list[dict]:
    """The records of one list. Raises ManifestError when it is missing, empty or torn."""
    if not file.is_file():
        raise ManifestError(f"{file}: no such list; give the path of an EmoBox .jsonl (for a split, of its training list beside the test list)")
    try:
        records = files.read_jsonl(file)
    except ValueError as error:
        raise ManifestError(str(error)) from error
    if not records:
        raise ManifestError(f"{file}: no record in it")
    return records


def _label_map_near(path: pathlib.Path) -> dict[str, str] | None:
    """EmoBox's label map beside the list or one folder up; None (printed) where there is none."""
    for folder in (path.parent, path.parent.parent):
        for name in ("label_map.json", "label_dict.json"):          # EMOVO's is called label_dict.json
            if (folder / name).is_file():
                return files.read_json(folder / name)
    print(f"{path}: no label_map.json beside it or one folder up, so labels are taken as they are written")
    return None


def _emobox_row(file: pathlib.Path, line: int, record: dict, corpus: str, names: Mapping[str, str] | None) -> dict:
    """One manifest row; `by_name` is the emotion that the file name says ("" where it says none). Older lists say audio and label."""
    wav, label = record.get("wav", record.get("audio")), record.get("emo", record.get("label"))
    if not isinstance(wav, str) or not isinstance(label, str):
        raise ManifestError(f"{file}, line {line}: a record needs wav and emo (or audio and label); found: {', '.join(record)}")
    if names is not None and label not in names:
        raise ManifestError(f"{file}, line {line}: label {label!r} is not in the label map; it has {', '.join(names)}")
    parts = pathlib.PurePosixPath(wav).parts
    parts = parts[2:] if parts[:1] == ("downloads",) else parts
    row, by_name = empty_row(corpus, without_extension("/".join(parts)), emotion_raw=label), ""
    if corpus in PARSERS:
        try:
            row = PARSERS[corpus](pathlib.PurePosixPath(nfc(wav)))
        except ForeignNameError as error:
            raise ManifestError(f"{file}, line {line}: {error.reason}; is corpus={corpus!r} right?") from error
        by_name = load_card(corpus).label_map.get(row["emotion_raw"], "")
        row["emotion_raw"] = row["emotion_raw"] or label
    return {**row, "emotion": by_name if names is None and by_name else _plain(label, names), "by_name": by_name}


def _report(table: pd.DataFrame, corpus: str) -> None:
    """Print where speakers come from, and where EmoBox's label is another than the file name's."""
    unknown = int((table["speaker"] == "").sum())
    if unknown:
        print(f"{corpus}: EmoBox lists have no speakers, and this suite cannot read {unknown} of {len(table)} from the file names: whether a tested "
              "speaker was also trained on cannot be known")
    else:
        print(f"{corpus}: EmoBox lists have no speakers; the {table['speaker'].nunique()} speakers were read from the file names")
    other = table[(table["by_name"] != "") & (table["by_name"] != table["emotion"])]
    if len(other):
        first = other.iloc[0]
        print(f"{corpus}: {len(other)} labels differ from those in the file names, and EmoBox's are kept (the first: {first['utt_id']} is "
              f"{first['emotion']} in EmoBox, {first['by_name']} by its name)")
