"""Mounting Google Drive, which may be refused, fail or not exist."""

import os
import pathlib

from colab_utils import session
from colab_utils.drive.copying import reason


def mount_drive(mountpoint: str = "/content/drive") -> pathlib.Path | None:
    """The MyDrive folder, mounting Drive when needed.

    A Drive that is mounted already is used without a dialogue. On Colab a folder that is only named
    like Drive (left by a run without it) does not count. Raises nothing of what mounting may raise.
    The variable SER_DRIVE names another folder in its place, such as a network drive at home.

    Returns:
        None, after one printed sentence, where it cannot be had.

    Example:
        >>> drive_folder = mount_drive()
    """
    named = os.environ.get("SER_DRIVE", "")
    if named:
        home = pathlib.Path(named) if os.path.isdir(named) else None
        why = f"there is no folder {named}, which SER_DRIVE names"
    elif session.in_colab():
        mounted = os.path.ismount(mountpoint) and _my_drive(mountpoint)
        why = "" if mounted else _mount(mountpoint)
        home = None if why else _my_drive(mountpoint)
        why = why or f"{mountpoint} holds no MyDrive folder"
    else:
        home = _my_drive(mountpoint)
        why = "this is not a Colab runtime"
    if home is None:
        print(
            f"Going on without Google Drive ({why}): everything stays on the local disk in"
            f" {session.workspace()}; download the results as a zip before the session ends."
        )
    return home


def _my_drive(mountpoint: str) -> pathlib.Path | None:
    """The user's folder below the mount point; None when it is missing or the connection dead."""
    for name in ("MyDrive", "My Drive"):
        folder = pathlib.Path(mountpoint, name)
        # pathlib's is_dir would raise error 107
        if os.path.isdir(folder):
            return folder
    return None


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
