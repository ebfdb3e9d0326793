"""Notebook 01 as a reader uses it in a browser: run all, change a setting with the keyboard, Run,
Download.
"""

import zipfile

from browser import (
    notebook_page,
    press,
    run_all,
    run_panel,
    shipped,
    shots_folder,
    wait_until,
    workspace,
)


def test_notebook_01_in_a_browser(tmp_path, embedded_workspace):
    work, environment = workspace(tmp_path / "out", embedded_workspace[0], "corpora", "features")
    shots = shots_folder(tmp_path)
    with notebook_page(tmp_path, shipped("01_feature_extraction.ipynb"), environment) as page:
        run_all(page, seconds=400)
        panel = page.locator(".suite-panel")
        before = run_panel(page)
        # C, on a logarithmic scale
        press(panel.locator(".ui-slider-handle, .noUi-handle").first, "ArrowLeft", 3)
        code = panel.locator(".widget-html pre").first
        wait_until(lambda: "C=" in code.inner_text(), "the settings to paste name the new C")
        value = code.inner_text().split("C=")[1].split(",")[0].rstrip(")")
        run_panel(page, before)
        names = [path.name for path in (work / "runs" / "baselines").iterdir()]
        assert (
            len([name for name in names if "logistic-inductive" in name]) == 2
        ), "the new setting has a run of its own"
        out = page.locator(".suite-output").last
        out.scroll_into_view_if_needed()
        page.screenshot(path=shots / "notebook-01-panel.png")

        panel.locator("button", has_text="Download").click()
        wait_until(lambda: list((work / "downloads").glob("*.zip")), "the zip is saved", seconds=60)
        assert not page.errors, page.errors
    newest = max((work / "downloads").glob("*.zip"), key=lambda path: path.stat().st_mtime)
    with zipfile.ZipFile(newest) as archive:
        inside = archive.namelist()
        config = archive.read(
            next(name for name in inside if name.endswith("config.json"))
        ).decode()
    assert all(
        any(name.endswith(f"confusion_matrix.{suffix}") for name in inside)
        for suffix in ("png", "pdf", "svg", "csv")
    )
    assert (
        f'"C": {float(value)}' in config
    ), "the zip holds the run with the setting that was chosen"
