"""The second memory: what took work is on Drive as soon as it is there, and is taken from there.

A Colab runtime takes its disk along. Below `MyDrive/ser_results` lie the finished runs as folders,
and below `memory` there, one archive each, trainings, stores of features and runs in the middle of
their work. A Drive that is full, lost or missing costs a warning, never a result.
"""

import os
import pathlib
import shutil
import time
import zipfile

from colab_utils import files
from colab_utils.drive.archives import ArchiveError, pack, unpack
from colab_utils.drive.copying import absolute, names_below, reason
from colab_utils.drive.publishing import MARKER, PublishReport, check_mounted, send_folder
from colab_utils.files import AnyPath

RESULTS = "ser_results"  # the folder in MyDrive
# what is finished, by the file that is written last
KINDS = {
    "runs/*/*": MARKER,
    "trained/*/*": MARKER,
    "features/*": "index.json",
    "models/*": "model.json",
}
AS_FOLDERS = ("runs", "models")  # what a reader opens on Drive; the rest are archives
EVERY = 120.0  # seconds of unfinished work that a lost runtime can cost
SHARE = 10  # sending unfinished work takes a tenth of the time at most
WORTH = 15.0  # seconds: a shorter training is made again sooner than it is fetched
_BEGUN = ".begun.zip"


