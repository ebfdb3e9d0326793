"""Notebook 02, MAML: without a browser, and as a reader uses it in one."""

import json

import pytest
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
from notebook_runs import embedded_parts, only, run

pytestmark = pytest.mark.slow


def test_notebook_02_on_the_embedded_corpus_and_on_real_languages(
    embedded_workspace, real_corpora, tmp_path
):
    """Two target domains: made, and spoken; the second run of the first loads everything."""
    embedded_parts(tmp_path, embedded_workspace, "corpora", "features")
    for _ in range(2):
        done = run("02_maml_training.ipynb", tmp_path, "ITERATIONS=50", "TASKS=50")
        assert done.returncode == 0, done.stdout + done.stderr
    assert (
        "trained before, loaded" in done.stdout
        and done.stdout.count("nothing is computed again") >= 8
    )
    metrics = json.loads(only(tmp_path, "runs/maml/*MAML-fixed*/metrics.json").read_text())
    assert (
        metrics["chance"] == 0.2
        and metrics["uar"] > 0.5
        and metrics["speaker_independence"] == "independent"
    )
    assert "Synthetic" in (tmp_path / "index.html").read_text()
    done = run(
        "02_maml_training.ipynb",
        tmp_path,
        "ITERATIONS=25",
        "TASKS=20",
        "SHOTS=1",
        "PROTOCOL=open_languages",
        "TASK=en+it-de",
        "FEATURES=logmel",
        f"AUDIO={real_corpora}",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    metrics = json.loads(only(tmp_path, "runs/maml/en+it-de*MAML-fixed*/metrics.json").read_text())
    assert metrics["n_speakers"] == 10 and metrics["n"] == 20 * 50


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
