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
from colab_utils.corpora import archives
from colab_utils.corpora.cards import data_folder, load_card
from colab_utils.corpora.tables.reading import ManifestError, read_table
from colab_utils.corpora.web import DownloadError, ResumingDownload, announced_size
from colab_utils.drive import ArchiveError, stage
from colab_utils.drive.staging import ARCHIVES, PACKED, STAMP, is_whole
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
        f" {DRIVE_FOLDER}/{name}.zip or as it was downloaded, not as single files (Drive takes"
        " hours for those). Inside:"
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
    candidates = archives.things(folder, "*")
    rows, others = [], list(candidates)
    for name in _sources().index:
        paths = archives.fitting(name, candidates)
        size, state = _state(name, paths)
        rows.append((name, ", ".join(path.name for path in paths), size, state))
        others = [path for path in others if path not in paths and path.is_file()]
    for path in others:
        rows.append((ARCHIVES.sub("", path.name), path.name, *_state("", [path])))
    return pd.DataFrame(rows, columns=["corpus", "archive", "size_mb", "state"])


def _state(name: str, paths: list[pathlib.Path]) -> tuple[float, str]:
    """Size in MB (NaN unknown) of a corpus' archives, and "ready" or what is wrong."""
    unknown = float("nan")
    if not paths:
        return unknown, "missing"
    if len(paths) > 1 and not archives.are_parts(name, paths):
        return unknown, "found more than once: keep one archive"
    size = 0.0
    for path in paths:
        fault = _fault(path)
        if fault:
            return unknown if path.is_dir() else _megabytes(path), fault
        size += _megabytes(path)
    return round(size, 1), "ready"


def _megabytes(path: pathlib.Path) -> float:
    """Size of a file; NaN where Drive does not say."""
    try:
        return round(path.stat().st_size / 1e6, 1)
    except OSError:
        return float("nan")


def _fault(path: pathlib.Path) -> str:
    """What is wrong with an archive, or "".

    Looks at the table of contents of a zip and at the first bytes of a tar.
    """
    if path.is_dir():
        return "a folder of single files: works, but one zip is many times faster"
    if PACKED.search(path.name):
        return f"a {path.suffix} archive, not read here: unpack it and pack the files as a zip"
    try:
        size = path.stat().st_size
        is_zip = path.suffix.lower() == ".zip"
        whole = zipfile.is_zipfile(path) if is_zip else size and tarfile.is_tarfile(path)
    except OSError as error:
        return f"cannot be read ({error.strerror or error}): mount Drive again"
    if size == 0:
        return "empty file: copy it to Drive again"
    return "" if whole else "damaged or not an archive: copy it to Drive again"


def prepare_corpus(name: str, drive_folder: AnyPath, local_folder: AnyPath) -> pathlib.Path:
    """Unpack the archive of a corpus on Drive, or its parts, to the local disk.

    It is found by the corpus' name, by the names under which it is published (also as browsers and
    Drive change them, `ravdess (1).zip`), or by what a zip says is in it. Done once: a second call
    copies nothing.

    Args:
        name: of the corpus.
        drive_folder: where the archive lies, itself or in a sub-folder.
        local_folder: where the corpus is unpacked, in a folder of its own.

    Returns:
        The local folder of the corpus.

    Raises:
        FileNotFoundError: it is not on Drive; the message says what is, and how to get the corpus.
        ArchiveError: it is damaged, a .rar or .7z, or would write outside its folder.
        ManifestError: it is there more than once, or it is no known corpus and not there.
        DiskFullError: there is no room.
        OSError: Drive is lost.

    Example:
        >>> folder = prepare_corpus("iemocap", "MyDrive/ser_corpora", "/content/corpora")
    """
    folder = pathlib.Path(drive_folder)
    found = archives.choose(name, archives.things(folder, "*"))
    # a folder of thousands of files is listed only where it has to be
    found = found or archives.choose(name, archives.things(folder, "*/*"))
    if not found:
        there = archives.what_lies(folder, {})
        raise FileNotFoundError(f"no archive of {name} in {folder} ({there}). {how_to_get(name)}")
    return _unpacked(name, found, local_folder)


def locate_corpus(name: str, audio: AnyPath, local_folder: AnyPath) -> pathlib.Path:
    """The local folder that is meant by the path of a corpus.

    Args:
        name: of the corpus.
        audio: its folder; its archive; or a path that ends in its name and is not there: what is
            called after the corpus beside it is taken then, a folder EMO-DB for `emodb`.
        local_folder: where an archive is unpacked.

    Returns:
        `audio` itself where it is none of these.

    Raises:
        ArchiveError: and others, as `prepare_corpus`.
    """
    audio = pathlib.Path(os.path.abspath(os.path.expanduser(audio)))
    found = []
    if audio.is_file() and (ARCHIVES.search(audio.name) or PACKED.search(audio.name)):
        found = [audio]
    elif not audio.exists() and audio.name == name:
        found = archives.choose(name, archives.things(audio.parent, "*"))
    if not found:
        return audio
    return found[0] if found[0].is_dir() else _unpacked(name, found, local_folder)


def unpack_inside(name: str, folder: AnyPath, local_folder: AnyPath) -> pathlib.Path | None:
    """Unpack the archives of a corpus that lie below a local folder, such as in a zip of zips.

    Args:
        name: of the corpus.
        folder: an existing one.
        local_folder: where they are unpacked.

    Returns:
        The unpacked folder; None where no archive of the corpus is there.

    Raises:
        ArchiveError: and others, as `prepare_corpus`.
    """
    inside = archives.things(pathlib.Path(folder), "**/*", folders=False)
    found = archives.choose(name, [path for path in inside if not PACKED.search(path.name)])
    return _unpacked(name, found, local_folder) if found else None


def _unpacked(name: str, found: list[pathlib.Path], local_folder: AnyPath) -> pathlib.Path:
    """Stage what `archives.choose` found: one below its own name, several into one folder."""
    local = pathlib.Path(local_folder)
    if len(found) > 1:
        local = local / f"{name}-parts"
        for part in found:
            stage(part, local)
        return local
    if not archives.is_named(name, found[0]):
        # archives of two corpora may both be called download.zip
        local = local / files.short_hash(str(found[0].parent))
    return stage(found[0], local)
