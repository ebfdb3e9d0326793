"""Notebook 02 as a reader uses it in a browser: run all, move the sliders for ways and shots, Run,
and see a figure that names them.
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


def test_notebook_02_in_a_browser(tmp_path, embedded_workspace):
    work, environment = workspace(tmp_path / "out", embedded_workspace[0], "corpora", "features")
    shots = shots_folder(tmp_path)
    with notebook_page(
        tmp_path, shipped("02_maml_training.ipynb", "ITERATIONS = 60"), environment
    ) as page:
        run_all(page, seconds=400)
        page.locator(".cell").filter(has_text="show_episode").locator(
            "audio"
        ).first.scroll_into_view_if_needed()
        page.screenshot(path=shots / "notebook-02-episode.png")
        panel = page.locator(".suite-panel")
        code = panel.locator(".widget-html pre").first
        before = run_panel(page)
        sliders = panel.locator(".ui-slider-handle, .noUi-handle")
        for number, keys in ((0, 2), (1, 3)):  # ways 5 -> 3, shots 5 -> 2
            press(sliders.nth(number), "ArrowLeft", keys)
        wait_until(
            lambda: "ways=3" in code.inner_text() and "shots=2" in code.inner_text(),
            "the settings to paste name ways and shots",
        )
        run_panel(page, before, seconds=120)
        assert [
            path
            for path in (work / "runs" / "maml").iterdir()
            if "MAML" in path.name and "3way2shot" in path.name
        ]
        page.locator(".suite-output").last.scroll_into_view_if_needed()
        page.screenshot(path=shots / "notebook-02-panel.png")
        panel.locator("button", has_text="Download").click()
        wait_until(lambda: list((work / "downloads").glob("*.zip")), "the zip is saved", seconds=60)
        assert not page.errors, page.errors
