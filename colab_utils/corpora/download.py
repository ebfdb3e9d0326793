"""Getting a corpus: fetching an open one, asking for a licensed one, and unpacking the one archive
of it that lies on Drive.

Addresses and instructions stand in `data_manifests/downloads.csv`; licences and counts on the
corpus cards. An address with `tested` = no was taken from its owners' pages and has not been tried.
A hash comes from the owners or is noted at the first download, never made up; what was unpacked is
compared with the counts of the card by `load_corpus`.
"""

from __future__ import annotations

import datetime
import logging
import os
import pathlib
import shutil
import tarfile
import zipfile

import pandas as pd
import pooch

from colab_utils import files
from colab_utils.corpora.cards import corpus_names, data_folder, load_card
from colab_utils.corpora.manifest import ManifestError, read_table
from colab_utils.corpora.web import DownloadError, ResumingDownloader, announced_size
from colab_utils.drive import ArchiveError, stage
from colab_utils.drive.staging import ARCHIVES, STAMP

__all__ = [
    "DRIVE_FOLDER",
    "DownloadError",
    "drive_overview",
    "fetch_corpus",
    "fetchable",
    "how_to_get",
    "prepare_corpus",
]

DRIVE_FOLDER = "MyDrive/ser_corpora"


def _sources() -> pd.DataFrame:
    """downloads.csv, indexed by corpus: url, bytes, hash, hash_source, tested, ask, inside (all
    text).
    """
    return read_table(data_folder() / "downloads.csv").set_index("corpus")


def _source(name: str) -> pd.Series:
    """The row of one corpus. Raises ManifestError, listing the known ones."""
    sources = _sources()
    if name not in sources.index:
        raise ManifestError(
            f"nothing is known about getting a corpus {name!r}; known: {', '.join(sources.index)}"
        )
    return sources.loc[name]


def fetchable() -> list[str]:
    """The corpora that `fetch_corpus` can get without a form to sign."""
    sources = _sources()
    return sources.index[sources["url"] != ""].tolist()


def how_to_get(name: str) -> str:
    """A paragraph: where a corpus comes from, its licence, what to put where on Drive, and what the
    archive should hold.

    Raises ManifestError for a corpus that downloads.csv does not know.
    """
    source = _source(name)
    return (
        f"{source['ask']} Licence: {_licence(name)}. Put it on Drive as one archive,"
        f" {DRIVE_FOLDER}/{name}.zip, not as single files (Drive takes hours for those). Inside:"
        f" {source['inside']} Then prepare_corpus({name!r}, <that folder>, <a local folder>)"
        f" unpacks it, and load_corpus({name!r}, ...) says what is missing."
    )


def _licence(name: str) -> str:
    """The licence as its card states it."""
    return (
        load_card(name).license
        if name in corpus_names()
        else "as stated on the page where you get it"
    )


def fetch_corpus(
    name: str, folder: str | os.PathLike, base_url: str | None = None, progress: bool = True
) -> pathlib.Path:
    """Download an open corpus to `folder/<name>.zip` and unpack it to `folder/<name>`; returns that
    folder, at once when it is there.

    Prints size, licence and address first. `base_url` is a mirror: the archive is then sought at
    `<base_url>/<its file name>`. An interrupted download goes on where it was at the next call. The
    SHA-256 of the first download is noted in `folder/<name>.source.json` and later downloads must
    agree with it (and with the owners' checksum, where there is one). The zip stays: publish it to
    Drive and `prepare_corpus` finds it in the next session. Raises DownloadError (vanished server,
    wrong hash, not an archive, a corpus that is only given on request), files.DiskFullError,
    FileExistsError when something else is in the way, ManifestError for an unknown corpus; nothing
    half-made stays except the kept part of a download, which the message names.
    """
    source = _source(name)
    folder = pathlib.Path(os.path.abspath(os.path.expanduser(folder)))
    target, archive = folder / name, folder / f"{name}.zip"
    if (target / STAMP).is_file():
        print(f"{name} is already in {target}.")
        return target
    if target.exists():
        raise FileExistsError(
            f"{target} exists and was not fetched: pass it to load_corpus, move it away or choose"
            " another folder"
        )
    if not source["url"]:
        raise DownloadError(f"{name} cannot be fetched from here. {how_to_get(name)}")
    url = (
        f"{base_url.rstrip('/')}/{source['url'].rsplit('/', 1)[-1]}" if base_url else source["url"]
    )
    if not archive.exists():
        _announce(name, url, source, tried=base_url is not None or source["tested"] == "yes")
    fetched = _retrieve(url, archive, source["hash"], progress)
    try:
        stage(archive, folder)
    except ArchiveError as error:
        if not fetched:
            raise
        archive.unlink()
        raise DownloadError(
            f"what {url} gave is not a usable archive and was removed ({error.__cause__ or error}):"
            f" get it by hand, how_to_get({name!r}) says how"
        ) from error
    if fetched:
        _note_source(archive, url)
    print(
        f"{name} is unpacked in {target}; load_corpus({name!r}, ...) compares it with the expected"
        f" counts. Keep {archive.name} on Drive ({DRIVE_FOLDER}) to spare the download next time."
    )
    return target


def _announce(name: str, url: str, source: pd.Series, tried: bool) -> None:
    """Print what is about to be fetched: size, licence, address, and whether that address was ever
    tried.
    """
    size = int(source["bytes"]) if source["bytes"] else announced_size(url)
    print(
        f"{name}: {f'{size / 1e6:.0f} MB' if size else 'size not announced'}, licence:"
        f" {_licence(name)}, from {url}{'' if tried else ' (address not tried from here)'}."
    )


