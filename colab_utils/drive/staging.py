"""A corpus from Drive to the local disk, once: thousands of small files over Drive take hours."""

import errno
import os
import pathlib
import re
import shutil

from colab_utils import files
from colab_utils.drive.archives import unpack
from colab_utils.drive.copying import absolute, names_below, reason, retried
from colab_utils.files import AnyPath

STAMP = ".staged.json"  # inside an unpacked folder: which archive it came from
ARCHIVES = re.compile(r"\.(zip|tar|tgz|tbz2|txz|tar\.gz|tar\.bz2|tar\.xz)$", re.IGNORECASE)
MANY_FILES = 500


def stage(archive_or_folder: AnyPath, to: AnyPath) -> pathlib.Path:
    """Bring a zip or tar archive or a folder from Drive into the local folder `to`.

    An archive is copied in one piece and unpacked to `to/<its name without suffix>`; a folder goes
    to `to/<its name>`. What is already there with the same size (of the archive, of each file) is
    not copied again.

    Args:
        archive_or_folder: on Drive.
        to: a local folder.

    Returns:
        The local path.

    Raises:
        FileNotFoundError: for a wrong name.
        ArchiveError: for a damaged archive or one whose members climb out.
        FileExistsError: when another folder of that name is in the way.
        DiskFullError: there is no room.
        OSError: when Drive is lost; an archive then leaves nothing, a folder goes on where it was
            at the next call.

    Example:
        >>> folder = stage("/content/drive/MyDrive/ser_corpora/emodb.zip", "/content/corpora")
    """
    source, to = absolute(archive_or_folder), absolute(to)
    if source.is_dir():
        return _stage_folder(source, to / source.name)
    names_below(source)  # raises for a wrong name
    return _stage_archive(source, to / ARCHIVES.sub("", source.name))


def _stage_folder(source: pathlib.Path, final: pathlib.Path) -> pathlib.Path:
    """Copy the files of a folder; a new one appears under its final name only when it is whole."""
    work = final if final.exists() else final.with_name(f".{final.name}.partial")
    work.mkdir(parents=True, exist_ok=True)
    names = names_below(source)
    missing = [name for name in names if not _same_size(source / name, work / name)]
    if len(missing) > MANY_FILES:
        print(
            f"Copying {len(missing)} single files from {source}: one zip of them would be many"
            " times faster."
        )
    for name in missing:
        _fetch(source / name, work / name)
    if work != final:
        os.replace(work, final)
    return final


def _stage_archive(source: pathlib.Path, final: pathlib.Path) -> pathlib.Path:
    """Copy and unpack an archive; the folder appears only when whole, with a stamp inside."""
    stamp = {"archive": source.name, "bytes": source.stat().st_size}
    if final.exists() and not (final / STAMP).is_file():
        raise FileExistsError(
            f"{final} exists and was not unpacked from {source.name}: move it away or choose"
            " another folder"
        )
    if final.exists() and files.read_json(final / STAMP) == stamp:
        return final
    copy = final.with_name(f".{source.name}.copy")
    partial = final.with_name(f".{final.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    print(
        f"Copying {source.name} ({stamp['bytes'] / 1e6:.0f} MB) to the local disk and unpacking it."
    )
    try:
        _fetch(source, copy)
        partial.mkdir(parents=True)
        unpack(copy, partial, source.name)
        files.write_json(partial / STAMP, stamp)
        if final.exists():
            shutil.rmtree(final)
        os.replace(partial, final)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        copy.unlink(missing_ok=True)
    return final


def _same_size(source: pathlib.Path, target: pathlib.Path) -> bool:
    """Whether `target` is there with the size of `source`.

    Raises OSError when `source` cannot be reached.
    """
    return target.is_file() and target.stat().st_size == source.stat().st_size


def _fetch(source: pathlib.Path, target: pathlib.Path) -> None:
    """Copy one file unless `target` has its size already; retries.

    Raises OSError, in one sentence, when Drive stays lost.
    """
    try:
        retried(_copy, source, target)
    except files.DiskFullError:
        raise
    except OSError as error:
        raise OSError(
            error.errno,
            f"{source} could not be copied ({reason(error)}): mount Drive again and run this cell"
            " again",
        ) from error


def _copy(source: pathlib.Path, target: pathlib.Path) -> None:
    if _same_size(source, target):
        return
    with files.replacing(target) as temporary:
        shutil.copyfile(source, temporary)
        if not _same_size(source, temporary):
            raise OSError(errno.EIO, "the copy is shorter than the original")
