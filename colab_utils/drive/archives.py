"""Zip and tar archives: nothing lands outside the folder, and a half zip never has the final name.

`extractall` of the libraries would keep links, or change a bad name in silence; here both are
refused.
"""

import errno
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
from collections.abc import Iterable, Iterator
from typing import IO

from colab_utils import files
from colab_utils.drive.copying import absolute, names_below, reason
from colab_utils.files import AnyPath

# what reading may raise
DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    KeyError,
    EOFError,
    zlib.error,
    lzma.LZMAError,
    RuntimeError,
    UnicodeError,
)
# by the first bytes, whatever the suffix says
_FOREIGN = {
    b"Rar!": "a RAR archive: unpack it (7-Zip can) and pack the plain files as a zip",
    b"7z\xbc\xaf": "a 7z archive: unpack it (7-Zip can) and pack the plain files as a zip",
    b"<": "a web page: fetch the archive again in a browser, where a page may want an answer first",
}


class ArchiveError(ValueError):
    """An archive is damaged or has a member that would land outside its folder."""


def unpack(archive: pathlib.Path, folder: pathlib.Path, name: str) -> None:
    """Write the files of a zip or tar below an existing folder.

    Links are never made: a link to a file inside the archive becomes a copy of that file. On an
    error part of the files may be there; the caller removes the folder.

    Args:
        archive: the file.
        folder: where its members go.
        name: its own name, for the type and for messages.

    Raises:
        ArchiveError: it is damaged, or a member or link leaves the folder.
        DiskFullError: there is no room.
    """
    with open(archive, "rb") as opened:
        first = opened.read(4)
    for start, kind in _FOREIGN.items():
        if first.startswith(start):
            raise ArchiveError(f"{name} cannot be unpacked: by its first bytes it is {kind}")
    members = _zip_members if name.lower().endswith(".zip") else _tar_members
    try:
        for member, content in members(archive):
            target = folder / _inside(member)
            target.parent.mkdir(parents=True, exist_ok=True)
            with content, open(target, "wb") as out:
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
    absolute_name = clean.startswith("/") or re.match(r"[A-Za-z]:", clean)
    if absolute_name or ".." in parts or "\0" in clean or not parts:
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


def _zip_members(path: pathlib.Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Name and content of every file in a zip.

    Raises ArchiveError for a link to anything but a file of the archive.
    """

    def is_link(info: zipfile.ZipInfo) -> bool:
        return stat.S_ISLNK(info.external_attr >> 16)

    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            name, content = info.filename, info
            if is_link(info):
                link = archive.read(info).decode("utf-8", "replace")
                content = archive.getinfo(_link_target(name, link, posixpath.dirname(name)))
            if is_link(content):
                raise ArchiveError(f"its member {name!r} is a link to a link")
            if info.is_dir():
                _inside(name + "x")
            else:
                yield name, archive.open(content)


def _tar_members(path: pathlib.Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Name and content of every file in a tar.

    Raises ArchiveError for devices, pipes and links to folders.
    """
    with tarfile.open(path) as archive:
        for member in archive:
            name = member.name
            if member.issym() or member.islnk():
                # hard links count from the archive's root
                start = posixpath.dirname(name) if member.issym() else ""
                _link_target(name, member.linkname, start)
            if member.isdir():
                _inside(name + "/x")
                continue
            content = archive.extractfile(member)
            if content is None:
                raise ArchiveError(f"its member {name!r} is not a file")
            yield name, content
        # gzip's checksum stands after the tar's own end, and only reading on compares it
        while archive.fileobj.read(1 << 20):
            continue


def make_zip(paths: AnyPath | Iterable[AnyPath], to: AnyPath) -> pathlib.Path:
    """Put files and folders into a zip, atomically.

    Args:
        paths: names inside are relative to the folder that all of them share.
        to: the zip. It and zips beside it (older downloads) are left out unless named in `paths`.

    Returns:
        The zip.

    Raises:
        FileNotFoundError: for a path that does not exist.
        ValueError: when there is nothing to put in.
        DiskFullError: there is no room.
    """
    to = absolute(to)
    given = [paths] if isinstance(paths, (str, os.PathLike)) else paths
    roots = [absolute(root) for root in given]
    inside = set()
    for root in roots:
        folder = root if root.is_dir() else root.parent
        for name in names_below(root):
            file = folder / name
            older = file.parent == to.parent and file.suffix == ".zip"
            if file in roots or not older:
                inside.add(file)
    inside.discard(to)
    if not inside:
        raise ValueError(
            f"there is nothing to put into {to.name}:"
            f" {', '.join(map(str, roots)) or 'no path was given'} holds no file"
        )
    top = os.path.commonpath([root.parent for root in roots])
    with files.replacing(to) as temporary:
        pack(sorted(inside), pathlib.Path(top), temporary)
    return to


def pack(inside: Iterable[pathlib.Path], top: pathlib.Path, archive: pathlib.Path) -> None:
    """Write files into a zip, named relative to the folder `top`; tensors are not compressed."""
    with zipfile.ZipFile(archive, "w", strict_timestamps=False) as written:
        for file in inside:
            # floats shrink by a tenth and take a minute a gigabyte
            stored = file.suffix in (".safetensors", ".pt")
            how = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
            try:
                written.write(file, file.relative_to(top).as_posix(), how)
            except FileNotFoundError:
                print(f"{file} is gone since it was listed, and is not in the zip")
