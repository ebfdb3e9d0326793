"""One zip to the reader's own computer, whatever the browser does."""

import html
import os
import pathlib
import shutil
import sys
import urllib.parse
from collections.abc import Iterable

from colab_utils import files, session
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
        from google.colab import files as browser

        browser.download(str(archive))
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

    A server serves what lies below the folder that it was started in, and nothing hidden: a zip
    elsewhere is copied beside the notebook. In a terminal the printed path is enough.
    """
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if getattr(shell, "kernel", None) is None:
        return
    from IPython.display import HTML, display

    if not _is_served(archive):
        archive = shutil.copy(archive, archive.name)
        print("The Jupyter server cannot reach it there: a copy lies beside the notebook.")
    address = urllib.parse.quote(os.path.relpath(archive).replace(os.sep, "/"))
    name = html.escape(os.path.basename(archive))
    # without `download` JupyterLab would try to open it
    display(HTML(f'<a download="{name}" href="{address}">Download {name}</a>'))


def _is_served(archive: pathlib.Path) -> bool:
    """Whether the Jupyter server that started this kernel serves a file; True where none did."""
    from jupyter_core.paths import jupyter_runtime_dir

    for file, key in (("jpserver", "root_dir"), ("nbserver", "notebook_dir")):
        about = pathlib.Path(jupyter_runtime_dir()) / f"{file}-{os.getppid()}.json"
        if about.exists():
            root = os.path.realpath(files.read_json(about)[key])
            below = os.path.relpath(archive.resolve(), root)
            return not any(part.startswith(".") for part in pathlib.Path(below).parts)
    return True
