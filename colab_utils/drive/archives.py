"""Zip and tar archives: unpacked so that nothing can land outside the folder, written so that a
half zip never has the final name.
"""

from __future__ import annotations

import errno
import functools
import lzma
import os
import pathlib
import posixpath
import re
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator

from colab_utils import files
from colab_utils.drive.copying import names_below, reason

# what reading may raise
DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    KeyError,
    EOFError,
    zlib.error,
    lzma.LZMAError,
    RuntimeError,
)


class ArchiveError(ValueError):
    """An archive is damaged or has a member that would land outside its folder."""


def unpack(archive: pathlib.Path, folder: pathlib.Path, name: str) -> None:
    """Write the files of the zip or tar `archive` below the existing `folder`; `name` is its own
    name, for the type and for messages.

    Links are never made: a link to a file inside the archive becomes a copy of that file. On an
    error part of the files may be there; the caller removes the folder. Raises ArchiveError
    (damaged, or a member or link that leaves the folder) and DiskFullError.
    """
    is_zip = name.lower().endswith(".zip")
    try:
        with zipfile.ZipFile(archive) if is_zip else tarfile.open(archive) as opened:
            for member, open_member in (_zip_members if is_zip else _tar_members)(opened):
                target = folder / _inside(member)
                target.parent.mkdir(parents=True, exist_ok=True)
                with open_member() as content, open(target, "wb") as out:
                    shutil.copyfileobj(content, out, 1 << 20)
    except ArchiveError as error:
        raise ArchiveError(f"{name} is not unpacked: {error}; pack the plain files again") from None
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise files.DiskFullError(
                error.errno,
                f"no room left on the disk while unpacking {name}: free some space and run again",
            ) from error
        raise ArchiveError(f"{name} cannot be unpacked ({reason(error)})") from error
    except DAMAGE as error:
        raise ArchiveError(
            f"{name} cannot be unpacked ({reason(error)}): it is damaged or protected; pack it or"
            " copy it again"
        ) from error


def _inside(name: str) -> str:
    """A member's name, cleaned. Raises ArchiveError when it would land outside the folder."""
    clean = name.replace("\\", "/")
    parts = [part for part in clean.split("/") if part not in ("", ".")]
    if (
        clean.startswith("/")
        or re.match(r"[A-Za-z]:", clean)
        or ".." in parts
        or "\0" in clean
        or not parts
    ):
        raise ArchiveError(f"its member {name!r} would land outside the folder")
    return "/".join(parts)


def _link_target(name: str, link: str, start: str) -> str:
    """The member that the link `name` points to, counted from the folder `start`.

    Raises ArchiveError when it leaves the archive.
    """
    resolved = posixpath.normpath(posixpath.join(start, link.replace("\\", "/")))
    if resolved.startswith(("/", "../")) or resolved == "..":
        raise ArchiveError(f"its member {name!r} is a link to {link!r}, outside the archive")
    return resolved


def _zip_members(archive: zipfile.ZipFile) -> Iterator[tuple[str, Callable]]:
    """Name and opener of every file in a zip.

    Raises ArchiveError for a link to anything but a file of the archive.
    """

    def is_link(info: zipfile.ZipInfo) -> bool:
        return stat.S_ISLNK(info.external_attr >> 16)

    for info in archive.infolist():
        content = info
        if is_link(info):
            link = archive.read(info).decode("utf-8", "replace")
            content = archive.getinfo(
                _link_target(info.filename, link, posixpath.dirname(info.filename))
            )
        if is_link(content):
            raise ArchiveError(f"its member {info.filename!r} is a link to a link")
        if info.is_dir():
            _inside(info.filename + "x")
        else:
            yield info.filename, functools.partial(archive.open, content)


def _tar_members(archive: tarfile.TarFile) -> Iterator[tuple[str, Callable]]:
    """Name and opener of every file in a tar.

    Raises ArchiveError for devices, pipes and links to folders.
    """
    for member in archive:
        if member.issym() or member.islnk():
            # hard links count from the archive's root
            start = posixpath.dirname(member.name) if member.issym() else ""
            _link_target(member.name, member.linkname, start)
        if member.isdir():
            _inside(member.name + "/x")
        elif archive.extractfile(member) is None:
            raise ArchiveError(f"its member {member.name!r} is not a file")
        else:
            yield member.name, functools.partial(archive.extractfile, member)
    # gzip's checksum stands after the tar's own end, and only reading on compares it
    while archive.fileobj.read(1 << 20):
        continue


def make_zip(
    paths: str | os.PathLike | Iterable[str | os.PathLike], to: str | os.PathLike
) -> pathlib.Path:
    """Put files and folders into the zip `to`, atomically; names inside are relative to the folder
    that all `paths` share.

    `to` itself and zips beside it (older downloads) are left out unless named in `paths`. Raises
    FileNotFoundError, ValueError when there is nothing to put in, and DiskFullError.
    """
    to = pathlib.Path(os.path.abspath(to))
    given = [paths] if isinstance(paths, (str, os.PathLike)) else paths
    roots = [pathlib.Path(os.path.abspath(root)) for root in given]
    inside = {
        (root if root.is_dir() else root.parent) / name
        for root in roots
        for name in names_below(root)
    }
    inside = {
        file
        for file in inside
        if file in roots or file.parent != to.parent or file.suffix != ".zip"
    } - {to}
    if not inside:
        raise ValueError(
            f"there is nothing to put into {to.name}:"
            f" {', '.join(map(str, roots)) or 'no path was given'} holds no file"
        )
    top = os.path.commonpath([root.parent for root in roots])
    with files.replacing(to) as temporary:
        with zipfile.ZipFile(
            temporary, "w", zipfile.ZIP_DEFLATED, strict_timestamps=False
        ) as archive:
            for file in sorted(inside):
                archive.write(file, file.relative_to(top).as_posix())
    return to
