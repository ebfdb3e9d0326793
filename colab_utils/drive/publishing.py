"""Results to Drive: every copy is read back and compared, the marker of a folder comes last."""

import dataclasses
import errno
import glob
import os
import pathlib
import shutil

from colab_utils import files
from colab_utils.drive.copying import RETRY_WAITS, absolute, names_below, reason, retried
from colab_utils.files import AnyPath

MARKER = "DONE"  # a folder that holds this file is complete
DRIVE_FOLDERS = ("MyDrive", "My Drive", "Shareddrives", "Shared drives")


@dataclasses.dataclass
class PublishReport:
    """What `publish` did; `print(report)` is one clear line.

    Attributes:
        local: what was published.
        destination: where it is now.
        sent: names relative to `local`.
        unchanged: names of files that were there already.
        failed: name -> reason.
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


def publish(path: AnyPath, to: AnyPath) -> PublishReport:
    """Copy a file or folder into the folder `to`, keeping its name; prints the report in one line.

    Files already there with the same size and SHA-256 are left alone. Every other one is written
    under a temporary name, read back and compared, and only then put in its place. Folders are sent
    one after the other, each with its `DONE` marker last: where Drive stops half-way, the runs
    sent until then are whole. The marker is withdrawn first when its folder has something
    new; files that exist only at the destination stay. A failing, full or unmounted Drive is
    reported, not raised.

    Args:
        path: what to publish.
        to: a folder on Drive.

    Returns:
        What was sent, what was there already, what failed and why.

    Raises:
        FileNotFoundError: when `path` does not exist.

    Example:
        >>> publish("out/runs", "/content/drive/MyDrive/ser_results")
    """
    local = absolute(path)
    report = PublishReport(local, absolute(to) / local.name)
    base, target = local, report.destination
    if not local.is_dir():
        base, target = local.parent, target.parent
    names = names_below(local)
    pending = {name for name in names if not _same_content(base / name, target / name)}
    try:
        _check_mounted(target)
        stale = {name for name in names if any(_declares(name, other) for other in pending)}
        for marker in stale:
            retried(_remove, target / marker)
        pending |= stale
        _send_all(sorted(pending, key=_folder_by_folder), base, target, report)
    except OSError as error:
        report.failed = dict.fromkeys(sorted(pending), reason(error))
    report.unchanged = [name for name in names if name not in pending]
    print(report)
    return report


def _check_mounted(target: pathlib.Path) -> None:
    """Raise OSError when `target` names a Drive that is gone.

    Making its folders would write to the local disk and call it Drive.
    """
    for folder in (target, *target.parents):
        if folder.name in DRIVE_FOLDERS and not os.path.isdir(folder):
            raise OSError(errno.ENOTCONN, f"Drive is not mounted at {folder}")


def _same_content(source: pathlib.Path, target: pathlib.Path) -> bool:
    """Whether both files have the same bytes; one that cannot be read is as good as missing."""
    try:
        if source.stat().st_size != target.stat().st_size:
            return False
        return files.file_sha256(source) == files.file_sha256(target)
    except OSError:
        return False


def _declares(marker: str, name: str) -> bool:
    """Whether `marker` is one, and of the folder in which (or deeper) the file `name` lies."""
    folder, _, last = marker.rpartition("/")
    if last != MARKER or name == marker:
        return False
    return not folder or name.startswith(f"{folder}/")


def _folder_by_folder(name: str) -> list[tuple[int, str]]:
    """Sorts files so that each folder is whole before the next begins.

    Sub-folders come first, then a folder's own files, its marker last.
    """
    *folders, last = name.split("/")
    return [*((0, folder) for folder in folders), (1 + (last == MARKER), last)]


def _remove(file: pathlib.Path) -> None:
    file.unlink(missing_ok=True)


def _send_all(
    pending: list[str], base: pathlib.Path, target: pathlib.Path, report: PublishReport
) -> None:
    """Send the files in this order, writing down in `report` what went well and what did not."""
    waits = RETRY_WAITS
    for name in pending:
        if any(_declares(name, other) for other in report.failed):
            report.failed[name] = "it waits for the other files of its folder"
            continue
        try:
            retried(_send, base / name, target / name, waits=waits)
            report.sent.append(name)
            waits = RETRY_WAITS
        except OSError as error:
            report.failed[name] = reason(error)
            # Drive seems to be gone: one try each for the rest, or a thousand files would wait for
            # an hour
            waits = ()


def _send(source: pathlib.Path, target: pathlib.Path) -> None:
    """Copy one file under a temporary name, read it back, compare, and replace `target`.

    Raises OSError.
    """
    stem, suffix = glob.escape(target.stem), glob.escape(target.suffix)
    for torn in target.parent.glob(f".{stem}.????????.tmp{suffix}"):
        # left by a runtime that was ended in the middle of a copy
        torn.unlink(missing_ok=True)
    with files.replacing(target) as temporary:
        shutil.copyfile(source, temporary)
        if files.file_sha256(temporary) != files.file_sha256(source):
            raise OSError(errno.EIO, f"the copy of {source.name} differs from the original")
