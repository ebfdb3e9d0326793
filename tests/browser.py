"""A notebook in a real browser: classic Notebook 6.5.7, Chromium through playwright, real clicks.

    with notebook_page(folder, notebook) as page:
        run_all(page)
        page.get_by_role("button", name="Run").click()

`notebook` is an nbformat notebook, `folder` its fresh working folder.

With BROWSER_SHOTS=<folder> a failing test leaves a screenshot there. Without Chromium, playwright
or Notebook the test is skipped with the reason; with REQUIRE_BROWSER=1 it fails instead.
"""

import contextlib
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile

import nbformat
import pytest
from repo import REPO

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
]

IDLE = "#kernel_indicator_icon.kernel_idle_icon"


def missing(reason: str) -> None:
    """Skip the test for `reason`; fail instead where REQUIRE_BROWSER=1 says that a browser has to
    be here.
    """
    if os.environ.get("REQUIRE_BROWSER") == "1":
        pytest.fail(f"REQUIRE_BROWSER=1, but {reason}")
    pytest.skip(f"{reason} (set REQUIRE_BROWSER=1 to make this a failure)")


def chromium() -> str:
    """The path of the Chromium or Chrome to use (CHROMIUM names another); skips or fails without
    one.
    """
    found = os.environ.get("CHROMIUM") or next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )
    return found or missing(
        "there is no Chromium: apt-get install --no-install-recommends chromium fonts-dejavu-core"
    )


