"""Notebook 03 as a reader uses it in a browser: run all, move the slider for shots, leave an
emotion out, Run, and see figures that say so.
"""

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


def test_notebook_03_in_a_browser(tmp_path, embedded_workspace):
    work, environment = workspace(tmp_path / "out", embedded_workspace[0], "corpora", "features")
    shots = shots_folder(tmp_path)
    with notebook_page(
        tmp_path, shipped("03_emofsl_finetuning.ipynb", "COMPARED = [1, 5]"), environment
    ) as page:
        run_all(page, seconds=400)
        nearest = page.locator(".cell").filter(has_text="hear_support").locator("audio").first
        nearest.scroll_into_view_if_needed()
        page.screenshot(path=shots / "notebook-03-nearest.png")
        panel = page.locator(".suite-panel")
        code = panel.locator(".widget-html pre").first
        before = run_panel(page)
        # shots 5 -> 3
        press(panel.locator(".ui-slider-handle, .noUi-handle").first, "ArrowLeft", 2)
        panel.locator("label", has_text="happiness").locator("input").click()
        wait_until(
            lambda: "shots=3" in code.inner_text() and "happiness" not in code.inner_text(),
            "the settings to paste name shots and emotions",
        )
        run_panel(page, before, seconds=120)
        found = [
            path
            for path in (work / "runs" / "emofsl").iterdir()
            if "EMOFSL-prototype-3shot" in path.name or "EMOFSL-head-3shot" in path.name
        ]
        assert len(found) == 1 and '"labels": ["anger", "neutral", "sadness"]' in " ".join(
            (found[0] / "config.json").read_text().split()
        ).replace("[ ", "[").replace(" ]", "]")
        page.locator(".suite-output").last.scroll_into_view_if_needed()
        page.screenshot(path=shots / "notebook-03-panel.png")
        panel.locator("button", has_text="Download").click()
        wait_until(lambda: list((work / "downloads").glob("*.zip")), "the zip is saved", seconds=60)
        assert not page.errors, page.errors
