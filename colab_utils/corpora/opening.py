"""The notebooks' one door to audio: the embedded corpus, a known corpus here, on Drive or to be
fetched, or the user's own data.
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Mapping, Sequence

import pandas as pd

from colab_utils.corpora.cards import card_name, load_card
from colab_utils.corpora.download import fetch_corpus, how_to_get, prepare_corpus
from colab_utils.corpora.manifest import ManifestError
from colab_utils.corpora.own_data import from_csv, from_folder
from colab_utils.corpora.scan import Scan, load_corpus
from colab_utils.files import short_hash

OWN, EMBEDDED = "own", "synthetic"


def open_corpus(
    name: str,
    audio: str | os.PathLike = "",
    workspace: str | os.PathLike = "out",
    drive_folder: str | os.PathLike | None = None,
    csv_columns: Mapping[str, str] | None = None,
    fetch: bool = False,
) -> Scan:
    """Scan a corpus, wherever it is, and return what is usable of it.

    name: "synthetic" (made below `workspace` when it is not there), a corpus with a card, or "own":
    then `audio` is a folder with one sub-folder per emotion, or a CSV whose columns `csv_columns`
    names (`wav`, `emotion` and, where known, `speaker`). A known corpus is taken from the folder
    `audio`; without one from its archive in `<drive_folder>/ser_corpora`; or, with `fetch`,
    downloaded where its owners allow that. What was decoded is remembered below `workspace`, so
    that opening it again is quick. Raises ManifestError for an unknown name, for `audio` that is
    not there or does not fit, and, saying how to get the corpus, when none of these ways applies;
    what `fetch_corpus` and `prepare_corpus` raise.
    """
    audio = "" if audio is None else os.path.expanduser(audio)
    if name == OWN:
        return _open_own(audio, csv_columns or {}, pathlib.Path(workspace))
    load_card(name)
    if name == EMBEDDED:
        if audio:
            raise ManifestError(
                f'CORPUS = "{EMBEDDED}" is made, not read: leave AUDIO empty, or set CORPUS to the'
                f' corpus that lies in {audio} ("{OWN}" for your own data)'
            )
        return load_corpus(name, workspace=workspace)
    return load_corpus(
        name,
        audio or _brought(name, pathlib.Path(workspace) / "corpora", drive_folder, fetch),
        workspace=workspace,
    )


def open_corpora(
    names: Sequence[str],
    audio: str | os.PathLike | Mapping[str, str] = "",
    workspace: str | os.PathLike = "out",
    drive_folder: str | os.PathLike | None = None,
    fetch: bool = False,
) -> pd.DataFrame:
    """The manifest of several corpora (or domains of one), each opened once by `open_corpus`.

    audio: the folder that holds one sub-folder per corpus (emodb/, emovo/, ...), or {corpus:
    folder}. Raises what `open_corpus` raises.
    """
    manifests = []
    for name in sorted({card_name(name) for name in names}):
        folder = (
            audio.get(name, "")
            if isinstance(audio, Mapping)
            else os.path.join(os.path.expanduser(audio), name)
            if audio
            else ""
        )
        manifests.append(
            open_corpus(
                name, "" if name == EMBEDDED else folder, workspace, drive_folder, fetch=fetch
            ).manifest
        )
    return pd.concat(manifests, ignore_index=True)


def _brought(
    name: str, local: pathlib.Path, drive_folder: str | os.PathLike | None, fetch: bool
) -> pathlib.Path:
    """The local folder of a corpus that is unpacked from Drive or downloaded.

    Raises ManifestError where neither can be.
    """
    reason = f"where is {name}? Set AUDIO to its folder. {how_to_get(name)}"
    if drive_folder:
        try:
            return prepare_corpus(name, pathlib.Path(drive_folder) / "ser_corpora", local)
        except FileNotFoundError as error:
            reason = str(error)
    if not fetch:
        raise ManifestError(reason)
    return fetch_corpus(name, local)


def _open_own(audio: str, columns: Mapping[str, str], workspace: pathlib.Path) -> Scan:
    """The user's own data, from a CSV or a folder.

    Raises ManifestError where neither is named or there.
    """
    if not audio:
        raise ManifestError(
            f'CORPUS = "{OWN}" needs AUDIO: a folder with one sub-folder per emotion, or a CSV file'
        )
    cache = workspace / "scans" / f"{OWN}-{short_hash(os.path.abspath(audio))}.csv"
    if os.path.isdir(audio):
        return _told(from_folder(audio, cache=cache))
    if not os.path.isfile(audio):
        raise ManifestError(f"{audio}: no such file or folder")
    if not {"wav", "emotion"} <= set(columns):
        raise ManifestError(
            f"{audio} is a CSV: say which columns hold what, such as OWN_CSV = "
            '{"wav": "file", "emotion": "label", "speaker": "who"}'
        )
    return _told(from_csv(audio, cache=cache, **columns))


def _told(scan: Scan) -> Scan:
    """The scan, printed as load_corpus prints that of a known corpus."""
    print(scan)
    return scan