def make_notebook(*cells: str) -> nbformat.NotebookNode:
    """A notebook of code cells."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    notebook.metadata["kernelspec"] = {
        "name": "python3",
        "display_name": "Python 3",
        "language": "python",
    }
    return notebook


@contextlib.contextmanager
def notebook_server(folder: pathlib.Path, environment: dict[str, str] | None = None):
    """A Notebook 6 server with `folder` as its root; yields its URL."""
    try:
        import notebook
    except ImportError:
        missing("Notebook is not installed: pip install notebook==6.5.7 widgetsnbextension==3.6.6")
    if not notebook.__version__.startswith("6."):
        missing(
            f"Notebook {notebook.__version__} is installed: the widgets of Colab's ipywidgets 7.7"
            " need notebook==6.5.7"
        )
    options = ["--NotebookApp.token=", "--NotebookApp.password=", f"--notebook-dir={folder}"]
    with served([sys.executable, "-m", "notebook", *options], folder, environment) as url:
        yield url


@contextlib.contextmanager
def served(command: list[str], folder: pathlib.Path, environment: dict[str, str] | None = None):
    """A Jupyter server, started by `command`, on a free port of 127.0.0.1; yields its URL.

    Its log is `folder`/.server.log.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = {
        **os.environ,
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        "IPYTHONDIR": str(folder / ".ipython"),
        "JUPYTER_RUNTIME_DIR": str(folder / ".runtime"),
        **(environment or {}),
    }
    # the kernel's own inline figures, as on Colab
    settings.pop("MPLBACKEND", None)
    alone = ["--no-browser", "--allow-root", "--ip=127.0.0.1", "--port-retries=0"]
    command = [*command, *alone, f"--port={port}"]
    with open(folder / ".server.log", "wb") as log:
        server = subprocess.Popen(
            command,
            cwd=folder,
            env=settings,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_for(url, server, folder / ".server.log")
        yield url
    finally:
        os.killpg(server.pid, signal.SIGTERM)  # the whole group: kernels too
        try:
            server.wait(timeout=10)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait(timeout=10)


def _wait_for(url: str, server: subprocess.Popen, log: pathlib.Path, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if server.poll() is not None:
            break
        with contextlib.suppress(urllib.error.URLError, ConnectionError):
            urllib.request.urlopen(f"{url}/api", timeout=5).close()
            return
        time.sleep(0.1)
    pytest.fail(f"the notebook server did not come up:\n{log.read_text(errors='replace')[-2000:]}")


@contextlib.contextmanager
def browser_page(width: int = 1200, height: int = 1000, flags: tuple[str, ...] = ()):
    """A page of headless Chromium, with `flags` besides; JavaScript errors are collected in
    `page.errors` (a list of str).
    """
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("playwright is not installed: pip install playwright")
    path = chromium()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, headless=True, args=[*FLAGS, *flags]
        )
        page = browser.new_page(viewport={"width": width, "height": height}, accept_downloads=True)
        page.errors = []
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        try:
            yield page
        except BaseException:
            if os.environ.get("BROWSER_SHOTS"):
                page.screenshot(
                    path=pathlib.Path(os.environ["BROWSER_SHOTS"]) / "failure.png", full_page=True
                )
            raise
        finally:
            browser.close()


@contextlib.contextmanager
def notebook_page(
    folder: pathlib.Path,
    notebook: nbformat.NotebookNode,
    environment: dict[str, str] | None = None,
    **size: int,
):
    """`notebook`, written into `folder` and opened with its kernel connected and idle; a page as in
    `browser_page`.
    """
    chromium()
    nbformat.write(notebook, folder / "page.ipynb")
    with notebook_server(folder, environment) as url, browser_page(**size) as page:
        page.goto(f"{url}/notebooks/page.ipynb", wait_until="domcontentloaded")
        page.wait_for_function(
            "window.Jupyter && Jupyter.notebook && Jupyter.notebook.kernel &&"
            " Jupyter.notebook.kernel.is_connected()",
            timeout=60_000,
        )
        page.wait_for_selector(IDLE, timeout=60_000)
        # the widget manager still talks to the kernel, which no selector shows
        page.wait_for_timeout(1500)
        yield page


def shipped(name: str, more: str = "") -> nbformat.NotebookNode:
    """A notebook of the repository, with lines behind its parameters."""
    notebook = nbformat.read(REPO / "notebooks" / name, as_version=4)
    for cell in notebook.cells:
        if "parameters" in cell.metadata.get("tags", []):
            cell.source += f"\n{more}"
    return notebook


def workspace(
    folder: pathlib.Path, embedded: pathlib.Path, *parts: str
) -> tuple[pathlib.Path, dict[str, str]]:
    """A workspace that holds `parts` of an embedded one (what is costly comes from the cache), and
    the environment of its server.
    """
    for part in parts:
        shutil.copytree(embedded / part, folder / part)
    return folder, {"SER_WORKSPACE": str(folder), "PYTHONPATH": str(REPO), "OMP_NUM_THREADS": "1"}


def shots_folder(default: pathlib.Path) -> pathlib.Path:
    """Where screenshots go: BROWSER_SHOTS, or `default`."""
    return pathlib.Path(os.environ.get("BROWSER_SHOTS", default))


def run_all(page, seconds: float = 120) -> None:
    """Run every cell and wait until all have run; a cell that raises fails the test with its
    traceback.
    """
    page.evaluate("Jupyter.notebook.execute_all_cells()")
    page.wait_for_function(
        """Jupyter.notebook.get_cells().filter(c => c.cell_type == 'code' && c.get_text().trim())
                              .every(c => typeof c.input_prompt_number == 'number')
                              || document.querySelector('.output_error') !== null""",
        timeout=1000 * seconds,
    )
    page.wait_for_selector(IDLE, timeout=1000 * seconds)
    errors = page.locator(".output_error").all_inner_texts()
    assert not errors, errors[0]


def wait_until(condition, what: str, seconds: float = 60) -> None:
    """Wait until `condition()` is true; fails the test with `what` was waited for."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds} s in vain for: {what}"
        time.sleep(0.1)


def run_panel(page, before: str | None = None, seconds: float = 120) -> str:
    """Press Run and wait until the panel's picture is another than `before` and the panel says that
    it is done; returns the new picture.
    """
    begin, picture = time.monotonic(), page.locator(".suite-output img")
    page.locator(".suite-panel button", has_text="Run").click()
    wait_until(
        lambda: picture.count() == 1 and picture.first.get_attribute("src") != before,
        "another picture, alone",
        seconds,
    )
    told = page.locator(".suite-panel [role=status]").filter(has_text="Done").first
    told.wait_for(timeout=1000 * seconds)
    print(f"answered in {time.monotonic() - begin:.1f} s")
    return picture.first.get_attribute("src")


def take_home(page, seconds: float = 120) -> set[str]:
    """Press the Download below the first matrix and follow its link: every picture of the page is
    in the zip that the reader gets, in three formats; returns the names in it without its folder.
    """
    page.locator(".suite-download button").click()
    link = page.locator(".suite-download a[download]")
    link.wait_for(timeout=1000 * seconds)
    with page.expect_download() as taken:
        link.click()
    with zipfile.ZipFile(taken.value.path()) as opened:
        assert opened.testzip() is None
        names = {name.partition("/")[2] for name in opened.namelist()}
    # the slider of certainty begins with the matrix above it: what is told alike is one figure
    pictures = page.locator("img[src^='data:image/png']").all()
    shown = len({picture.get_attribute("alt") for picture in pictures})
    for kind in ("png", "pdf", "svg"):
        found = [name for name in names if re.fullmatch(rf"figures/.*\.{kind}", name)]
        assert len(found) == shown > 0, f"{shown} pictures on the page, {sorted(names)} in the zip"
    return names


def press(handle, key: str, times: int) -> None:
    """Press a key on a control, which gets the focus each time."""
    for _ in range(times):
        handle.press(key)
