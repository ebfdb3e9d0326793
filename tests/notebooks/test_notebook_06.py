"""Notebook 06, all runs side by side: without a browser, and as a reader uses it in one."""

import shutil

import numpy as np
import pytest
from browser import (
    notebook_page,
    run_all,
    shipped,
    shots_folder,
    take_home,
    wait_until,
    workspace,
)
from notebook_runs import embedded_parts, run
from tampered import make_runs, nasty_runs, tamper

from colab_utils.results.predictions import read_predictions

pytestmark = pytest.mark.slow


def test_notebook_06_compares_what_is_there(embedded_workspace, tmp_path):
    there = f"RUNS={embedded_workspace[0]}"
    answers = tmp_path / "answers.npz"
    first = sorted(embedded_workspace[0].glob("runs/*/*/predictions.csv"))[0]
    table = read_predictions(first).drop_duplicates("utt_id")
    table["pred"] = table["pred"].replace("anger", "rage")
    np.savez(answers, **{name: table[name].to_numpy(dtype=str) for name in ("utt_id", "pred")})
    renamed = f"ANSWERS={answers}", "MERGE={'rage': 'anger'}"
    done = run("06_compare_methods.ipynb", tmp_path, there, *renamed)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 runs: synthetic, 6 emotions, 1000 utterances" in done.stdout
    assert "paired delete-one jackknife of the UAR over 32 speakers" in done.stdout
    assert "other columns for GROUP_BY: corpus, language\n" in done.stdout, "as names say"
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["made-elsewhere"]
    assert "Made elsewhere: how is not known here." in (tmp_path / "index.html").read_text()
    done = run("06_compare_methods.ipynb", tmp_path, there, "WORDS=nothing")
    assert done.returncode != 0 and "no run's name holds 'nothing'" in done.stderr.splitlines()[-1]


def test_notebook_06_and_its_page_name_what_is_no_finished_run(tmp_path):
    told, whole = tamper(tmp_path)
    done = run("06_compare_methods.ipynb", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(told)} folder(s) hold no finished run" in done.stdout
    assert f"{len(whole)} runs: aa, 3 emotions, 54 utterances" in done.stdout
    executed = (tmp_path / "notebooks" / "06_compare_methods.ipynb").read_text()
    page = (tmp_path / "index.html").read_text()
    for folder, word in told.items():
        assert folder.name in executed and word in executed
        assert f"{folder.parent.name}/{folder.name}" in page and word in page
    assert page.count('class="headline"') == len(whole)


def test_notebook_06_goes_on_with_examples_where_no_run_is_finished(embedded_workspace, tmp_path):
    for folder in make_runs(tmp_path / "stopped"):
        (folder / "DONE").unlink()
    embedded_parts(tmp_path / "new", embedded_workspace, "corpora", "features")
    done = run("06_compare_methods.ipynb", tmp_path / "new", f"RUNS={tmp_path / 'stopped'}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no finished runs in" in done.stdout and "2 folder(s) hold no finished" in done.stdout
    assert "  4 runs: synthetic, 6 emotions" in done.stdout


def test_notebook_06_in_a_browser(tmp_path, embedded_workspace):
    work, environment = workspace(tmp_path / "out", embedded_workspace[0], "corpora", "features")
    shutil.copytree(embedded_workspace[0] / "runs", work / "runs")
    nasty_runs(work)
    shots = shots_folder(tmp_path)
    with notebook_page(tmp_path, shipped("06_compare_methods.ipynb"), environment) as page:
        run_all(page, seconds=200)
        names = take_home(page)
        assert {"README.txt", "methods.txt", "cite.bib", "tables/results.tex"} <= names
        panel = page.locator(".suite-panel")
        code = panel.locator(".widget-html pre").first
        words = panel.locator("input[type=text]").first
        words.fill("-logmel")
        words.press("Enter")
        wait_until(
            lambda: "WORDS = '-logmel'" in code.inner_text(), "the settings to paste name the word"
        )
        page.locator(".suite-panel button", has_text="Run").click()
        picture = page.locator(".suite-output img")
        wait_until(lambda: picture.count() == 2, "points and matrices", seconds=60)
        page.locator(".suite-output").last.scroll_into_view_if_needed()
        page.screenshot(path=shots / "notebook-06-panel.png")
        panel.locator("button", has_text="Download").click()
        wait_until(lambda: list((work / "downloads").glob("*.zip")), "the zip is saved", seconds=60)
        panel.locator("select").first.select_option(index=1)
        words.fill("")
        words.press("Enter")
        page.locator(".suite-panel button", has_text="Run").click()
        shown = page.locator(".suite-output").last
        wait_until(lambda: "window.hacked=1" in shown.inner_text(), "the runs with tags in names")
        assert page.evaluate("window.hacked") is None, "tags in names are text"
        assert not page.errors, page.errors
