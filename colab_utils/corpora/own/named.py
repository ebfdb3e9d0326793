"""The user's own corpora by name: `OWN = {"mine": {"audio": ..., "wav": ..., "emotion": ...}}`."""

import os
import pathlib
import re
from collections.abc import Mapping
from typing import Any

from colab_utils.corpora.cards import card_name, corpus_names
from colab_utils.corpora.manifest import ManifestError
from colab_utils.corpora.own_data import OWN, from_csv, from_folder
from colab_utils.corpora.scan import Scan, cache_file
from colab_utils.drive.staging import ARCHIVES, stage
from colab_utils.files import AnyPath

# such a name stands in utt_ids, folders and figures
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_TABLES = (".csv", ".tsv", ".txt", ".xlsx")
EXAMPLE = '{"mine": {"audio": "clips.csv", "wav": "file", "emotion": "label", "speaker": "who"}}'

Own = Mapping[str, Mapping[str, Any]]


def named_own(
    own: Own | None, name: str, audio: AnyPath = "", columns: Mapping[str, Any] | None = None
) -> dict[str, dict[str, Any]]:
    """All own corpora, that of CORPUS = "own" with AUDIO and OWN_CSV among them.

    Args:
        own: the parameter OWN of a notebook.
        name: the corpus that is asked for.
        audio: its AUDIO.
        columns: its OWN_CSV.

    Returns:
        {name: {"audio": path, key: column}}.

    Raises:
        ManifestError: what is no such mapping, or a name that cannot stand for a corpus.
    """
    found = {}
    for key, entry in dict(own or {}).items():
        if not isinstance(entry, Mapping):
            raise ManifestError(f"OWN[{key!r}] = {entry!r}: write it like OWN = {EXAMPLE}")
        if not _NAME.fullmatch(str(key)):
            raise ManifestError(
                f"OWN: {key!r} cannot be the name of a corpus: letters, digits and _, such as"
                " mine_2024"
            )
        if card_name(key) in corpus_names():
            raise ManifestError(f"OWN: {key} is a known corpus: choose another name for yours")
        found[key] = dict(entry)
    if name == OWN and OWN not in found:
        found[OWN] = {"audio": audio, **(columns or {})}
    return found


def open_own(
    name: str, entry: Mapping[str, Any], workspace: AnyPath, drive_folder: AnyPath | None = None
) -> Scan:
    """Scan a corpus of the user's own.

    Args:
        name: of the corpus.
        entry: `audio` (a table, a folder, a zip or tar; without it `<name>.zip` in
            `ser_corpora` on Drive), and the keys of `from_csv` or `from_folder`. A folder or an
            archive may hold the table, `<name>.csv`; it may lie beside the archive, too.
        workspace: the local folder for all that is made.
        drive_folder: MyDrive, or None.

    Returns:
        The Scan; its corpus is `name`.

    Raises:
        ManifestError: nothing is there, or the columns of a table are not named.
    """
    keys = dict(entry)
    given = _place(name, os.path.expanduser(keys.pop("audio", "") or ""), drive_folder)
    audio = given
    if ARCHIVES.search(given.name):
        audio = stage(given, pathlib.Path(workspace) / "corpora")
    cache = cache_file(workspace, name, str(given))
    table, root = audio, None
    if audio.is_dir():
        table, root = _table_of(name, audio, given), audio
    if table is None:
        if {"wav", "emotion"} & set(keys):
            raise ManifestError(
                f"OWN: {name}: columns of a table are named, but {audio} holds no {name}.csv: put"
                f' the table there, or name it as "audio"'
            )
        return from_folder(audio, cache, corpus=name, **keys)
    if not {"wav", "emotion"} <= set(keys):
        raise ManifestError(
            f"{table} is a table: say which columns hold what, such as"
            ' {"wav": "file", "emotion": "label", "speaker": "who"} (OWN_CSV, or in OWN beside'
            ' "audio")'
        )
    return from_csv(table, root=root, cache=cache, corpus=name, **keys)


def _place(name: str, audio: str, drive_folder: AnyPath | None) -> pathlib.Path:
    """Where the corpus lies. Raises ManifestError."""
    if audio:
        place = pathlib.Path(os.path.abspath(audio))
        if not place.exists():
            raise ManifestError(f"{audio}: no such file or folder")
        return place
    told = f'{name}: where is it? "audio" names a table, a folder or a zip, as in OWN = {EXAMPLE}'
    if name == OWN:
        told = 'CORPUS = "own" needs AUDIO: a folder with one sub-folder per emotion, or a CSV file'
    if not drive_folder:
        raise ManifestError(told)
    archive = pathlib.Path(drive_folder) / "ser_corpora" / f"{name}.zip"
    if not archive.exists():
        raise ManifestError(f"{told}; there is no {archive}, either")
    return archive


def _table_of(name: str, folder: pathlib.Path, given: pathlib.Path) -> pathlib.Path | None:
    """The table that belongs to a folder: inside, one folder deeper, or beside what was given."""
    places = [folder, *sorted(one for one in folder.iterdir() if one.is_dir()), given.parent]
    for place in places:
        for suffix in _TABLES:
            table = place / f"{name}{suffix}"
            if table.is_file():
                return table
    return None
