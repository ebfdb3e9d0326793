"""Mounting Google Drive, which may be refused, fail or not exist."""

from __future__ import annotations

import os
import pathlib

from colab_utils import session
from colab_utils.drive.copying import reason


def mount_drive(mountpoint: str = "/content/drive", ask: bool = True) -> pathlib.Path | None:
    """The MyDrive folder, mounting Drive when needed; None, after one printed sentence, where it
    cannot be had.

    A Drive that is mounted already is used without a dialogue; with `ask=False` (headless runs) no
    dialogue ever opens. On Colab a folder that is only named like Drive (left by a run without it)
    does not count. Raises nothing of what mounting may raise.
    """
    home, why = _my_drive(mountpoint), f"{mountpoint} holds no MyDrive folder"
    if not session.in_colab():
        why = "this is not a Colab runtime"
    elif home is None or not os.path.ismount(mountpoint):
        problem = (
            _mount(mountpoint) if ask else "it is not mounted, and ask=False opens no dialogue"
        )
        home, why = None if problem else _my_drive(mountpoint), problem or why
    if home is None:
        print(
            f"Going on without Google Drive ({why}): everything stays on the local disk in"
            f" {session.workspace()}; download the results as a zip before the session ends."
        )
    return home


def _my_drive(mountpoint: str) -> pathlib.Path | None:
    """The user's folder below the mount point; None when it is missing or the connection behind it
    is dead.
    """
    found = (pathlib.Path(mountpoint, name) for name in ("MyDrive", "My Drive"))
    # pathlib's is_dir would raise error 107
    return next((folder for folder in found if os.path.isdir(folder)), None)


def _mount(mountpoint: str) -> str:
    """Mount Drive; returns "" when that worked, the reason in words when not."""
    try:
        from google.colab import drive

        drive.mount(mountpoint)
    except NotImplementedError:
        return "this kind of runtime cannot mount it"
    except Exception as error:
        # ValueError, MessageError, OSError, pexpect's time-outs...: the list is Google's, and none
        # may stop the work
        words = reason(error)
        refused = "credential" in words.lower() or "authoriz" in words.lower()
        return f"access was not granted: {words}" if refused else f"mounting did not work: {words}"
    return ""
