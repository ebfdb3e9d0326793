"""What every way to and from Drive needs: a folder's files, another try, an error in short."""

import os
import pathlib
import time
from collections.abc import Callable
from typing import Any

from colab_utils import files
from colab_utils.files import AnyPath

# seconds before the second and the third try: Drive's errors 5 and 107 often pass by themselves
RETRY_WAITS = (1.0, 4.0)


def absolute(path: AnyPath) -> pathlib.Path:
    """A path from the root, without `..`; links stay as they are."""
    return pathlib.Path(os.path.abspath(path))


def names_below(path: pathlib.Path) -> list[str]:
    """The files below a folder as sorted relative POSIX names; for a file, its own name.

    Temporary files and folders are left out. Links to folders are followed (Drive shows shared
    folders as links), except those that lead back up.

    Raises:
        FileNotFoundError: for a path that does not exist.
        OSError: for a folder that cannot be listed.
    """
    if path.is_file():
        return [path.name]
    if not path.is_dir():
        raise FileNotFoundError(
            f"there is no file or folder {path}: check the name, and that Drive is mounted if it"
            " lies there"
        )
    found = []

    def fail(error: OSError) -> None:
        raise error  # os.walk would skip the folder in silence

    for folder, inside, names in os.walk(path, onerror=fail, followlinks=True):
        here = pathlib.Path(folder)
        inside[:] = [name for name in inside if not _left_out(here / name)]
        inner = here.relative_to(path).as_posix()
        start = "" if inner == "." else f"{inner}/"
        found += [start + name for name in names if not files.TEMPORARY.fullmatch(name)]
    return sorted(found)


def _left_out(folder: pathlib.Path) -> bool:
    """Whether `folder` is a temporary one, or a link to a folder that it lies in."""
    if files.TEMPORARY.fullmatch(folder.name):
        return True
    return folder.is_symlink() and folder.parent.resolve().is_relative_to(folder.resolve())


def retried(
    action: Callable[..., Any], *arguments: object, waits: tuple[float, ...] = RETRY_WAITS
) -> Any:
    """What `action` gives; after an OSError it is tried again, once per entry of `waits` (seconds).

    A full disk is not retried.

    Raises:
        OSError: the error of the last try.
    """
    for wait in waits:
        try:
            return action(*arguments)
        except files.DiskFullError:
            raise
        except OSError:
            time.sleep(wait)
    return action(*arguments)


def reason(error: BaseException) -> str:
    """An error as a few words on one line (at most 200 characters), for use inside a sentence."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return (" ".join(text.split()) or type(error).__name__)[:200].rstrip(".")
