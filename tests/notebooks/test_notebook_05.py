"""Notebook 05, AlexNet: without a browser, and as a reader uses it in one."""

import json
import shutil

import pytest
from browser import notebook_page, run_all, run_panel, shipped, shots_folder, wait_until, workspace
from notebook_runs import embedded_parts, only, run

pytestmark = pytest.mark.slow


def test_notebook_05_on_the_embedded_corpus_and_on_emodb(
    embedded_workspace, real_corpora, tmp_path
):
    """Made, and spoken; a second run loads all but one's own network; the kept one labels audio."""
    embedded_parts(tmp_path, embedded_workspace, "corpora")
    for _ in range(2):
        done = run("05_alexnet_spectrogram.ipynb", tmp_path, "NUM_EPOCHS=1")
        assert done.returncode == 0, done.stdout + done.stderr
    assert (
        "trained before, loaded" in done.stdout
        and done.stdout.count("nothing is computed again") == 12
    )
    metrics = json.loads(
        only(
            tmp_path,
            "runs/alexnet/synthetic-studio-2-folds-alexnet-alexnet-gap-clean-*/metrics.json",
        ).read_text()
    )
    assert (
        metrics["n_speakers"] == 8
        and metrics["speaker_independence"] == "independent"
        and metrics["notes"][0] == "started from: scratch"
    )
    assert (tmp_path / "models" / "mine" / "model.safetensors").exists() and "Synthetic" in (
        tmp_path / "index.html"
    ).read_text()
    chosen = [
        "TEST_ID=03",
        "VAL_ID=08",
        "NUM_EPOCHS=1",
        "FEATURES=logmeldeltaspec",
        "MIXUP=True",
        "OVERSAMPLING=True",
        "SETTINGS={'n_boot': 50}",
    ]
    # four speakers, four emotions; the sixth letter is the emotion
    (tmp_path / "emodb").mkdir()
    for path in (real_corpora / "emodb").rglob("*.*"):
        if path.name[:2] in ("03", "08", "10", "11") and path.name[5] in "WFNT":
            shutil.copy(path, tmp_path / "emodb")
    tested = len(list((tmp_path / "emodb").glob("03*")))
    audio = ["CORPUS=emodb", f"AUDIO={tmp_path / 'emodb'}", "EXPORT=True"]
    done = run("05_alexnet_spectrogram.ipynb", tmp_path, *audio, *chosen)
    assert done.returncode == 0, done.stdout + done.stderr
    heard = only(tmp_path, "runs/alexnet/emodb-2-folds-alexnet-alexnet-gap-clean-*")
    metrics = json.loads((heard / "metrics.json").read_text())
    assert metrics["n"] == tested > 20 and metrics["n_speakers"] == 1

    exported = only(tmp_path, "exports/emodb-2-folds-logmeldeltaspec.npz")
    done = run(
        "05_alexnet_spectrogram.ipynb", tmp_path / "file", f"FEATURES_FILE={exported}", *chosen
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "left out:" in done.stdout, "what needs audio is named"
    from_file = only(tmp_path, "file/runs/alexnet/*-alexnet-gap-clean-*/predictions.csv")
    assert from_file.read_bytes() == (heard / "predictions.csv").read_bytes()


def test_notebook_05_in_a_browser(tmp_path, embedded_workspace):
    work, environment = workspace(tmp_path / "out", embedded_workspace[0], "corpora")
    shots = shots_folder(tmp_path)
    with notebook_page(
        tmp_path, shipped("05_alexnet_spectrogram.ipynb", "NUM_EPOCHS = 1"), environment
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
            lambda: (
                "ser_model='alexnet'" in code.inner_text() and "mixup=True" in code.inner_text()
            ),
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
