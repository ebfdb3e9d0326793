"""Stand-ins for what tests cannot have: Colab's Python package in each of its moods, and a Drive
that fails midway.
"""

from __future__ import annotations

import builtins
import errno
import os
import pathlib
import shutil
import sys
import types


class MessageError(Exception):
    """As google.colab raises when its front end answers with an error."""


MOUNT_ERRORS = {
    "mount failed": ValueError("mount failed"),
    "credentials": MessageError("Error: credential propagation was unsuccessful"),
    "folder in the way": ValueError("Mountpoint must not already contain files"),
    "timeout": ValueError(
        "mount failed: timeout during initial read of root folder;\nfor more info:"
        " https://example.org"
    ),
    "disk": OSError(errno.EIO, "Input/output error"),
    "enterprise": NotImplementedError("google.colab.drive is unsupported in this environment."),
    "no kernel": AttributeError("'NoneType' object has no attribute 'kernel'"),
    "no configuration": KeyError("CLOUDSDK_CONFIG"),
    "process": AssertionError(),
}
DOWNLOADS = ("works", "silent", "no kernel", "blocked")


class FakeColab:
    """A Colab runtime: `google.colab` in sys.modules, COLAB_RELEASE_TAG, and a record of the calls.

    `mount` is "mounts", "nothing there" or a key of MOUNT_ERRORS; `download` is one of DOWNLOADS.
    """

    def __init__(
        self, monkeypatch, mount: str = "mounts", download: str = "works", running: bool = True
    ):
        self.mount_mood, self.download_mood = mount, download
        self.mounted: list[str] = []
        self.downloaded: list[str] = []
        self._mountpoints: set[str] = set()
        colab = types.ModuleType("google.colab")
        colab.drive, colab.files = (
            types.ModuleType("google.colab.drive"),
            types.ModuleType("google.colab.files"),
        )
        colab.drive.mount, colab.files.download = self._mount, self._download
        google = types.ModuleType("google")
        google.__path__, colab.__path__, google.colab = [], [], colab
        for module in (google, colab, colab.drive, colab.files):
            monkeypatch.setitem(sys.modules, module.__name__, module)
        real = os.path.ismount
        monkeypatch.setattr(
            os.path, "ismount", lambda path: str(path) in self._mountpoints or real(path)
        )
        if running:
            monkeypatch.setenv("COLAB_RELEASE_TAG", "release-colab_20260819")
        else:
            monkeypatch.delenv("COLAB_RELEASE_TAG", raising=False)

    def already_mounted(self, mountpoint: pathlib.Path, folder: str = "MyDrive") -> None:
        """As after an earlier mount in the same runtime."""
        (mountpoint / folder).mkdir(parents=True)
        self._mountpoints.add(str(mountpoint))

    def _mount(self, mountpoint, force_remount=False, timeout_ms=120000, readonly=False):
        self.mounted.append(mountpoint)
        if self.mount_mood in MOUNT_ERRORS:
            raise MOUNT_ERRORS[self.mount_mood]
        if self.mount_mood == "mounts":
            pathlib.Path(mountpoint, "MyDrive").mkdir(parents=True, exist_ok=True)
            self._mountpoints.add(mountpoint)
        print(f"Mounted at {mountpoint}")

    def _download(self, filename):
        if not os.path.exists(filename):
            raise FileNotFoundError(f"Cannot find file: {filename}")
        if self.download_mood == "no kernel":
            raise AttributeError("'NoneType' object has no attribute 'kernel'")
        if self.download_mood == "blocked":
            raise MessageError("TypeError: Failed to fetch")
        if self.download_mood == "works":
            self.downloaded.append(filename)


class FlakyDrive:
    """Every change below `root` first takes an error number from `errors`; 0 lets it pass, and
    after the last one Drive works again.

    Copies fail in the middle, with half of the bytes written. `forever` keeps the last error.
    """

    def __init__(self, monkeypatch, root: pathlib.Path, errors: list[int], forever: bool = False):
        self.root, self.errors, self.forever, self.raised = str(root), list(errors), forever, 0
        copyfile, replace, opened = shutil.copyfile, os.replace, builtins.open

        def flaky_copy(source, target, **options):
            if number := self._next(target):
                data = pathlib.Path(source).read_bytes()
                pathlib.Path(target).write_bytes(data[: len(data) // 2])
                raise OSError(number, os.strerror(number), str(target))
            return copyfile(source, target, **options)

        def flaky_replace(source, target):
            if number := self._next(target):
                raise OSError(number, os.strerror(number), str(target))
            return replace(source, target)

        def flaky_open(file, mode="r", *arguments, **options):
            if (
                isinstance(file, (str, os.PathLike))
                and mode == "rb"
                and ".tmp" in os.fspath(file)
                and (number := self._next(file))
            ):
                raise OSError(number, os.strerror(number), str(file))
            return opened(file, mode, *arguments, **options)

        monkeypatch.setattr(shutil, "copyfile", flaky_copy)
        monkeypatch.setattr(os, "replace", flaky_replace)
        monkeypatch.setattr(builtins, "open", flaky_open)

    def _next(self, path) -> int:
        if not os.fspath(path).startswith(self.root) or not self.errors:
            return 0
        number = self.errors[0] if self.forever and len(self.errors) == 1 else self.errors.pop(0)
        self.raised += bool(number)
        return number
