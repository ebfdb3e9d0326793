"""Results to Drive: every copy is read back and compared, the marker of a folder comes last."""

import contextlib
import dataclasses
import errno
import glob
import hashlib
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
    """`send_folder`, and print the report in one line.

    Args:
        path: what to publish.
        to: a folder on Drive.

    Returns:
        What was sent, what was there already, what failed and why.

    Example:
        >>> publish("out/runs", "/content/drive/MyDrive/ser_results")
    """
    report = send_folder(path, to)
    print(report)
    return report


def send_folder(path: AnyPath, to: AnyPath, without: str = "") -> PublishReport:
    """Copy a file or folder into the folder `to`, keeping its name.

    Files already there with the same size and SHA-256 are left alone. Every other one is written
    under a temporary name, read back and compared, and only then put in its place. Folders are sent
    one after the other, each with its `DONE` marker last: where Drive stops half-way, the runs
    sent until then are whole. The marker of a folder that has something new is withdrawn just
    before the first of it takes its place; files that exist only at the destination stay. A
    failing, full or unmounted Drive is reported, not raised. Of two processes that send one folder
    the second waits.

    Args:
        path: what to publish.
        to: a folder on Drive.
        without: the name of a sub-folder that is not sent, or "".

    Returns:
        What was sent, what was there already, what failed and why.

    Raises:
        FileNotFoundError: when `path` does not exist.
    """
    local = absolute(path)
    report = PublishReport(local, absolute(to) / local.name)
    base, target = local, report.destination
    if not local.is_dir():
        base, target = local.parent, target.parent
    names = [name for name in names_below(local) if name.split("/")[0] != without]
    with contextlib.ExitStack() as held:
        # on a full local disk there is no lock, and all the more to be sent
        with contextlib.suppress(OSError):
            held.enter_context(files.alone(f"{local}.sent", f"sending {local.name}"))
        pending = {name for name in names if not _same_content(base / name, target / name)}
        known = set(names)
        for name in list(pending):
            pending |= _markers_of(name) & known
        try:
            check_mounted(target)
            _send_all(sorted(pending, key=_folder_by_folder), base, target, report)
        except OSError as error:
            report.failed = dict.fromkeys(sorted(pending), reason(error))
    report.unchanged = [name for name in names if name not in pending]
    return report


def check_mounted(target: pathlib.Path) -> None:
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


def _markers_of(name: str) -> set[str]:
    """The markers that may declare a file complete: one in each folder that it lies in."""
    folders = name.split("/")[:-1]
    markers = {"/".join([*folders[:depth], MARKER]) for depth in range(len(folders) + 1)}
    return markers - {name}


def _folder_by_folder(name: str) -> list[tuple[int, str]]:
    """Sorts files so that each folder is whole before the next begins.

    Sub-folders come first, then a folder's own files, its marker last.
    """
    *folders, last = name.split("/")
    return [*((0, folder) for folder in folders), (1 + (last == MARKER), last)]


def _send_all(
    pending: list[str], base: pathlib.Path, target: pathlib.Path, report: PublishReport
) -> None:
    """Send the files in this order, writing down in `report` what went well and what did not."""
    waits = RETRY_WAITS
    standing = set(pending)
    waiting: set[str] = set()
    for name in pending:
        if name in waiting:
            report.failed[name] = "it waits for the other files of its folder"
            waiting |= _markers_of(name)
            continue
        try:
            stale = _markers_of(name) & standing
            withdrawn = [target / marker for marker in stale]
            retried(_send, base / name, target / name, withdrawn, waits=waits)
            standing -= stale
            report.sent.append(name)
            waits = RETRY_WAITS
        except OSError as error:
            report.failed[name] = reason(error)
            waiting |= _markers_of(name)
            # Drive seems to be gone: one try each for the rest, or a thousand files would wait for
            # an hour
            waits = ()


def _send(source: pathlib.Path, target: pathlib.Path, stale: list[pathlib.Path]) -> None:
    """Copy one file under a temporary name, read it back, compare, and replace `target`.

    Just before that the stale markers go: a full Drive takes no copy, and loses no marker. Raises
    OSError.
    """
    stem, suffix = glob.escape(target.stem), glob.escape(target.suffix)
    for torn in target.parent.glob(f".{stem}.????????.tmp{suffix}"):
        # left by a runtime that was ended in the middle of a copy
        files.remove_abandoned(torn)
    with files.replacing(target) as temporary:
        shutil.copyfile(source, temporary)
        with open(temporary, "rb") as copy:
            if any(marker.exists() for marker in stale):
                os.fsync(copy.fileno())  # a full Drive may speak no sooner
            digest = hashlib.file_digest(copy, "sha256").hexdigest()
        if digest != files.file_sha256(source):
            raise OSError(errno.EIO, f"the copy of {source.name} differs from the original")
        for marker in stale:
            marker.unlink(missing_ok=True)
