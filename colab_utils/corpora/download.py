"""Getting a corpus: fetched, asked for, or unpacked from its one archive on Drive.

Addresses and instructions stand in `data_manifests/downloads.csv`; licences and counts on the
corpus cards. An address with `tested` = no was taken from its owners' pages and has not been tried.
A hash comes from the owners or is noted at the first download, never made up; what was unpacked is
compared with the counts of the card by `load_corpus`.
"""

import datetime
import os
import pathlib
import shutil
import tarfile
import zipfile

import pandas as pd
import pooch

from colab_utils import files
from colab_utils.corpora.cards import data_folder, load_card
from colab_utils.corpora.manifest import ManifestError, read_table
from colab_utils.corpora.web import DownloadError, ResumingDownload, announced_size
from colab_utils.drive import ArchiveError, stage
from colab_utils.drive.staging import ARCHIVES, STAMP, is_whole
from colab_utils.files import AnyPath

DRIVE_FOLDER = "MyDrive/ser_corpora"


def _sources() -> pd.DataFrame:
    """downloads.csv by corpus: url, bytes, hash, hash_source, tested, ask, inside (all text)."""
    return read_table(data_folder() / "downloads.csv").set_index("corpus")


def _source(name: str) -> pd.Series:
    """The row of one corpus. Raises ManifestError, listing the known ones."""
    sources = _sources()
    if name not in sources.index:
        raise ManifestError(
            f"nothing is known about getting a corpus {name!r}; known: {', '.join(sources.index)}"
        )
    return sources.loc[name]


def how_to_get(name: str) -> str:
    """Where a corpus comes from, its licence, and what to put where on Drive, in one paragraph.

    Raises:
        ManifestError: for a corpus that downloads.csv does not know.

    Example:
        >>> print(how_to_get("iemocap"))
    """
    source = _source(name)
    return (
        f"{source['ask']} Licence: {load_card(name).license}. Put it on Drive as one archive,"
        f" {DRIVE_FOLDER}/{name}.zip, not as single files (Drive takes hours for those). Inside:"
        f" {source['inside']} Then prepare_corpus({name!r}, <that folder>, <a local folder>)"
        f" unpacks it, and load_corpus({name!r}, ...) says what is missing."
    )


def fetch_corpus(name: str, folder: AnyPath, base_url: str | None = None) -> pathlib.Path:
    """Download an open corpus to `folder/<name>.zip` and unpack it to `folder/<name>`.

    Prints size, licence and address first. An interrupted download goes on where it was at the next
    call. The SHA-256 of the first download is noted in `folder/<name>.source.json`; later ones must
    agree with it, and with the owners' checksum where there is one. The zip stays: copy it to Drive
    and `prepare_corpus` finds it. Nothing half-made stays except the kept part of a download. Of
    two calls for one corpus the second waits.

    Args:
        name: of the corpus.
        folder: a local folder.
        base_url: a mirror: the archive is then sought at `<base_url>/<its file name>`.

    Returns:
        The unpacked folder, at once when it is there.

    Raises:
        DownloadError: vanished server, wrong hash, no archive, a corpus given only on request.
        DiskFullError: there is no room; also while it is unpacked.
        FileExistsError: something else is in the way.
        ManifestError: for an unknown corpus.

    Example:
        >>> folder = fetch_corpus("ravdess", "/content/corpora")
    """
    source = _source(name)
    folder = pathlib.Path(os.path.abspath(os.path.expanduser(folder)))
    target, archive = folder / name, folder / f"{name}.zip"
    if is_whole(target) and not _fetched(archive).exists():
        print(f"{name} is already in {target}.")
        return target
    if target.exists() and not (target / STAMP).is_file():
        raise FileExistsError(
            f"{target} exists and was not fetched: pass it to load_corpus, move it away or choose"
            " another folder"
        )
    if not source["url"]:
        raise DownloadError(f"{name} cannot be fetched from here. {how_to_get(name)}")
    url = source["url"]
    if base_url:
        url = f"{base_url.rstrip('/')}/{url.rsplit('/', 1)[-1]}"
    with files.alone(archive, f"fetching {name}"):
        if not archive.exists():
            tried = bool(base_url) or source["tested"] == "yes"
            _announce(name, url, source["bytes"], tried)
            _retrieve(url, archive, source["hash"])
        _unpack(name, url, archive)
    print(
        f"{name} is unpacked in {target}; load_corpus({name!r}, ...) compares it with the expected"
        f" counts. Keep {archive.name} on Drive ({DRIVE_FOLDER}) to spare the download next time."
    )
    return target


def _announce(name: str, url: str, size: str, tried: bool) -> None:
    """Print what is about to be fetched: size, licence, address, and whether it was ever tried."""
    number = int(size) if size else announced_size(url)
    told = f"{number / 1e6:.0f} MB" if number else "size not announced"
    warning = "" if tried else " (address not tried from here)"
    print(f"{name}: {told}, licence: {load_card(name).license}, from {url}{warning}.")


def _work(archive: pathlib.Path) -> pathlib.Path:
    """The folder beside an archive in which its download lies until all is done."""
    return archive.with_name(f".{archive.name}.download")


def _note(archive: pathlib.Path) -> pathlib.Path:
    """The file that says where an archive came from, and its SHA-256."""
    return archive.with_suffix(".source.json")


def _fetched(archive: pathlib.Path) -> pathlib.Path:
    """The note of a download that has not been unpacked yet."""
    return _work(archive) / _note(archive).name


