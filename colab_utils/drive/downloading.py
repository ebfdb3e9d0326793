"""One zip to the reader's own computer, whatever the browser does."""

import os
import pathlib
import sys
from collections.abc import Iterable

from colab_utils import session
from colab_utils.drive.archives import make_zip
from colab_utils.drive.copying import reason
from colab_utils.files import AnyPath


def download(paths: AnyPath | Iterable[AnyPath], name: str) -> pathlib.Path:
    """Zip files and folders and hand the zip to the browser where there is one.

    On Colab the browser's download is started; in Jupyter a link is shown; everywhere the path is
    printed, and no front end is needed.

    Args:
        paths: what to put into the zip.
        name: a plain file name.

    Returns:
        The zip, workspace()/downloads/<name>.zip.

    Raises:
        ValueError: for a `name` with folders. Also what `make_zip` raises.

    Example:
        >>> download([run.path for run in runs.values()], "results")
    """
    if name != os.path.basename(name) or name in ("", ".", "..") or "\\" in name:
        raise ValueError(
            f"name = {name!r}: give a plain file name such as 'results', without folders"
        )
    folder = session.workspace() / "downloads"
    archive = make_zip(paths, folder / f"{name.removesuffix('.zip')}.zip")
    print(f"Saved {archive} ({archive.stat().st_size / 1e6:.1f} MB).")
    if session.in_colab():
        _start_in_colab(archive)
    else:
        _show_link(archive)
    return archive


def _start_in_colab(archive: pathlib.Path) -> None:
    """Start the browser's download, and always say what to do if it does not start.

    It runs on by itself and reports nothing.
    """
    problem = ""
    try:
        from google.colab import files

        files.download(str(archive))
    except Exception as error:
        # without a front end anything may come back: AttributeError, MessageError... The zip is
        # saved anyway
        problem = f"The browser could not be reached ({reason(error)}). "
    print(
        f"{problem}If no download starts, the browser blocked it: allow downloads for this site and"
        f" run the cell again, or open the folder symbol on the left, go to {archive.parent}, and"
        f" choose Download in the menu beside {archive.name}."
    )


def _show_link(archive: pathlib.Path) -> None:
    """Show a link to the zip where a Jupyter front end may display it.

    In a terminal the printed path is enough.
    """
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if getattr(shell, "kernel", None) is not None:
        from IPython.display import FileLink, display

        display(FileLink(os.path.relpath(archive)))
