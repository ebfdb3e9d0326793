"""One zip to the reader's own computer, whatever the browser does."""

from __future__ import annotations

import os
import pathlib
import sys
from collections.abc import Iterable

from colab_utils import session
from colab_utils.drive.archives import make_zip
from colab_utils.drive.copying import reason


def download(paths: str | os.PathLike | Iterable[str | os.PathLike], name: str) -> pathlib.Path:
    """Zip `paths` to workspace()/downloads/<name>.zip and hand it to the browser where there is
    one; returns the zip's path.

    On Colab the browser's download is started; in Jupyter a link is shown; everywhere the path is
    printed, and no front end is needed. Raises ValueError for a `name` that is not a plain file
    name, and what `make_zip` raises.
    """
    if name != os.path.basename(name) or name in ("", ".", "..") or "\\" in name:
        raise ValueError(
            f"name = {name!r}: give a plain file name such as 'results', without folders"
        )
    archive = make_zip(
        paths, session.workspace() / "downloads" / f"{name.removesuffix('.zip')}.zip"
    )
    print(f"Saved {archive} ({archive.stat().st_size / 1e6:.1f} MB).")
    if session.in_colab():
        _start_in_colab(archive)
    else:
        _show_link(archive)
    return archive


def _start_in_colab(archive: pathlib.Path) -> None:
    """Start the browser's download; it runs on by itself and reports nothing, so what to do if it
    does not start is always said.
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
    """Show a link to the zip where a Jupyter front end may display it; in a terminal the printed
    path is enough.
    """
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if getattr(shell, "kernel", None) is not None:
        from IPython.display import FileLink, display

        display(FileLink(os.path.relpath(archive)))
