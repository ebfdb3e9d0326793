"""Notebook 03 as a reader uses it in a browser: run all, move the slider for shots, leave an emotion out, Run, and see figures that say so."""
import os
import pathlib
import shutil
import time

import nbformat
from browser import notebook_page, run_all, wait_until

REPO = pathlib.Path(__file__).resolve().parent.parent


def test_notebook_03_in_a_browser(tmp_path, embedded_workspace):
    notebook = nbformat.read(REPO / "notebooks" / "03_emofsl_finetuning.ipynb", as_version=4)
    for cell in notebook.cells:
        if "parameters" in cell.metadata.get("tags", []):
            cell.source += "\nCOMPARED = [1, 5]"
    work, shots = tmp_path / "out", pathlib.Path(os.environ.get("BROWSER_SHOTS", tmp_path))
    for part in ("corpora", "features"):          # what is costly comes from the cache; every cell and every training is real
        shutil.copytree(embedded_workspace[0] / part, work / part)
    with notebook_page(tmp_path, notebook, {"SER_WORKSPACE": str(work), "PYTHONPATH": str(REPO), "OMP_NUM_THREADS": "1"}) as page:
        run_all(page, seconds=400)
        nearest = page.locator(".cell").filter(has_text="hear_nearest").locator("audio").first
        nearest.scroll_into_view_if_needed()
        page.screenshot(path=shots / "notebook-03-nearest.png")
        panel = page.locator(".suite-panel")
        code, run, picture = panel.locator(".widget-html pre").first, panel.locator("button", has_text="Run"), page.locator(".suite-output img")
        run.click()
        wait_until(lambda: picture.count() == 1, "the matrices of the first settings are drawn", seconds=120)
        before = picture.first.get_attribute("src")
        panel.locator(".ui-slider-handle, .noUi-handle").first.focus()
        for _ in range(2):                        # shots 5 -> 3
            page.keyboard.press("ArrowLeft")
        panel.locator("label", has_text="happiness").locator("input").click()
        wait_until(lambda: "shots=3" in code.inner_text() and "happiness" not in code.inner_text(), "the settings to paste name shots and emotions")
        begin = time.monotonic()
        run.click()
        wait_until(lambda: picture.count() == 1 and picture.first.get_attribute("src") != before, "other matrices, alone", seconds=120)
        print(f"answered in {time.monotonic() - begin:.1f} s")
        found = [path for path in (work / "runs" / "emofsl").iterdir() if "EMOFSL-prototype-3shot" in path.name or "EMOFSL-head-3shot" in path.name]
        assert len(found) == 1 and '"labels": ["anger", "neutral", "sadness"]' in " ".join((found[0] / "config.json").read_text().split())\
            .replace("[ ", "[").replace(" ]", "]")
        page.locator(".suite-output").last.scroll_into_view_if_needed()
        page.screenshot(path=shots / "notebook-03-panel.png")
        panel.locator("button", has_text="Download").click()
        wait_until(lambda: list((work / "downloads").glob("*.zip")), "the zip is saved", seconds=60)
        assert not page.errors, page.errors
