"""The notebooks' one door to audio: the embedded corpus, a known corpus here, on Drive or to be fetched, or the user's own data."""
from __future__ import annotations

import os
import pathlib
from collections.abc import Mapping

from colab_utils.corpora.download import fetch_corpus, how_to_get, prepare_corpus
from colab_utils.corpora.manifest import ManifestError
from colab_utils.corpora.own_data import from_csv, from_folder
from colab_utils.corpora.scan import Scan, load_corpus

OWN, EMBEDDED = "own", "synthetic"


def open_corpus(name: str, audio: str | os.PathLike = "", workspace: str | os.PathLike = "out", drive_folder: str | os.PathLike | None = None,
                csv_columns: Mapping[str, str] | None = None, fetch: bool = False) -> Scan:
    """Scan a corpus, wherever it is, and return what is usable of it.

    name: "synthetic" (made below `workspace` when it is not there), a corpus with a card, or "own": then `audio` is a folder with one
    sub-folder per emotion, or a CSV whose columns `csv_columns` names (`wav`, `emotion` and, where known, `speaker`).
    A known corpus is taken from the folder `audio`; without one from its archive in `<drive_folder>/ser_corpora`; or, with `fetch`,
    downloaded where its owners allow that. Raises ManifestError, saying how to get the corpus, when none of these applies.
    """
    local = pathlib.Path(workspace) / "corpora"
    if name == OWN:
        return _open_own(audio, csv_columns or {})
    if name == EMBEDDED:
        return load_corpus(name, workspace=workspace)
    if not str(audio) and drive_folder:
        audio = prepare_corpus(name, pathlib.Path(drive_folder) / "ser_corpora", local)
    elif not str(audio) and fetch:
        audio = fetch_corpus(name, local)
    if not str(audio):
        raise ManifestError(f"where is {name}? Set AUDIO to its folder. {how_to_get(name)}")
    return load_corpus(name, audio, workspace=workspace)


def _open_own(audio: str | os.PathLike, columns: Mapping[str, str]) -> Scan:
    """The user's own data, from a CSV or a folder. Raises ManifestError where neither is named."""
    if not str(audio):
        raise ManifestError('CORPUS = "own" needs AUDIO: a folder with one sub-folder per emotion, or a CSV file')
    if pathlib.Path(audio).is_dir():
        return _told(from_folder(audio))
    if not {"wav", "emotion"} <= set(columns):
        raise ManifestError(f'{audio} is a CSV: say which columns hold what, such as OWN_CSV = '
                            '{"wav": "file", "emotion": "label", "speaker": "who"}')
    return _told(from_csv(audio, **columns))


def _told(scan: Scan) -> Scan:
    """The scan, printed as load_corpus prints that of a known corpus."""
    print(scan)
    return scan
