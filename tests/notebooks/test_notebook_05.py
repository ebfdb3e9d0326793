"""Notebook 05, AlexNet: its presets, without a browser, and as a reader uses it in one."""

import json
import shutil

import numpy as np
import pytest
import soundfile
import torch
from browser import notebook_page, run_all, run_panel, shipped, shots_folder, wait_until, workspace
from kept_again import check_kept_by_notebook
from notebook_runs import embedded_parts, loaded, only, run
from repo import REPO

from colab_utils.methods.alexnet.network import AlexNetGap
from colab_utils.settings import with_settings

pytestmark = pytest.mark.slow

# samsudinng/speech_emo_recognition at a38c296 (crossval_SER.py, train_ser.py, data_utils.py), but
# for sizes; with padding of silence and a mean over speech
PAPER = {
    "batch_size": 64,
    "lr": 1e-4,
    "weight_decay": 0.01,
    "pretrained": "imagenet",
    "mixup": False,
    "oversampling": False,
    "balanced": False,
    "spec_augment": False,
    "schedule": "constant",
    "select": "wa",
    "patience": 0,
    "decision": "geometric",
    "test_hop": 300,
    "eight_bit": True,
    "padding": "floor",
    "pooling": "speech",
    "stability": 0.0,
    "stability_loss": "clean",
}
PUBLISHED = {
    "paper": PAPER,
    # musifahamran/FYP at 2449631, train_ser_CLoss.py
    "paper-stability": PAPER | {"stability": 0.5, "stability_loss": "both"},
    "paper-as-released": PAPER | {"padding": "zero", "pooling": "all"},
    "default": {},
    "small": {},
}


def write_clips(folder):
    """A corpus of one's own: four speakers, two emotions."""
    rows, rng = ["file,emotion,speaker"], np.random.default_rng(0)
    for number in range(16):
        wave = 0.1 * rng.normal(size=6000 + 200 * number)
        soundfile.write(folder / f"{number}.wav", wave, 16000)
        rows.append(f"{number}.wav,{('anger', 'fear')[number % 2]},s{number // 4}")
    table = folder / "clips.csv"
    table.write_text("\n".join(rows))
    columns = {"wav": "file", "emotion": "emotion", "speaker": "speaker"}
    return {"mine": {"audio": str(table), **columns}}


def test_a_preset_holds_unless_a_field_is_filled(tmp_path, monkeypatch):
    """The notebook's own cells, its fields as shipped; what a run then says it was."""
    monkeypatch.setenv("SER_WORKSPACE", str(tmp_path / "out"))
    # stands in for ImageNet's weights, which torchvision would fetch
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    weights = tmp_path / "hub/checkpoints/alexnet-owt-7be5be79.pth"
    weights.parent.mkdir(parents=True)
    torch.save(AlexNetGap(2).state_dict(), weights)
    content = json.loads((REPO / "notebooks" / "05_alexnet_spectrogram.ipynb").read_text())
    cells = {cell["id"]: "".join(cell["source"]) for cell in content["cells"]}
    own, small = write_clips(tmp_path), {"image_height": 63, "num_epochs": 1}
    for preset, published in PUBLISHED.items():
        space = {}
        exec(cells["parameters"], space)
        assert f'"{preset}"' in cells["parameters"]
        space.update(CORPUS="mine", OWN=own, PRESET=preset)
        exec(cells["corpora"], space)
        assert space["config"].changed() == {}
        one_fold = space["study"].of_fold(space["study"].folds[0])
        (found,) = one_fold.run(with_settings(space["config"], **small), pictures=False).values()
        config = json.loads((found.path / "config.json").read_text())
        assert config["preset"] == preset
        assert set(config["changed"]) <= set(small)
        assert {name: config["settings"][name] for name in published} == published


def test_notebook_05_on_the_embedded_corpus_and_on_emodb(
    embedded_workspace, real_corpora, tmp_path
):
    """Made, and spoken; a second run loads all but one's own network; the kept one labels audio."""
    embedded_parts(tmp_path, embedded_workspace, "corpora")
    for _ in range(2):
        done = run("05_alexnet_spectrogram.ipynb", tmp_path, "NUM_EPOCHS=1")
        assert done.returncode == 0, done.stdout + done.stderr
    assert "trained before, loaded" in done.stdout and loaded(done.stdout) == 15
    check_kept_by_notebook(tmp_path, tmp_path)
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
        network = panel.locator("select").filter(has_text="alexnet_gap")
        network.select_option(label="alexnet")
        panel.locator("input[type=checkbox]").first.click()  # mixup
        wait_until(
            lambda: (
                "'ser_model': 'alexnet'" in code.inner_text()
                and "'mixup': True" in code.inner_text()
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
