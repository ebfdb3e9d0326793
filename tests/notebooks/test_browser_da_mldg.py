"""Notebook 04 as a reader uses it in a browser: run all, choose other algorithms, Run, and see
figures that name them.
"""

from browser import notebook_page, run_all, run_panel, shipped, shots_folder, wait_until, workspace


def test_notebook_04_in_a_browser(tmp_path, embedded_workspace):
    work, environment = workspace(tmp_path / "out", embedded_workspace[0], "corpora", "features")
    shots = shots_folder(tmp_path)
    with notebook_page(
        tmp_path,
        shipped("04_da_mldg.ipynb", 'TASKS = ["synthetic-street"]\nSETTINGS = {"steps": 100}'),
        environment,
    ) as page:
        run_all(page, seconds=400)
        page.locator(".cell").filter(
            has_text="readable_targets(table)"
        ).last.scroll_into_view_if_needed()
        page.screenshot(path=shots / "notebook-04-test.png")
        panel = page.locator(".suite-panel")
        code = panel.locator(".widget-html pre").first
        before = run_panel(page)
        for name in ("da-mldg", "coral"):  # erm, da-mldg -> erm, coral
            panel.locator("label").filter(has_text=name).locator(
                "input[type=checkbox]"
            ).first.click()
        panel.locator("select").first.select_option(label="scenario 6")
        wait_until(
            lambda: "('erm', 'coral')" in code.inner_text() and "scenario 6" in code.inner_text(),
            "the settings to paste name them",
        )
        run_panel(page, before, seconds=120)
        assert [
            path
            for path in (work / "runs" / "da_mldg").iterdir()
            if path.name.startswith("scenario-6") and "coral" in path.name
        ]
        page.locator(".suite-output").last.scroll_into_view_if_needed()
        page.screenshot(path=shots / "notebook-04-panel.png")
        panel.locator("button", has_text="Download").click()
        wait_until(lambda: list((work / "downloads").glob("*.zip")), "the zip is saved", seconds=60)
        assert not page.errors, page.errors
