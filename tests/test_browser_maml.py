"""Notebook 02 as a reader uses it in a browser: run all, move the sliders for ways and shots, Run, and see a figure that names them."""
import time

from browser import notebook_page, run_all, shipped, shots_folder, wait_until, workspace


def test_notebook_02_in_a_browser(tmp_path, embedded_workspace):
    work, environment = workspace(tmp_path / "out", embedded_workspace[0], "corpora", "features")
    shots = shots_folder(tmp_path)
    with notebook_page(tmp_path, shipped("02_maml_training.ipynb", "ITERATIONS = 60"), environment) as page:
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
