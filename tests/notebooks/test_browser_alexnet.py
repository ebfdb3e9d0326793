"""Notebook 05 as a reader uses it in a browser: run all, choose the other network and mixup, Run,
and see figures that name it.
"""

from browser import notebook_page, run_all, run_panel, shipped, shots_folder, wait_until, workspace


def test_notebook_05_in_a_browser(tmp_path, embedded_workspace):
    work, environment = workspace(tmp_path / "out", embedded_workspace[0], "corpora")
    shots = shots_folder(tmp_path)
    with notebook_page(
        tmp_path, shipped("05_alexnet_spectrogram.ipynb", "NUM_EPOCHS = 2"), environment
    ) as page:
        run_all(page, seconds=400)
        page.locator(".cell").filter(has_text="views_figure").last.scroll_into_view_if_needed()
        page.screenshot(path=shots / "notebook-05-views.png")
        panel = page.locator(".suite-panel")
        code = panel.locator(".widget-html pre").first
        before = run_panel(page)
        panel.locator("select").nth(2).select_option(label="alexnet")
        panel.locator("input[type=checkbox]").first.click()  # mixup
        wait_until(
            lambda: "ser_model='alexnet'" in code.inner_text()
            and "mixup=True" in code.inner_text(),
            "the settings to paste name both",
        )
        run_panel(page, before, seconds=180)
        assert [
            path
            for path in (work / "runs" / "alexnet").iterdir()
            if "-fold-0-alexnet-clean" in path.name
        ]
        page.locator(".suite-output").last.scroll_into_view_if_needed()
        page.screenshot(path=shots / "notebook-05-panel.png")
        panel.locator("button", has_text="Download").click()
        wait_until(lambda: list((work / "downloads").glob("*.zip")), "the zip is saved", seconds=60)
        assert not page.errors, page.errors