def _retrieve(url: str, archive: pathlib.Path, known_hash: str) -> None:
    """Fetch `archive`, which appears only when its hash is right.

    Its note is written before, into `_work`: a kill at any moment leaves both or the kept part.
    """
    note, work = _note(archive), _work(archive)
    download = ResumingDownload(work / f"{archive.name}.part")
    try:
        download.fetch(url)
        fault = ""
        algorithm, _, digest = known_hash.partition(":")
        sha256 = files.file_sha256(download.part)
        if known_hash and pooch.file_hash(str(download.part), algorithm) != digest:
            fault = "the checksum of its owners"
        elif note.exists() and sha256 != files.read_json(note)["sha256"]:
            fault = f"the first download (noted in {note})"
        if fault:
            download.part.unlink()
            accept = "" if known_hash else f"; delete {note.name} to accept that"
            raise DownloadError(
                f"what {url} gave differs from {fault} and was removed: run the cell again, and if"
                f" it happens again the file has been changed by its owners{accept}"
            )
    except BaseException:
        if not download.have:
            shutil.rmtree(work, ignore_errors=True)
        raise
    content = {
        "url": url,
        "bytes": download.have,
        "sha256": sha256,
        "fetched": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }
    files.write_json(_fetched(archive), content)
    os.replace(download.part, archive)


def _unpack(name: str, url: str, archive: pathlib.Path) -> None:
    """Unpack an archive; what was fetched is removed when it cannot be, or gets its note, once."""
    note, fetched = _note(archive), _fetched(archive)
    try:
        stage(archive, archive.parent)
    except ArchiveError as error:
        if not fetched.exists():
            raise  # the user's own
        archive.unlink()
        shutil.rmtree(fetched.parent)
        raise DownloadError(
            f"what {url} gave is not a usable archive and was removed ({error.__cause__ or error}):"
            f" get it by hand, how_to_get({name!r}) says how"
        ) from error
    if fetched.exists() and not note.exists():
        os.replace(fetched, note)
    shutil.rmtree(fetched.parent, ignore_errors=True)


def _archives(folder: pathlib.Path) -> dict[str, list[pathlib.Path]]:
    """The archives and folders in a folder, by the corpus that their name stands for.

    Upper and lower case and - for _ do not matter: MSP-IMPROV.zip is msp_improv.
    """
    found: dict[str, list[pathlib.Path]] = {}
    for path in sorted(folder.glob("[!.]*")):
        name = path.name
        if path.is_dir() or ARCHIVES.search(name):
            corpus = ARCHIVES.sub("", name).lower().replace("-", "_")
            found.setdefault(corpus, []).append(path)
    return found


def drive_overview(drive_folder: AnyPath) -> pd.DataFrame:
    """Which corpora lie in a Drive folder; reads no whole file.

    Args:
        drive_folder: such as MyDrive/ser_corpora.

    Returns:
        DataFrame(corpus, archive, size_mb, state), the known corpora first, then other archives.
        state is ready, missing, or what is wrong.

    Example:
        >>> drive_overview("/content/drive/MyDrive/ser_corpora")
    """
    folder = pathlib.Path(drive_folder)
    if not folder.is_dir():
        print(
            f"{folder} is not there: mount Drive, make the folder, and put one archive for each"
            " corpus into it."
        )
    found = _archives(folder)
    names = _sources().index.tolist()
    for name, paths in found.items():
        if name not in names and any(path.is_file() for path in paths):
            names.append(name)
    rows = []
    for name in names:
        paths = found.get(name, [])
        size, state = _state(paths)
        rows.append((name, ", ".join(path.name for path in paths), size, state))
    return pd.DataFrame(rows, columns=["corpus", "archive", "size_mb", "state"])


def _state(paths: list[pathlib.Path]) -> tuple[float, str]:
    """Size in MB (NaN unknown) of a corpus' archive, and "ready" or what is wrong.

    Looks at the table of contents of a zip and at the first bytes of a tar.
    """
    unknown = float("nan")
    if not paths:
        return unknown, "missing"
    if len(paths) > 1:
        return unknown, "found more than once: keep one archive"
    path = paths[0]
    if path.is_dir():
        return unknown, "a folder of single files: works, but one zip is many times faster"
    try:
        size = path.stat().st_size
        is_zip = path.suffix.lower() == ".zip"
        whole = zipfile.is_zipfile(path) if is_zip else size and tarfile.is_tarfile(path)
    except OSError as error:
        return unknown, f"cannot be read ({error.strerror or error}): mount Drive again"
    state = "ready"
    if size == 0:
        state = "empty file: copy it to Drive again"
    elif not whole:
        state = "damaged or not an archive: copy it to Drive again"
    return round(size / 1e6, 1), state


def prepare_corpus(name: str, drive_folder: AnyPath, local_folder: AnyPath) -> pathlib.Path:
    """Unpack the one archive of a corpus on Drive to the local disk.

    Done once: a second call copies nothing.

    Args:
        name: of the corpus.
        drive_folder: where the archive lies.
        local_folder: where the corpus is unpacked, in a folder of its own.

    Returns:
        The local folder of the corpus.

    Raises:
        FileNotFoundError: it is not on Drive; the message says how to get the corpus.
        ArchiveError: it is damaged or would write outside its folder.
        ManifestError: it is there more than once, or it is no known corpus and not there.
        DiskFullError: there is no room.
        OSError: Drive is lost.

    Example:
        >>> folder = prepare_corpus("iemocap", "MyDrive/ser_corpora", "/content/corpora")
    """
    folder = pathlib.Path(drive_folder)
    found = _archives(folder).get(name, [])
    if len(found) > 1:
        raise ManifestError(
            f"{folder} holds {name} more than once ({', '.join(path.name for path in found)}): keep"
            " one archive"
        )
    if not found:
        raise FileNotFoundError(f"no archive of {name} in {folder}. {how_to_get(name)}")
    return stage(found[0], local_folder)
