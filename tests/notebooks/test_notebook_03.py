"""Notebook 03, EMOFSL: without a browser, and as a reader uses it in one."""

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
from kept_again import check_kept_by_notebook
from notebook_runs import embedded_parts, loaded, only, run
from tiny_encoders import TWENTY_MS, save

from colab_utils.files import read_json
from colab_utils.learning.heads import LINEAR
from colab_utils.methods.emofsl.settings import BASELINES

pytestmark = pytest.mark.slow


# Table I of Yue et al. 2023, and what each loss of it has
SIZES = {"shots", "n_draws", "epochs", "source_epochs"}
TABLE_1 = {"learning_rate": 1e-4, "decay": 0.98, "source_loss_weight": 0.0}
LOSSES = {
    "BTL": {},
    "FSTL": {"kappa": 1.0, "cap": 0.0, "reduction": "sum", "loss_weight": 1.0},
    "EMOFSL": {
        "alpha": 1.0,
        "beta": 0.6,
        "kappa1": 0.6,
        "kappa2": 0.3,
        "margins": "paper",
        "reduction": "sum",
        "loss_weight": 1.0,
    },
}


def configs(workspace, preset):
    """config.json of every run of a preset, of which only sizes were changed."""
    found = [read_json(path) for path in workspace.glob("runs/emofsl/*/config.json")]
    found = [one for one in found if one["preset"] == preset]
    assert found and all(set(one["changed"]) <= SIZES for one in found)
    return found


def test_notebook_03_on_the_embedded_corpus(embedded_workspace, tmp_path):
    """The second run loads everything."""
    embedded_parts(tmp_path, embedded_workspace, "corpora", "features")
    for _ in range(2):
        done = run("03_emofsl_finetuning.ipynb", tmp_path, "COMPARED=[1, 5]")
        assert done.returncode == 0, done.stdout + done.stderr
    assert "acoustic (75 columns)" in done.stdout and "trained before, loaded" in done.stdout
    assert loaded(done.stdout) >= 17
    assert "other columns for GROUP_BY: " in done.stdout, "a figure by gender"
    metrics = json.loads(only(tmp_path, "runs/emofsl/*EMOFSL-head-5shot*/metrics.json").read_text())
    assert (
        metrics["chance"] == 0.25
        and metrics["uar"] > 0.4
        and metrics["speaker_independence"] == "independent"
        and metrics["n_draws"] == 10
    )
    assert "transductive: normalised by speaker" in metrics["rule"]
    assert only(tmp_path, "runs/emofsl/*recommended-5shot*/DONE").exists()
    assert "Synthetic" in (tmp_path / "index.html").read_text()
    runs = configs(tmp_path, "default")
    assert len(runs) == len(list(tmp_path.glob("runs/emofsl/*")))
    assert len(list(tmp_path.glob("trained/emofsl/*source*"))) == 1, "one source for all"
    check_kept_by_notebook(tmp_path, tmp_path)


def test_notebook_03_between_real_corpora(real_corpora, tmp_path):
    done = run(
        "03_emofsl_finetuning.ipynb",
        tmp_path,
        "SOURCE=emodb",
        "TARGET=emovo",
        "FEATURES=logmel",
        "COMPARED=[1]",
        "SHOTS=1",
        "DRAWS=3",
        f"AUDIO={real_corpora}",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    metrics = json.loads(
        only(tmp_path, "runs/emofsl/emodb-emovo*EMOFSL-head-1shot*/metrics.json").read_text()
    )
    assert metrics["n_speakers"] == 6 and metrics["n"] == 3 * 336


def test_notebook_03_with_a_speech_encoder_that_learns_and_with_weights_of_its_layers(
    embedded_workspace, tmp_path
):
    """A tiny encoder of random weights in the Hub's format: last layers tuned and written back,
    then all layers under learned weights.
    """
    embedded_parts(tmp_path, embedded_workspace, "corpora")
    few = [
        f"FEATURES={save(tmp_path / 'tiny', **TWENTY_MS)}",
        "EMOTIONS=['anger', 'sadness']",
        "COMPARED=[1]",
        "SHOTS=1",
        "DRAWS=2",
    ]
    done = run(
        "03_emofsl_finetuning.ipynb",
        tmp_path,
        *few,
        "TUNE_LAYERS=1",
        "SETTINGS={'epochs': 3, 'source_epochs': 1}",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for told in ("tiny: 0 MB on this machine", "the encoder as the source left it"):
        assert told in done.stdout
    assert "normalisation: none, for layers that learn" in done.stdout
    assert (
        tmp_path / "encoders" / "synthetic-studio-synthetic-phone" / "model.safetensors"
    ).is_file()
    metrics = json.loads(
        only(tmp_path, "runs/emofsl/*ssl-1tuned-EMOFSL-head-1shot*/metrics.json").read_text()
    )
    assert "the encoder's last layers learn, too: 1" in metrics["notes"]
    weighed = ["FEATURE_SETTINGS={'layer': 'all'}", "PRESET=paper"]
    done = run("03_emofsl_finetuning.ipynb", tmp_path, *few, *weighed)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(list(tmp_path.glob("runs/emofsl/*ssl-EMOFSL-head-1shot*/metrics.json"))) == 1
    runs = configs(tmp_path, "paper")
    methods = [one["model"].split(", ")[0] for one in runs]
    assert {*LOSSES, *BASELINES} - set(methods) == set(LINEAR)  # which are of no preset
    recommended = read_json(only(tmp_path, "runs/emofsl/*ssl-recommended-1shot*/config.json"))
    assert recommended["settings"]["normalisation"] == "speaker"
    for method, one in zip(methods, runs, strict=True):
        expected = TABLE_1 | LOSSES.get(method, {})
        assert {name: one["settings"][name] for name in expected} == expected, method


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
            lambda: "'shots': 3" in code.inner_text() and "happiness" not in code.inner_text(),
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
