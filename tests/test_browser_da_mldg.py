"""Notebook 04 as a reader uses it in a browser: run all, choose other algorithms, Run, and see figures that name them."""
import os
import pathlib
import shutil
import time

import nbformat
from browser import notebook_page, run_all, wait_until

REPO = pathlib.Path(__file__).resolve().parent.parent


def test_notebook_04_in_a_browser(tmp_path, embedded_workspace):
    notebook = nbformat.read(REPO / "notebooks" / "04_da_mldg.ipynb", as_version=4)
    for cell in notebook.cells:
        if "parameters" in cell.metadata.get("tags", []):
            cell.source += '\nTASKS = ["synthetic-street"]\nSETTINGS = {"steps": 100}'
    work, shots = tmp_path / "out", pathlib.Path(os.environ.get("BROWSER_SHOTS", tmp_path))
    for part in ("corpora", "features"):          # what is costly comes from the cache; every cell and every training is real
        shutil.copytree(embedded_workspace[0] / part, work / part)
    with notebook_page(tmp_path, notebook, {"SER_WORKSPACE": str(work), "PYTHONPATH": str(REPO), "OMP_NUM_THREADS": "1"}) as page:
        run_all(page, seconds=400)
        page.locator(".cell").filter(has_text="readable_targets(table)").last.scroll_into_view_if_needed()
        page.screenshot(path=shots / "notebook-04-test.png")
        panel = page.locator(".suite-panel")
        code, run, picture = panel.locator(".widget-html pre").first, panel.locator("button", has_text="Run"), page.locator(".suite-output img")
        run.click()
        wait_until(lambda: picture.count() == 1, "the matrices of the first settings are drawn", seconds=120)
        before = picture.first.get_attribute("src")
        for name in ("da-mldg", "coral"):         # erm, da-mldg -> erm, coral
            panel.locator("label").filter(has_text=name).locator("input[type=checkbox]").first.click()
        panel.locator("select").first.select_option(label="scenario 6")
        wait_until(lambda: "('erm', 'coral')" in code.inner_text() and "scenario 6" in code.inner_text(), "the settings to paste name them")
        begin = time.monotonic()
        run.click()
        wait_until(lambda: picture.count() == 1 and picture.first.get_attribute("src") != before, "other matrices, alone", seconds=120)
        print(f"answered in {time.monotonic() - begin:.1f} s")
        assert [path for path in (work / "runs" / "domains").iterdir() if path.name.startswith("scenario-6") and "coral" in path.name]
        page.locator(".suite-output").last.scroll_into_view_if_needed()
        page.screenshot(path=shots / "notebook-04-panel.png")
        panel.locator("button", has_text="Download").click()
        wait_until(lambda: list((work / "downloads").glob("*.zip")), "the zip is saved", seconds=60)
        assert not page.errors, page.errors
