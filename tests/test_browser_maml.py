"""Notebook 02 as a reader uses it in a browser: run all, move the sliders for ways and shots, Run, and see a figure that names them."""
import os
import pathlib
import shutil
import time

import nbformat
from browser import notebook_page, run_all, wait_until

REPO = pathlib.Path(__file__).resolve().parent.parent


def test_notebook_02_in_a_browser(tmp_path, embedded_workspace):
    notebook = nbformat.read(REPO / "notebooks" / "02_maml_training.ipynb", as_version=4)
    for cell in notebook.cells:
        if "parameters" in cell.metadata.get("tags", []):
            cell.source += "\nITERATIONS = 60"
    work, shots = tmp_path / "out", pathlib.Path(os.environ.get("BROWSER_SHOTS", tmp_path))
    for part in ("corpora", "features"):          # what is costly comes from the cache; every cell and every training is real
        shutil.copytree(embedded_workspace[0] / part, work / part)
    with notebook_page(tmp_path, notebook, {"SER_WORKSPACE": str(work), "PYTHONPATH": str(REPO)}) as page:
        run_all(page, seconds=400)
        page.locator(".cell").filter(has_text="episode_rows, show_episode").locator("audio").first.scroll_into_view_if_needed()
        page.screenshot(path=shots / "notebook-02-episode.png")
        panel = page.locator(".suite-panel")
        code, run, picture = panel.locator(".widget-html pre").first, panel.locator("button", has_text="Run"), page.locator(".suite-output img")
        run.click()
        wait_until(lambda: picture.count() == 1, "the matrix of the first settings is drawn", seconds=120)
        before = picture.first.get_attribute("src")
        sliders = panel.locator(".ui-slider-handle, .noUi-handle")
        for number, keys in ((0, 2), (1, 3)):                 # ways 5 -> 3, shots 5 -> 2
            sliders.nth(number).focus()
            for _ in range(keys):
                page.keyboard.press("ArrowLeft")
        wait_until(lambda: "ways=3" in code.inner_text() and "shots=2" in code.inner_text(), "the settings to paste name ways and shots")
        begin = time.monotonic()
        run.click()
        wait_until(lambda: picture.count() == 1 and picture.first.get_attribute("src") != before, "another matrix, alone", seconds=120)
        print(f"re-evaluated in {time.monotonic() - begin:.1f} s")
        assert [path for path in (work / "runs" / "few-shot").iterdir() if "MAML" in path.name and "3way2shot" in path.name]
        page.locator(".suite-output").last.scroll_into_view_if_needed()
        page.screenshot(path=shots / "notebook-02-panel.png")
        panel.locator("button", has_text="Download").click()
        wait_until(lambda: list((work / "downloads").glob("*.zip")), "the zip is saved", seconds=60)
        assert not page.errors, page.errors
