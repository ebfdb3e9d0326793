"""Notebook 06 as a reader uses it in a browser: run all, type a word, Run, and see a comparison of
other runs; download them.
"""

import shutil

from browser import notebook_page, run_all, shipped, shots_folder, wait_until, workspace


def test_notebook_06_in_a_browser(tmp_path, embedded_workspace):
    work, environment = workspace(tmp_path / "out", embedded_workspace[0], "corpora", "features")
    shutil.copytree(embedded_workspace[0] / "runs", work / "runs")
    shots = shots_folder(tmp_path)
    with notebook_page(tmp_path, shipped("06_compare_methods.ipynb"), environment) as page:
        run_all(page, seconds=200)
        panel = page.locator(".suite-panel")
        code = panel.locator(".widget-html pre").first
        words = panel.locator("input[type=text]").first
        words.fill("-logmel")
        words.press("Enter")
        wait_until(
            lambda: "words = '-logmel'" in code.inner_text(), "the settings to paste name the word"
        )
        page.locator(".suite-panel button", has_text="Run").click()
        picture = page.locator(".suite-output img")
        wait_until(lambda: picture.count() == 2, "points and matrices", seconds=60)
        page.locator(".suite-output").last.scroll_into_view_if_needed()
        page.screenshot(path=shots / "notebook-06-panel.png")
        panel.locator("button", has_text="Download").click()
        wait_until(lambda: list((work / "downloads").glob("*.zip")), "the zip is saved", seconds=60)
        assert not page.errors, page.errors
