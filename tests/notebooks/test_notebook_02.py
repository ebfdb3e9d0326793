"""Notebook 02, MAML: without a browser, and as a reader uses it in one."""

import json

import numpy as np
import pandas as pd
import pytest
import soundfile
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
from repo import REPO

from colab_utils.methods.maml import MamlConfig
from colab_utils.settings import as_dict

pytestmark = pytest.mark.slow

SIZES = {"iterations": 1, "valid_tasks": 8, "width": 8, "shots": 1, "queries": 2}
FRAMES = {"max_frames": 16}  # of networks on frames
LOG_MEL = {"paper", "contrastive", "agnostic"}
OF_THE_TASK = {"ways": 3, "seed": 0}


def write_table(path, speakers):
    """A CSV and its audio, short noises: three of each emotion and speaker."""
    rng, rows = np.random.default_rng(len(path.name)), []
    for who in speakers:
        for label in ("anger", "fear", "sadness"):
            for i in range(3):
                wav = path.with_name(f"{who}-{label}-{i}.wav")
                soundfile.write(wav, 0.1 * rng.normal(size=4000), 16000, subtype="PCM_16")
                rows.append({"clip": wav.name, "label": label, "who": who})
    pd.DataFrame(rows).to_csv(path, index=False)
    return str(path)


def test_every_preset_runs_as_published(tmp_path, monkeypatch):
    """The notebook's own cells, one preset after the other, with sizes that a test can wait for."""
    monkeypatch.setenv("SER_WORKSPACE", str(tmp_path / "out"))
    monkeypatch.setattr("colab_utils.learning.study.save_confusion_matrix", lambda run: None)
    raw = json.loads((REPO / "notebooks" / "02_maml_training.ipynb").read_text(encoding="utf-8"))
    cells = {cell["id"]: "".join(cell["source"]) for cell in raw["cells"]}
    given = {
        "TRAIN_CSV": write_table(tmp_path / "train.csv", ["a1", "a2", "a3", "a4"]),
        "TEST_CSV": write_table(tmp_path / "test.csv", ["b1", "b2"]),
        "CSV_COLUMNS": {"wav": "clip", "emotion": "label", "speaker": "who"},
        "WAYS": 3,
        "TASKS": 2,
    }
    for preset in MamlConfig.PRESETS:
        names, sizes = {}, SIZES if "default" in preset else SIZES | FRAMES
        exec(cells["parameters"], names)
        names.update(given, PRESET=preset, SETTINGS=sizes)
        if "default" in preset:  # of its own features the encoder takes its time
            names["FEATURES"] = "acoustic"
        exec(cells["corpora"], names)
        study, config = names["study"], names["config"]
        study.progress = False
        study.train(config)
        (run_of_it,) = study.compare(config, names["episodes"], {"MAML": config}, []).values()
        found = json.loads((run_of_it.path / "config.json").read_text())
        published = as_dict(MamlConfig.from_preset(preset).only()) | OF_THE_TASK
        changed = {name: sizes[name] for name in sizes if sizes[name] != published[name]}
        assert found["preset"] == preset and found["changed"] == changed
        assert found["settings"] == published | changed
        assert found["test"]["steps"] == (published["test_steps"] or published["steps"])
        front = "paper-mfcc" if preset.removeprefix("paper-") not in LOG_MEL else "paper-logmel"
        assert found["feature_spec"]["name"] == ("acoustic" if "default" in preset else front)


def test_notebook_02_on_the_embedded_corpus_and_on_real_languages(
    embedded_workspace, real_corpora, tmp_path
):
    """Two target domains: made, and spoken; the second run of the first loads everything."""
    embedded_parts(tmp_path, embedded_workspace, "corpora", "features")
    for _ in range(2):
        done = run("02_maml_training.ipynb", tmp_path, "ITERATIONS=50", "TASKS=50")
        assert done.returncode == 0, done.stdout + done.stderr
    assert "trained before, loaded" in done.stdout and loaded(done.stdout) >= 8
    metrics = json.loads(only(tmp_path, "runs/maml/*MAML-fixed*/metrics.json").read_text())
    assert (
        metrics["chance"] == 0.2
        and metrics["uar"] > 0.5
        and metrics["speaker_independence"] == "independent"
    )
    assert "Synthetic" in (tmp_path / "index.html").read_text()
    check_kept_by_notebook(tmp_path, tmp_path)
    done = run(
        "02_maml_training.ipynb",
        tmp_path,
        "PRESET=default-permuted",
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
    config = only(tmp_path, "runs/maml/en+it-de*MAML-permuted*/config.json").read_text()
    assert json.loads(config)["preset"] == "default-permuted"
    assert json.loads(config)["changed"] == {"iterations": 25, "shots": 1}


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
        before = run_panel(page)
        sliders = panel.locator(".ui-slider-handle, .noUi-handle")
        for number, keys in ((0, 2), (1, 3)):  # ways 5 -> 3, shots 5 -> 2
            press(sliders.nth(number), "ArrowLeft", keys)
        wait_until(
            lambda: panel.locator(".widget-readout").all_inner_texts()[:2] == ["3", "2"],
            "the sliders say ways and shots",
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