def _retrieve(url: str, archive: pathlib.Path, known_hash: str, progress: bool) -> bool:
    """Fetch `archive` with pooch; False when it is there already.

    Work in progress lies in `.<archive>.download` beside it.
    """
    if archive.exists():
        return False
    note = archive.with_suffix(".source.json")
    noted = files.read_json(note)["sha256"] if note.exists() else ""
    work = archive.with_name(f".{archive.name}.download")
    downloader = ResumingDownloader(work / f"{archive.name}.part", progress)
    logger = pooch.get_logger()
    level = logger.level
    # pooch would print paths and hashes that mean nothing to a notebook's reader
    logger.setLevel(logging.WARNING)
    try:
        pooch.retrieve(
            url, known_hash or None, fname=archive.name, path=work, downloader=downloader
        )
        if noted and files.file_sha256(work / archive.name) != noted:
            raise ValueError("not the noted SHA-256")
        os.replace(work / archive.name, archive)
        return True
    except ValueError as error:
        (work / archive.name).unlink(missing_ok=True)
        expected = (
            "the checksum of its owners" if known_hash else f"the first download (noted in {note})"
        )
        raise DownloadError(
            f"what {url} gave differs from {expected} and was removed: run the cell again, and if"
            " it happens again the file has been changed by its"
            f" owners{'' if known_hash else f'; delete {note.name} to accept that'}"
        ) from error
    finally:
        logger.setLevel(level)
        if not downloader.have:
            shutil.rmtree(work, ignore_errors=True)


def _note_source(archive: pathlib.Path, url: str) -> None:
    """Write down where an archive came from and its SHA-256, at its first download."""
    note = archive.with_suffix(".source.json")
    if not note.exists():
        today = datetime.datetime.now(datetime.UTC).date().isoformat()
        files.write_json(
            note,
            {
                "url": url,
                "bytes": archive.stat().st_size,
                "sha256": files.file_sha256(archive),
                "fetched": today,
            },
        )


# -----------------------------------------------------------------------------------------------------------------
# Drive


def drive_overview(drive_folder: str | os.PathLike) -> pd.DataFrame:
    """Which corpora lie in a Drive folder: DataFrame(corpus, archive, size_mb, state), the known
    corpora first, then other archives.

    `state` is ready, missing, or what is wrong. Upper and lower case and - for _ in file names do
    not matter. Reads no whole file.
    """
    folder = pathlib.Path(drive_folder)
    if not folder.is_dir():
        print(
            f"{folder} is not there: mount Drive, make the folder, and put one archive for each"
            " corpus into it."
        )
    found: dict[str, list[pathlib.Path]] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if not path.name.startswith(".") and (path.is_dir() or ARCHIVES.search(path.name)):
            found.setdefault(_key(path), []).append(path)
    names = _sources().index.tolist()
    rows = [_overview_row(name, found.get(name, [])) for name in names]
    rows += [
        _overview_row(key, paths)
        for key, paths in found.items()
        if key not in names and any(path.is_file() for path in paths)
    ]
    return pd.DataFrame(rows, columns=["corpus", "archive", "size_mb", "state"])


def _key(path: pathlib.Path) -> str:
    """The corpus name that a file or folder name stands for: MSP-IMPROV.zip is msp_improv."""
    return (path.name if path.is_dir() else ARCHIVES.sub("", path.name)).lower().replace("-", "_")


def _overview_row(corpus: str, paths: list[pathlib.Path]) -> tuple[str, str, float, str]:
    """One row of the overview."""
    if not paths:
        return corpus, "", float("nan"), "missing"
    names = ", ".join(path.name for path in paths)
    if len(paths) > 1:
        return corpus, names, float("nan"), "found more than once: keep one archive"
    if paths[0].is_dir():
        return (
            corpus,
            names,
            float("nan"),
            "a folder of single files: works, but one zip is many times faster",
        )
    try:
        size, state = paths[0].stat().st_size, _archive_state(paths[0])
    except OSError as error:
        return (
            corpus,
            names,
            float("nan"),
            f"cannot be read ({error.strerror or error}): mount Drive again",
        )
    return corpus, names, round(size / 1e6, 1), state


def _archive_state(path: pathlib.Path) -> str:
    """ready, or why an archive cannot be.

    Looks at the table of contents of a zip and at the first bytes of a tar.
    """
    if path.stat().st_size == 0:
        return "empty file: copy it to Drive again"
    whole = zipfile.is_zipfile(path) if path.suffix.lower() == ".zip" else tarfile.is_tarfile(path)
    return "ready" if whole else "damaged or not an archive: copy it to Drive again"


def prepare_corpus(
    name: str, drive_folder: str | os.PathLike, local_folder: str | os.PathLike
) -> pathlib.Path:
    """Unpack the one archive of a corpus on Drive to the local disk; returns the local folder.

    Done once: a second call copies nothing.

    Raises FileNotFoundError (with how to get the corpus) when it is not on Drive, ArchiveError when
    it is damaged or would write outside its folder, ManifestError when it is there more than once,
    files.DiskFullError, OSError when Drive is lost.
    """
    folder = pathlib.Path(drive_folder)
    found = [
        path
        for path in (sorted(folder.iterdir()) if folder.is_dir() else [])
        if _key(path) == name and (path.is_dir() or ARCHIVES.search(path.name))
    ]
    if len(found) > 1:
        raise ManifestError(
            f"{folder} holds {name} more than once ({', '.join(path.name for path in found)}): keep"
            " one archive"
        )
    if not found:
        help_ = how_to_get(name) if name in _sources().index else f"Put it there as {name}.zip."
        raise FileNotFoundError(f"no archive of {name} in {folder}. {help_}")
    return stage(found[0], local_folder)
