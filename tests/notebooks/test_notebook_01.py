"""Notebook 01, features and baselines: without a browser, and as a reader uses it in one."""

import dataclasses
import json
import zipfile

import nbformat
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
from kept_again import check_kept_by_notebook
from notebook_runs import embedded_parts, loaded, only, run

from colab_utils.methods.baselines.settings import BaselineConfig

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def emodb_run(real_corpora, tmp_path_factory):
    """Notebook 01 on real speech: the workspace and what was printed."""
    workspace = tmp_path_factory.mktemp("emodb")
    done = run(
        "01_feature_extraction.ipynb", workspace, "CORPUS=emodb", f"AUDIO={real_corpora / 'emodb'}"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return workspace, done.stdout


def test_emodb_from_folder_to_matrix(emodb_run):
    workspace, printed = emodb_run
    assert "emodb: 535 utterances, 10 known speakers, 7 emotions" in printed
    inductive = json.loads(
        only(workspace, "runs/baselines/*logistic-none*/metrics.json").read_text()
    )
    assert inductive["uar"] >= 0.75 and inductive["n"] == 535 and inductive["n_speakers"] == 10
    normalised = json.loads(
        only(workspace, "runs/baselines/*logistic-speaker*/metrics.json").read_text()
    )
    assert any(note.startswith("transductive") for note in normalised["notes"])
    folder = only(workspace, "runs/baselines/*logistic-none*")
    for suffix in ("png", "pdf", "svg", "csv"):
        assert (folder / f"confusion_matrix.{suffix}").stat().st_size > 100
    page = (workspace / "index.html").read_text()
    assert "emodb-acoustic+moonshine-logistic-none" in page and "From a folder of audio" in page


def test_a_second_run_extracts_and_trains_nothing(emodb_run, real_corpora):
    workspace, _ = emodb_run
    before = {path: path.stat().st_mtime_ns for path in workspace.glob("runs/*/*/*")}
    stores = sorted(workspace.glob("features/*"))
    done = run(
        "01_feature_extraction.ipynb", workspace, "CORPUS=emodb", f"AUDIO={real_corpora / 'emodb'}"
    )
    assert done.returncode == 0, done.stderr
    assert "nothing made, 535 reused" in done.stdout and loaded(done.stdout) == 3
    assert {path: path.stat().st_mtime_ns for path in workspace.glob("runs/*/*/*")} == before
    assert sorted(workspace.glob("features/*")) == stores


def test_the_embedded_corpus_runs_from_top_to_bottom_and_says_that_it_is_synthetic(
    embedded_workspace, tmp_path
):
    workspace, printed = embedded_workspace
    assert "32 known speakers, 6 emotions" in printed
    metrics = json.loads(only(workspace, "runs/baselines/*logistic-none*/metrics.json").read_text())
    assert 0.55 <= metrics["uar"] <= 0.90 and metrics["n_speakers"] == 32
    assert "Synthetic" in (workspace / "index.html").read_text()
    executed = nbformat.read(only(workspace, "notebooks/*.ipynb"), as_version=4)
    assert all(cell.execution_count for cell in executed.cells if cell.cell_type == "code")
    check_kept_by_notebook(workspace, tmp_path)


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
        wait_until(lambda: "'C': " in code.inner_text(), "the settings to paste name the new C")
        run_panel(page, before)
        # all keys have arrived by now
        value = code.inner_text().split("'C': ")[1].split(",")[0].rstrip("}")
        names = [path.name for path in (work / "runs" / "baselines").iterdir()]
        # the panel starts with what is recommended
        assert len([name for name in names if "logistic-speaker" in name]) == 2, (
            "the new setting has a run of its own"
        )
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
    assert f'"C": {float(value)}' in config, (
        "the zip holds the run with the setting that was chosen"
    )


@pytest.mark.parametrize(
    "preset",
    [
        name if name == "linear-svm" else pytest.param(name, marks=pytest.mark.long)
        for name in BaselineConfig.PRESETS
    ],
)
def test_a_preset_holds_unless_a_field_is_filled(preset, tmp_path, embedded_workspace):
    embedded_parts(tmp_path, embedded_workspace, "corpora", "features")
    size = {"epochs": 2} if preset == "mlp" else {}
    given = [f"PRESET={preset}", f"SETTINGS={size}"]
    done = run("01_feature_extraction.ipynb", tmp_path, *given)
    assert done.returncode == 0, done.stdout + done.stderr
    asked = dataclasses.asdict(BaselineConfig.from_preset(preset, **size))
    found = []
    for file in tmp_path.glob("runs/baselines/*/config.json"):
        config = json.loads(file.read_text())
        if config["preset"] == preset and config["settings"].items() <= asked.items():
            found.append(config)
    assert len(found) == 1 and found[0]["changed"] == size
