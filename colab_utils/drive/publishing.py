"""Results to Drive: every copy is read back and compared, and the marker that says "complete" comes
last.
"""

from __future__ import annotations

import dataclasses
import errno
import functools
import glob
import os
import pathlib
import posixpath
import shutil

from colab_utils import files
from colab_utils.drive.copying import RETRY_WAITS, names_below, reason, retried

MARKER = "DONE"  # a folder that holds this file is complete
DRIVE_FOLDERS = ("MyDrive", "My Drive", "Shareddrives", "Shared drives")


@dataclasses.dataclass
class PublishReport:
    """What `publish` did: names relative to `local`; `failed` maps a name to its reason.

    `print(report)` is one clear line.
    """

    local: pathlib.Path
    destination: pathlib.Path
    sent: list[str] = dataclasses.field(default_factory=list)
    unchanged: list[str] = dataclasses.field(default_factory=list)
    failed: dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether everything is at the destination now."""
        return not self.failed

    def __str__(self) -> str:
        if self.ok:
            return (
                f"Published to {self.destination}: files sent and checked {len(self.sent)}, already"
                f" there {len(self.unchanged)}."
            )
        total = len(self.sent) + len(self.unchanged) + len(self.failed)
        return (
            f"WARNING: {len(self.failed)} of {total} file(s) could not be published to"
            f" {self.destination} ({next(iter(self.failed.values()))}). Nothing is lost: everything"
            f" is in {self.local}. Publish again later; only what is missing will be sent."
        )


def publish(path: str | os.PathLike, to: str | os.PathLike) -> PublishReport:
    """Copy the file or folder `path` into the folder `to` (keeping its name), and print the report
    in one line.

    Files already there with the same size and SHA-256 are left alone. Every other one is written
    under a temporary name, read back and compared, and only then put in its place. A `DONE` marker
    is sent after all that lies in its folder, and withdrawn first when that folder has something
    new; files that exist only at the destination stay. A failing, full or unmounted Drive is
    reported, not raised. Raises FileNotFoundError when `path` does not exist.
    """
    local = pathlib.Path(os.path.abspath(path))
    report = PublishReport(local, pathlib.Path(os.path.abspath(to)) / local.name)
    base, target = (
        (local, report.destination) if local.is_dir() else (local.parent, report.destination.parent)
    )
    names = names_below(local)
    report.unchanged = [name for name in names if _same_content(base / name, target / name)]
    pending = sorted(set(names) - set(report.unchanged))
    try:
        _check_mounted(target)
        pending = _withdraw_markers(names, pending, target)
        report.unchanged = sorted(set(report.unchanged) - set(pending))
        _send_all(pending, base, target, report)
    except OSError as error:
        report.failed = dict.fromkeys(pending, reason(error))
    print(report)
    return report


def _check_mounted(target: pathlib.Path) -> None:
    """Raise OSError when `target` names a Drive that is gone: making its folders would write to the
    local disk and call it Drive.
    """
    for folder in (target, *target.parents):
        if folder.name in DRIVE_FOLDERS and not os.path.isdir(folder):
            raise OSError(errno.ENOTCONN, f"Drive is not mounted at {folder}")


def _same_content(source: pathlib.Path, target: pathlib.Path) -> bool:
    """Whether both files have the same bytes; one that cannot be read is as good as missing."""
    try:
        return source.stat().st_size == target.stat().st_size and files.file_sha256(
            source
        ) == files.file_sha256(target)
    except OSError:
        return False


def _is_marker(name: str) -> bool:
    return posixpath.basename(name) == MARKER


def _covered(name: str, marker: str) -> bool:
    """Whether the file `name` lies in the folder (or deeper) that `marker` declares complete."""
    return pathlib.PurePosixPath(name).is_relative_to(posixpath.dirname(marker)) and name != marker


def _withdraw_markers(names: list[str], pending: list[str], target: pathlib.Path) -> list[str]:
    """Remove published markers of folders that are about to change; returns `pending` with these
    markers added. Raises OSError.
    """
    stale = [
        marker
        for marker in filter(_is_marker, names)
        if any(_covered(name, marker) for name in pending)
    ]
    for marker in stale:
        retried(functools.partial((target / marker).unlink, missing_ok=True))
    return sorted({*pending, *stale})


def _send_all(
    pending: list[str], base: pathlib.Path, target: pathlib.Path, report: PublishReport
) -> None:
    """Send the files, markers last and the deepest of them first, writing down in `report` what
    went well and what did not.
    """
    waits = RETRY_WAITS
    markers = sorted(filter(_is_marker, pending), key=lambda marker: (-marker.count("/"), marker))
    for name in [*sorted(set(pending) - set(markers)), *markers]:
        if _is_marker(name) and any(_covered(other, name) for other in report.failed):
            report.failed[name] = "it waits for the other files of its folder"
            continue
        try:
            retried(functools.partial(_send, base / name, target / name), waits)
            report.sent.append(name)
            waits = RETRY_WAITS
        except OSError as error:
            report.failed[name] = reason(error)
            # Drive seems to be gone: one try each for the rest, or a thousand files would wait for
            # an hour
            waits = ()


def _send(source: pathlib.Path, target: pathlib.Path) -> None:
    """Copy one file under a temporary name, read it back, compare size and hash, and replace
    `target`. Raises OSError.
    """
    for torn in target.parent.glob(
        f".{glob.escape(target.stem)}.????????.tmp{glob.escape(target.suffix)}"
    ):
        # left by a runtime that was ended in the middle of a copy
        torn.unlink(missing_ok=True)
    expected = files.file_sha256(source)
    with files.replacing(target) as temporary:
        shutil.copyfile(source, temporary)
        if (
            temporary.stat().st_size != source.stat().st_size
            or files.file_sha256(temporary) != expected
        ):
            raise OSError(errno.EIO, f"the copy of {source.name} differs from the original")