class Memory:
    """What of a workspace is on Drive. Without a Drive it does nothing.

    Args:
        root: the workspace.
        drive_folder: MyDrive, of `open_workspace`, or None.

    Example:
        >>> memory = Memory(workspace, drive_folder)
        >>> memory.bring(folder, "DONE", started=False)
        >>> memory.keep(folder, finished=True)
    """

    def __init__(self, root: AnyPath, drive_folder: AnyPath | None = None):
        self.root = absolute(root)
        self.there = None if drive_folder is None else absolute(drive_folder) / RESULTS
        self._sent: dict[pathlib.Path, float] = {}  # when each was sent, or first seen
        self._took = 0.0  # seconds of the last sending
        self._waiting: dict[pathlib.Path, bool] = {}  # what could not be sent: whether finished
        self._warned = False

    # --- from Drive -------------------------------------------------------------------------------

    def bring(self, folder: pathlib.Path, mark: str, started: bool) -> None:
        """Fetch a folder of the workspace from Drive, if it is unfinished here and further there.

        It is put in place whole. What cannot be fetched is said, and made again.

        Args:
            folder: where it belongs; it need not exist.
            mark: the file that only a finished one has.
            started: whether there is work in it here; then only a finished one is fetched.
        """
        if self.there is None or (folder / mark).exists():
            return
        try:
            source = self._source(folder, mark, started)
            if source is not None:
                _put(source, folder)
                print(f"{folder.name}: taken from Drive")
        except (OSError, ArchiveError) as error:
            print(
                f"WARNING: {folder.name} could not be taken from Drive ({reason(error)}): what is"
                " missing is made again"
            )

    def _source(self, folder: pathlib.Path, mark: str, started: bool) -> pathlib.Path | None:
        """What to fetch: a finished run, a finished archive, a begun one; or None."""
        run = self.there / folder.relative_to(self.root)
        if (run / mark).is_file():
            return run
        for ending in (".zip", *(() if started else (_BEGUN,))):
            archive = self._archive(folder, ending)
            if archive.is_file():
                return archive
        return None

    def found(self) -> str:
        """A sentence on what is on Drive, for the cell that mounts it."""
        archives = {"trained": 0, "features": 0, "begun": 0}
        try:
            finished = len(list(self.there.glob(f"runs/*/*/{MARKER}")))
            for path in (self.there / "memory").rglob("[!.]*.zip"):
                kind = path.relative_to(self.there / "memory").parts[0]
                kind = "begun" if path.name.endswith(_BEGUN) else kind
                if kind in archives:  # what else lies there is not ours
                    archives[kind] += 1
        except OSError as error:
            return f"WARNING: {self.there} cannot be read ({reason(error)}): going on without it."
        return (
            f"On Drive, in {self.there}: finished runs {finished}, trainings {archives['trained']},"
            f" stores of features {archives['features']}, begun {archives['begun']}. What this"
            " notebook needs of them is taken from there, and what it makes is sent there as it"
            " ends."
        )

    # --- to Drive ---------------------------------------------------------------------------------

    def keep(self, folder: pathlib.Path, finished: bool, now: bool = False) -> None:
        """Send a folder of the workspace; what is unfinished at most every EVERY seconds.

        A failure is said once, and tried again at the next call.

        Args:
            folder: a run, a training or a store of features.
            finished: whether nothing more will change in it.
            now: send it also when it is not due.
        """
        if self.there is None:
            return
        if not (self._worth(folder) if finished else now or self._due(folder)):
            return
        self._waiting.pop(folder, None)
        self._waiting[folder] = finished
        begin = time.monotonic()
        failure = ""
        # the newest first: where even that fails Drive is gone, and the others are not tried
        for waiting, whole in reversed(list(self._waiting.items())):
            try:
                check_mounted(self.there)
                self._send(waiting, whole)
                del self._waiting[waiting]
            except (OSError, ValueError) as error:
                failure = f"{waiting.name}: {reason(error)}"
                if waiting == folder:
                    break
        if failure and not self._warned:
            print(
                f"WARNING: {len(self._waiting)} folder(s) could not be sent to Drive ({failure})."
                f" Nothing is lost: all is in {self.root}. It is tried again with the next one."
            )
        self._warned = bool(failure)
        self._sent[folder] = time.monotonic()
        self._took = self._sent[folder] - begin

    def _worth(self, folder: pathlib.Path) -> bool:
        """Whether something finished is no short training: hundreds of files would go to Drive."""
        if folder.relative_to(self.root).parts[0] != "trained":
            return True
        if self._archive(folder, _BEGUN).exists():
            return True
        begin, end = (folder / name for name in ("config.json", MARKER))
        return end.stat().st_mtime - begin.stat().st_mtime >= WORTH

    def _due(self, folder: pathlib.Path) -> bool:
        """Whether unfinished work is worth a sending; never when first asked."""
        since = self._sent.setdefault(folder, time.monotonic())
        return time.monotonic() - since >= max(EVERY, SHARE * self._took)

    def _send(self, folder: pathlib.Path, finished: bool) -> None:
        """Write the archive, or the folder of a finished run. Raises OSError, ValueError."""
        begun = self._archive(folder, _BEGUN)
        if not finished:
            self._write(folder, begun)
            return
        if folder.relative_to(self.root).parts[0] in AS_FOLDERS:
            report = self._publish(folder)
            if not report.ok:
                raise OSError(next(iter(report.failed.values())))
        else:
            self._write(folder, self._archive(folder, ".zip"))
        begun.unlink(missing_ok=True)

    def _publish(self, folder: pathlib.Path) -> PublishReport:
        """Send a finished run as a folder, without the parts that it was made of."""
        return send_folder(folder, self.there / folder.parent.relative_to(self.root), "parts")

    def _write(self, folder: pathlib.Path, archive: pathlib.Path) -> None:
        """Pack a folder into an archive on Drive, read back before it takes its place."""
        with files.replacing(archive) as temporary:
            pack([folder / name for name in names_below(folder)], folder.parent, temporary)
            with zipfile.ZipFile(temporary) as written:
                damaged = written.testzip()
            if damaged:
                raise OSError(f"the copy of {folder.name}/{damaged} differs from the original")

    def _archive(self, folder: pathlib.Path, ending: str) -> pathlib.Path:
        """Where the archive of a folder lies."""
        inside = folder.relative_to(self.root)
        return (self.there / "memory" / inside).with_name(inside.name + ending)

    def keep_all(self) -> None:
        """Send everything of the workspace that Drive does not have yet; prints one line."""
        if self.there is None:
            return
        for pattern, mark in KINDS.items():
            for folder in sorted(self.root.glob(pattern)):
                finished = (folder / mark).is_file()
                if folder.is_dir() and not (finished and self._has(folder, mark)):
                    self.keep(folder, finished, now=True)
        if not self._waiting:
            print(f"On Drive, in {self.there}: all runs, features and longer trainings made here.")

    def _has(self, folder: pathlib.Path, mark: str) -> bool:
        """Whether Drive has this finished folder, by the file that vouches for it."""
        archive = self._archive(folder, ".zip")
        try:
            with zipfile.ZipFile(archive) as packed:
                return packed.read(f"{folder.name}/{mark}") == (folder / mark).read_bytes()
        except (OSError, KeyError, zipfile.BadZipFile):
            return False


def _put(source: pathlib.Path, folder: pathlib.Path) -> None:
    """Put a folder of Drive, or the folder in an archive, in the place of `folder`, whole."""
    with files.scratch(folder) as scratch:
        if source.is_dir():
            shutil.copytree(source, scratch / folder.name)
        else:
            unpack(source, scratch, source.name)
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(scratch / folder.name, folder)
