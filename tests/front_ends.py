"""A shipped notebook in either front end: Notebook 6 with ipywidgets 7, JupyterLab 4 with 8."""

import contextlib
import pathlib

import nbformat
from browser import browser_page, missing, notebook_page, run_all, served
from playwright.sync_api import TimeoutError as NotInTime
from repo import REPO

LAB = REPO / ".venv-lab" / "bin" / "python"  # `make long` makes it
NOTEBOOK_6, LAB_4 = "Notebook 6", "JupyterLab 4"
_FAILED = '[data-mime-type="application/vnd.jupyter.error"]'
# The last cell has a number once all have run; a folded cell shows none.
_ALL_RAN = f"""() => document.querySelector('{_FAILED}') || /[0-9]/.test(
    [...document.querySelectorAll('.jp-Notebook .jp-CodeCell .jp-InputPrompt')].at(-1)?.textContent
)"""

# JupyterLab drops what is asked while the kernel is there and its session not yet: ask again.
_BEGUN = """() => [...document.querySelectorAll('.jp-Notebook .jp-CodeCell .jp-InputPrompt')].some(
    prompt => /[0-9*]/.test(prompt.textContent)
)"""


@contextlib.contextmanager
def opened(front_end: str, folder: pathlib.Path, notebook, environment: dict[str, str]):
    """A page with the notebook in it, its kernel idle."""
    if front_end == NOTEBOOK_6:
        with notebook_page(folder, notebook, environment) as page:
            yield page
        return
    if not LAB.exists():
        missing(f"{LAB} is not there: make .venv-lab/.ready")
    nbformat.write(notebook, folder / "page.ipynb")
    settings = folder / ".lab" / "@jupyterlab" / "notebook-extension"
    settings.mkdir(parents=True)
    # Every cell stays in the page, whether it is seen or not.
    (settings / "tracker.jupyterlab-settings").write_text('{"windowingMode": "none"}')
    environment = {**environment, "JUPYTERLAB_SETTINGS_DIR": str(folder / ".lab")}
    options = ["--IdentityProvider.token=", f"--ServerApp.root_dir={folder}"]
    command = [str(LAB), "-m", "jupyterlab", *options]
    with served(command, folder, environment) as url, browser_page() as page:
        page.goto(f"{url}/lab/tree/page.ipynb", wait_until="domcontentloaded")
        page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=180_000)
        page.wait_for_selector(".jp-Notebook-ExecutionIndicator[data-status=idle]", timeout=180_000)
        yield page


def run_everything(front_end: str, page, seconds: float) -> None:
    """Run all cells; a cell that raises fails the test with what it says."""
    if front_end == NOTEBOOK_6:
        run_all(page, seconds)
        return
    page.locator(".jp-Notebook .jp-Cell").first.click()
    for _ in range(3):
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.locator(".lm-Menu-itemLabel").get_by_text("Run All Cells", exact=True).click()
        with contextlib.suppress(NotInTime):
            page.wait_for_function(_BEGUN, timeout=15_000)
            break
    page.wait_for_function(_ALL_RAN, timeout=1000 * seconds)
    errors = page.locator(_FAILED).all_inner_texts()
    assert not errors, errors[0]


def drag(page, handle, pixels: int) -> None:
    """Take a slider's handle with the mouse, and let it go `pixels` to the right (or left)."""
    handle.scroll_into_view_if_needed()
    box = handle.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + pixels, y, steps=5)
    page.mouse.up()
