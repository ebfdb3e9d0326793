"""Notebook 06, all runs side by side: without a browser, and as a reader uses it in one."""

import shutil

import pytest
from browser import notebook_page, run_all, shipped, shots_folder, wait_until, workspace
from notebook_runs import embedded_parts, run

pytestmark = pytest.mark.slow


def test_notebook_06_compares_what_is_there_and_makes_runs_where_there_are_none(
    embedded_workspace, tmp_path
):
    done = run("06_compare_methods.ipynb", tmp_path, f"RUNS={embedded_workspace[0]}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 runs: synthetic, 6 emotions, 1000 utterances" in done.stdout
    assert (
        "paired bootstrap of the UAR difference over 32 speakers" in done.stdout
        and not (tmp_path / "runs").exists()
    )
    embedded_parts(tmp_path / "new", embedded_workspace, "corpora", "features")
    done = run("06_compare_methods.ipynb", tmp_path / "new")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no runs in" in done.stdout and "  4 runs: synthetic, 6 emotions" in done.stdout
    done = run("06_compare_methods.ipynb", tmp_path / "new", "WORDS=nothing")
    assert done.returncode != 0 and "no run's name holds 'nothing'" in done.stderr.splitlines()[-1]


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
