"""A corpus from Drive to the local disk, once: thousands of small files over Drive take hours."""

import contextlib
import errno
import os
import pathlib
import re
import shutil
import zipfile
import zlib
from collections.abc import Iterator

from colab_utils import files
from colab_utils.drive.archives import DAMAGE, ArchiveError, unpack
from colab_utils.drive.copying import absolute, names_below, reason, retried
from colab_utils.files import AnyPath

STAMP = ".staged.json"  # inside an unpacked folder: which archive it came from, how many files
ARCHIVES = re.compile(r"\.(zip|tar|tgz|tbz2|txz|tar\.gz|tar\.bz2|tar\.xz)$", re.IGNORECASE)
# archives, or parts of them, that only other programs unpack
PACKED = re.compile(r"(\.7z|\.zip|\.tar|\.part\d+)?\.(rar|7z|zst|[rz]\d\d|\d{3})$", re.IGNORECASE)
MANY_FILES = 500
_TAIL = 1 << 20  # bytes of the end of a tar that are compared


def stage(archive_or_folder: AnyPath, to: AnyPath) -> pathlib.Path:
    """Bring a zip or tar archive or a folder from Drive into the local folder `to`.

    An archive is copied in one piece and unpacked to `to/<its name without suffix>`; a folder goes
    to `to/<its name>`. What is there already is not copied again: an archive with the same
    contents (`_contents`) whose files are all there, a file with the same size and time of change.
    Of two calls for one folder the second waits.

    Args:
        archive_or_folder: on Drive.
        to: a local folder.

    Returns:
        The local path.

    Raises:
        FileNotFoundError: for a wrong name.
        ArchiveError: for a damaged archive, one whose members climb out, and .rar or .7z.
        FileExistsError: when another folder of that name is in the way.
        DiskFullError: there is no room.
        OSError: when Drive is lost; an archive then leaves nothing, a folder goes on where it was
            at the next call.

    Example:
        >>> folder = stage("/content/drive/MyDrive/ser_corpora/emodb.zip", "/content/corpora")
    """
    source, to = absolute(archive_or_folder), absolute(to)
    if os.path.isdir(source):
        final = to / source.name
        with files.alone(final, f"copying {source.name}"):
            return _stage_folder(source, final)
    if PACKED.search(source.name):
        raise ArchiveError(
            f"{source.name} is an archive that cannot be unpacked here: unpack it (7-Zip can), pack"
            " the plain files as a zip, and take that in its place"
        )
    final = to / ARCHIVES.sub("", source.name)
    with _reaching(source):
        names_below(source)  # raises for a wrong name
        stamp = retried(_contents, source)
    if not is_whole(final, stamp):
        with files.alone(final, f"unpacking {source.name}"):
            if not is_whole(final, stamp):
                _stage_archive(source, final, stamp)
    return final


def is_whole(folder: pathlib.Path, stamp: dict | None = None) -> bool:
    """Whether a folder was unpacked from an archive and has all of its files.

    Args:
        folder: the unpacked one.
        stamp: what its stamp must say besides, of `_contents`; None for any archive.
    """
    try:
        there = files.read_json(folder / STAMP)
        # the stamp is a file more
        complete = len(names_below(folder)) > there["files"]
        return complete and there.items() >= (stamp or {}).items()
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _contents(archive: pathlib.Path) -> dict:
    """What tells an archive from another of its name and size, without reading it whole.

    A zip's table of contents has a checksum of each file. A tar has none: the time of its last
    change and its last bytes stand for it.
    """
    facts = archive.stat()
    told = [facts.st_mtime_ns]
    if archive.suffix.lower() == ".zip":
        with contextlib.suppress(*DAMAGE), zipfile.ZipFile(archive) as opened:
            told = [[one.filename, one.file_size, one.CRC] for one in opened.infolist()]
    else:
        with open(archive, "rb") as opened:
            opened.seek(max(0, facts.st_size - _TAIL))
            told.append(zlib.crc32(opened.read()))
    return {"archive": archive.name, "bytes": facts.st_size, "contents": files.short_hash(told)}


def _stage_folder(source: pathlib.Path, final: pathlib.Path) -> pathlib.Path:
    """Copy the files of a folder; a new one appears under its final name only when it is whole."""
    work = final if final.exists() else final.with_name(f".{final.name}.partial")
    work.mkdir(parents=True, exist_ok=True)
    with _reaching(source):
        names = names_below(source)
        missing = [name for name in names if not _same(source / name, work / name)]
    if len(missing) > MANY_FILES:
        print(
            f"Copying {len(missing)} single files from {source}: one zip of them would be many"
            " times faster."
        )
    for name in missing:
        _fetch(source / name, work / name)
    gone = sorted({*names_below(work)}.difference(names))
    if gone:
        print(
            f"{len(gone)} file(s) in {work} are not in {source} (the first: {gone[0]}): remove what"
            " is not to be used"
        )
    if work != final:
        os.replace(work, final)
    return final


def _stage_archive(source: pathlib.Path, final: pathlib.Path, stamp: dict) -> None:
    """Copy and unpack an archive; the folder appears only when whole, with a stamp inside."""
    if final.exists() and not (final / STAMP).is_file():
        raise FileExistsError(
            f"{final} exists and was not unpacked from {source.name}: move it away or choose"
            " another folder"
        )
    print(
        f"Copying {source.name} ({stamp['bytes'] / 1e6:.0f} MB) to the local disk and unpacking it."
    )
    with files.scratch(final) as work:
        copy, new = work / "copy", work / "new"
        _fetch(source, copy)
        new.mkdir()
        unpack(copy, new, source.name)
        files.write_json(new / STAMP, stamp | {"files": len(names_below(new))})
        if final.exists():
            os.replace(final, work / "old")
        os.replace(new, final)


def _same(source: pathlib.Path, target: pathlib.Path) -> bool:
    """Whether `target` is there with the size and the time of change of `source`.

    Raises OSError when `source` cannot be reached.
    """
    wanted = source.stat()
    if not target.is_file():
        return False
    there = target.stat()
    return (there.st_size, there.st_mtime_ns) == (wanted.st_size, wanted.st_mtime_ns)


@contextlib.contextmanager
def _reaching(source: pathlib.Path) -> Iterator[None]:
    """Make one sentence of the system's error when Drive stays lost."""
    try:
        yield
    except OSError as error:
        if isinstance(error, files.NotWritableError) or error.errno is None:
            raise  # a sentence already
        raise OSError(
            error.errno,
            f"{source} could not be copied ({reason(error)}): mount Drive again and run this cell"
            " again",
        ) from error


def _fetch(source: pathlib.Path, target: pathlib.Path) -> None:
    """Copy one file; retries. Raises OSError, in one sentence, when Drive stays lost."""
    with _reaching(source):
        retried(_copy, source, target)


def _copy(source: pathlib.Path, target: pathlib.Path) -> None:
    wanted = source.stat()
    with files.replacing(target) as temporary:
        shutil.copyfile(source, temporary)
        if temporary.stat().st_size != wanted.st_size:
            raise OSError(errno.EIO, "the copy is shorter than the original")
        os.utime(temporary, ns=(wanted.st_atime_ns, wanted.st_mtime_ns))
