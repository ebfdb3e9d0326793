"""The notebooks' one door to audio.

The embedded corpus, a known corpus here, on Drive or to be fetched, or the user's own data.
"""

import os
import pathlib
from collections.abc import Mapping, Sequence

import pandas as pd

from colab_utils.corpora.cards import card_name, load_card
from colab_utils.corpora.download import fetch_corpus, how_to_get, prepare_corpus
from colab_utils.corpora.manifest import ManifestError
from colab_utils.corpora.own.named import Own, named_own, open_own
from colab_utils.corpora.own_data import OWN
from colab_utils.corpora.scan import Scan, load_corpus
from colab_utils.files import AnyPath

EMBEDDED = "synthetic"


def open_corpus(
    name: str,
    audio: AnyPath | None = "",
    workspace: AnyPath = "out",
    drive_folder: AnyPath | None = None,
    csv_columns: Mapping[str, str] | None = None,
    fetch: bool = False,
    own: Own | None = None,
) -> Scan:
    """Scan a corpus, wherever it is, print what is usable of it and return it.

    A known corpus is taken from the folder `audio`; without one from its archive in
    `<drive_folder>/ser_corpora`; or, with `fetch`, downloaded where its owners allow that. What was
    decoded is remembered below `workspace`, so that opening it again is quick.

    Args:
        name: "synthetic" (made below `workspace` when it is not there), a corpus with a card, one
            in `own`, or "own".
        audio: the folder of a known corpus. Of "own" a folder with one sub-folder per emotion, or a
            CSV.
        workspace: the local folder for all that is made.
        drive_folder: MyDrive, or None.
        csv_columns: names the columns of the CSV: `wav`, `emotion` and, where known, `speaker`.
        fetch: whether it may be downloaded.
        own: the user's own corpora by name, see `own.named.open_own`.

    Returns:
        The Scan: `.manifest` is what is usable, `.problems` what is not.

    Raises:
        ManifestError: for an unknown name, for `audio` that is not there or does not fit, and,
            saying how to get the corpus, when none of these ways applies. Also what `fetch_corpus`
            and `prepare_corpus` raise.

    Example:
        >>> scan = open_corpus("emodb", "path/to/emodb")
        >>> scan = open_corpus("own", "clips.csv", csv_columns={"wav": "file", "emotion": "label"})
        >>> mine = {"audio": "clips.zip", "wav": "file", "emotion": "label", "speaker": "who"}
        >>> scan = open_corpus("mine", own={"mine": mine})
    """
    audio = os.path.expanduser(audio or "")
    mine = named_own(own, name, audio, csv_columns)
    if name in mine:
        scan = open_own(name, mine[name], workspace, drive_folder)
        print(scan)
        return scan
    _check_known(name, mine)
    if name == EMBEDDED:
        if audio:
            raise ManifestError(
                f'CORPUS = "{EMBEDDED}" is made, not read: leave AUDIO empty, or set CORPUS to the'
                f' corpus that lies in {audio} ("{OWN}" for your own data)'
            )
        return load_corpus(name, workspace=workspace)
    if not audio:
        audio = _brought(name, pathlib.Path(workspace) / "corpora", drive_folder, fetch)
    return load_corpus(name, audio, workspace)


def open_corpora(
    names: Sequence[str],
    audio: AnyPath | Mapping[str, str] = "",
    workspace: AnyPath = "out",
    drive_folder: AnyPath | None = None,
    fetch: bool = False,
    own: Own | None = None,
    alone: bool = False,
) -> pd.DataFrame:
    """The manifest of several corpora (or domains of one), each opened once by `open_corpus`.

    Args:
        names: corpora or domains.
        audio: the folder that holds one sub-folder per corpus (emodb/, emovo/, ...), or {corpus:
            folder}.
        workspace: as in `open_corpus`.
        drive_folder: as in `open_corpus`.
        fetch: as in `open_corpus`.
        own: as in `open_corpus`; a name in it may stand in `names`.
        alone: of a corpus whose domains are named, these and no others.

    Returns:
        The manifests behind each other, with LOCAL_COLUMNS.

    Raises:
        ManifestError: and others, as `open_corpus`.

    Example:
        >>> manifest = open_corpora(["emodb", "emovo"], "path/to/corpora")
    """
    if not names:
        raise ManifestError('no corpus is named: name one or more, such as ["emodb", "emovo"]')
    manifests = []
    for name in sorted({card_name(name) for name in names}):
        folder = ""
        if audio and name != EMBEDDED and name not in (own or {}):
            one_each = isinstance(audio, Mapping)
            folder = audio.get(name, "") if one_each else os.path.join(audio, name)
        scan = open_corpus(name, folder, workspace, drive_folder, fetch=fetch, own=own)
        manifests.append(scan.manifest)
    manifest = pd.concat(manifests, ignore_index=True)
    if alone:
        named = manifest["corpus"].isin(names)
        named |= manifest["corpus"].map(card_name).isin(names)
        manifest = manifest[named].reset_index(drop=True)
    return manifest


def _brought(
    name: str, local: pathlib.Path, drive_folder: AnyPath | None, fetch: bool
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


def _check_known(name: str, mine: Own) -> None:
    """Raise ManifestError for a corpus that is neither known nor the user's own."""
    try:
        load_card(name)
    except ManifestError as error:
        if not mine:
            raise
        raise ManifestError(f"{error}; OWN has {', '.join(mine)}") from None
