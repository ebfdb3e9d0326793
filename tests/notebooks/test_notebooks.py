"""Every notebook: clean in git, the same set-up cell, thin, and runnable from top to bottom without
a browser.
"""

import ast
import json
import os
import pathlib
import shutil
import subprocess
import sys

import nbformat
import numpy as np
import pytest
from tiny_encoders import TWENTY_MS, save

from repo import REPO

NOTEBOOKS = sorted((REPO / "notebooks").glob("*.ipynb"))

import setup_cell  # noqa: E402


def read(path):
    return nbformat.read(path, as_version=4)


def cells(path, kind="code"):
    return [cell for cell in read(path).cells if cell.cell_type == kind]


def test_there_are_notebooks():
    assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_clean_in_git(path):
    raw = json.loads(path.read_text(encoding="utf-8"))
    assert not any(
        cell.get("outputs") or cell.get("execution_count") for cell in raw["cells"]
    ), "clear the outputs"
    assert "widgets" not in raw["metadata"] and len(raw["cells"]) <= 25
    ids = [cell["id"] for cell in raw["cells"]]
    assert len(set(ids)) == len(ids) and all(
        one.replace("-", "").isalpha() for one in ids
    ), "cell ids are readable names"
    nbformat.validate(read(path))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_begins_with_badge_and_the_one_setup_cell(path):
    assert setup_cell.badge(path.name) in cells(path, "markdown")[0].source
    assert cells(path)[0].source == setup_cell.SETUP_CELL


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_thin(path):
    """Prose, parameters and calls: what is longer than ten lines lives in the package.

    The first cell is the same everywhere.
    """
    for cell in cells(path)[1:]:
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                assert (
                    node.end_lineno - node.lineno < 10
                ), f"{cell.id}: {node.name} belongs in the package"
    assert sum("parameters" in cell.metadata.get("tags", []) for cell in cells(path)) == 1


MOST_LINES = 80  # of open code: a notebook is prose
ONE_ROOM = {"01": "baselines", "02": "maml", "03": "emofsl", "04": "da_mldg", "05": "alexnet"}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_reads_as_prose(path):
    """Few lines, imports at one place, and one import of the notebook's room."""
    lines, importing, rooms = 0, [], []
    for cell in cells(path)[1:]:
        code = [
            line for line in cell.source.split("\n") if line.strip() and not line.startswith("#")
        ]
        lines += len(code)
        names = [
            node
            for node in ast.walk(ast.parse(cell.source))
            if isinstance(node, ast.ImportFrom) and node.module.startswith("colab_utils")
        ]
        if names:
            importing.append(cell.id)
        rooms += [
            alias.name
            for node in names
            if node.module == "colab_utils.methods"
            for alias in node.names
        ]
        assert not any(
            node.module.startswith("colab_utils.methods.") for node in names
        ), "a room exports what its notebook needs"
    own_code = [one for one in importing if "own" in one]
    assert len(importing) - len(own_code) <= 1, f"imports in {importing}: one place is enough"
    assert lines <= MOST_LINES, f"{lines} lines of code"
    if path.stem[:2] in ONE_ROOM:
        assert rooms == [ONE_ROOM[path.stem[:2]]]


def run(notebook: str, workspace: pathlib.Path, *parameters: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [
            sys.executable,
            str(REPO / "tools" / "run_notebook.py"),
            str(REPO / "notebooks" / notebook),
            *parameters,
        ],
        cwd=REPO,
        env={**os.environ, "SER_WORKSPACE": str(workspace)},
        capture_output=True,
        text=True,
    )


def only(folder: pathlib.Path, pattern: str) -> pathlib.Path:
    found = sorted(folder.glob(pattern))
    assert len(found) == 1, found
    return found[0]


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
        only(workspace, "runs/baselines/*logistic-inductive*/metrics.json").read_text()
    )
    assert inductive["uar"] >= 0.60 and inductive["n"] == 535 and inductive["n_speakers"] == 10
    normalised = json.loads(
        only(workspace, "runs/baselines/*speaker-normalised*/metrics.json").read_text()
    )
    assert any(note.startswith("transductive") for note in normalised["notes"])
    folder = only(workspace, "runs/baselines/*logistic-inductive*")
    for suffix in ("png", "pdf", "svg", "csv"):
        assert (folder / f"confusion_matrix.{suffix}").stat().st_size > 100
    page = (workspace / "index.html").read_text()
    assert "emodb-acoustic-logistic-inductive" in page and "From a folder of audio" in page


def test_a_second_run_extracts_and_trains_nothing(emodb_run, real_corpora):
    workspace, _ = emodb_run
    before = {path: path.stat().st_mtime_ns for path in workspace.glob("runs/*/*/*")}
    stores = sorted(workspace.glob("features/*"))
    done = run(
        "01_feature_extraction.ipynb", workspace, "CORPUS=emodb", f"AUDIO={real_corpora / 'emodb'}"
    )
    assert done.returncode == 0, done.stderr
    assert (
        "nothing made, 535 reused" in done.stdout
        and done.stdout.count("nothing is computed again") == 3
    )
    assert {path: path.stat().st_mtime_ns for path in workspace.glob("runs/*/*/*")} == before
    assert sorted(workspace.glob("features/*")) == stores


def test_a_wrong_parameter_and_a_failing_cell_are_one_sentence(tmp_path):
    done = run("01_feature_extraction.ipynb", tmp_path, "CORPORA=emodb")
    assert done.returncode != 0 and "has no parameter CORPORA; it has AUDIO" in done.stderr
    done = run("01_feature_extraction.ipynb", tmp_path, "CORPUS=emodb")
    assert (
        done.returncode != 0
        and "ManifestError: where is emodb? Set AUDIO to its folder" in done.stderr.splitlines()[-1]
    )


def test_the_embedded_corpus_runs_from_top_to_bottom_and_says_that_it_is_synthetic(
    embedded_workspace,
):
    workspace, printed = embedded_workspace
    assert "32 known speakers, 6 emotions" in printed
    metrics = json.loads(
        only(workspace, "runs/baselines/*logistic-inductive*/metrics.json").read_text()
    )
    assert 0.55 <= metrics["uar"] <= 0.90 and metrics["n_speakers"] == 32
    assert "Synthetic" in (workspace / "index.html").read_text()
    executed = nbformat.read(only(workspace, "notebooks/*.ipynb"), as_version=4)
    assert all(cell.execution_count for cell in executed.cells if cell.cell_type == "code")


def test_notebook_02_on_the_embedded_corpus_and_on_real_languages(
    embedded_workspace, real_corpora, tmp_path
):
    """Two target domains: made, and spoken; the second run of the first loads everything."""
    for part in ("corpora", "features"):
        shutil.copytree(embedded_workspace[0] / part, tmp_path / part)
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


def test_a_wrong_setting_of_notebook_02_is_one_sentence(embedded_workspace, tmp_path):
    for part in ("corpora", "features"):
        shutil.copytree(embedded_workspace[0] / part, tmp_path / part)
    done = run(
        "02_maml_training.ipynb", tmp_path, "ITERATIONS=2", "TASKS=10", "SHOTS=25", "QUERIES=30"
    )
    assert (
        done.returncode != 0
        and "EpisodeError" in done.stderr.splitlines()[-1]
        and "fewer shots or queries" in done.stderr.splitlines()[-1]
    )


def test_notebook_03_on_the_embedded_corpus_and_between_real_corpora(
    embedded_workspace, real_corpora, tmp_path
):
    """Two transfers: made, and spoken; the second run of the first loads everything."""
    for part in ("corpora", "features"):
        shutil.copytree(embedded_workspace[0] / part, tmp_path / part)
    for _ in range(2):
        done = run("03_emofsl_finetuning.ipynb", tmp_path, "COMPARED=[1, 5]")
        assert done.returncode == 0, done.stdout + done.stderr
    assert "front end: logmel" in done.stdout and "trained before, loaded" in done.stdout
    assert done.stdout.count("nothing is computed again") >= 17
    metrics = json.loads(only(tmp_path, "runs/emofsl/*EMOFSL-head-5shot*/metrics.json").read_text())
    assert (
        metrics["chance"] == 0.25
        and metrics["uar"] > 0.4
        and metrics["speaker_independence"] == "independent"
        and metrics["n_draws"] == 10
    )
    assert "Synthetic" in (tmp_path / "index.html").read_text()
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
    shutil.copytree(embedded_workspace[0] / "corpora", tmp_path / "corpora")
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
    assert (
        "tiny: 0 MB on this machine" in done.stdout
        and "the encoder as the source left it" in done.stdout
    )
    assert (
        tmp_path / "encoders" / "synthetic-studio-synthetic-phone" / "model.safetensors"
    ).is_file()
    metrics = json.loads(
        only(tmp_path, "runs/emofsl/*ssl-1tuned-EMOFSL-head-1shot*/metrics.json").read_text()
    )
    assert "the encoder's last layers learn, too: 1" in metrics["notes"]
    done = run("03_emofsl_finetuning.ipynb", tmp_path, *few, "FEATURE_SETTINGS={'layer': 'all'}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(list(tmp_path.glob("runs/emofsl/*ssl-EMOFSL-head-1shot*/metrics.json"))) == 1


def test_a_wrong_setting_of_notebook_03_is_one_sentence(embedded_workspace, tmp_path):
    for part in ("corpora", "features"):
        shutil.copytree(embedded_workspace[0] / part, tmp_path / part)
    done = run("03_emofsl_finetuning.ipynb", tmp_path, "SETTINGS={'beta': 1.9}")
    assert done.returncode != 0 and "SettingError: alpha = " in done.stderr.splitlines()[-1]
    done = run("03_emofsl_finetuning.ipynb", tmp_path, "SETTINGS={'alhpa': 1.9}")
    assert (
        done.returncode != 0
        and "EmofslConfig has no setting 'alhpa': did you mean 'alpha'?"
        in done.stderr.splitlines()[-1]
    )
    done = run("03_emofsl_finetuning.ipynb", tmp_path, "TUNE_LAYERS=2")
    assert (
        done.returncode != 0 and "logmel has no transformer layers" in done.stderr.splitlines()[-1]
    )
    done = run("03_emofsl_finetuning.ipynb", tmp_path, "TARGET=synthetic-studio")
    assert done.returncode != 0 and "choose two different corpora" in done.stderr.splitlines()[-1]


def test_notebook_04_on_the_embedded_corpus_and_on_real_corpora(
    embedded_workspace, real_corpora, tmp_path
):
    """Two left-out corpora: made, and spoken (vectors, then frames with speakers told apart first);
    a second run loads everything.
    """
    for part in ("corpora", "features"):
        shutil.copytree(embedded_workspace[0] / part, tmp_path / part)
    for _ in range(2):
        done = run(
            "04_da_mldg.ipynb",
            tmp_path,
            "SETTINGS={'steps': 100}",
            "TASKS=['synthetic-room', 'scenario 7']",
        )
        assert done.returncode == 0, done.stdout + done.stderr
    assert "front end: acoustic" in done.stdout and "trained before, loaded" in done.stdout
    assert done.stdout.count("nothing is computed again") >= 10
    for task in ("synthetic-phone+synthetic-street+synthetic-studio-synthetic-room", "scenario-7"):
        metrics = json.loads(
            only(tmp_path, f"runs/da_mldg/{task}-acoustic-da-mldg-*/metrics.json").read_text()
        )
        assert (
            metrics["uar"] > metrics["chance"] and metrics["speaker_independence"] == "independent"
        )
    assert "Synthetic" in (tmp_path / "index.html").read_text()
    small = (
        "{'network': 'resnet18', 'start': 'speakers', 'steps': 2, 'width': 8, 'per_domain': 4,"
        " 'validate_every': 2, 'n_boot': 50}"
    )
    done = run(
        "04_da_mldg.ipynb",
        tmp_path,
        "CORPORA=['emodb', 'emovo', 'savee']",
        "TASKS=['savee']",
        f"AUDIO={real_corpora}",
        f"SETTINGS={small}",
        "ALGORITHMS=['erm', 'da-mldg']",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    metrics = json.loads(
        only(tmp_path, "runs/da_mldg/emodb+emovo-savee-da-mldg-da-mldg*/metrics.json").read_text()
    )
    assert metrics["n_utterances"] == 300 and any(
        "speakers of emodb, emovo" in note for note in metrics["notes"]
    )


def test_a_wrong_setting_of_notebook_04_is_one_sentence(embedded_workspace, tmp_path):
    for part in ("corpora", "features"):
        shutil.copytree(embedded_workspace[0] / part, tmp_path / part)
    done = run("04_da_mldg.ipynb", tmp_path, "TASKS=['emodb']")
    assert (
        done.returncode != 0
        and "ProtocolError: no corpus 'emodb' is here" in done.stderr.splitlines()[-1]
    )
    done = run("04_da_mldg.ipynb", tmp_path, "SETTINGS={'norm': 'batch'}")
    assert (
        done.returncode != 0
        and "SettingError: norm = 'batch' with the mlp" in done.stderr.splitlines()[-1]
    )


def test_notebook_05_on_the_embedded_corpus_and_on_emodb(
    embedded_workspace, real_corpora, tmp_path
):
    """Made, and spoken; the second run loads all but one's own network; the kept one labels audio.
    """
    shutil.copytree(embedded_workspace[0] / "corpora", tmp_path / "corpora")
    for _ in range(2):
        done = run("05_alexnet_spectrogram.ipynb", tmp_path, "NUM_EPOCHS=2")
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
    done = run(
        "05_alexnet_spectrogram.ipynb",
        tmp_path,
        "CORPUS=emodb",
        f"AUDIO={real_corpora / 'emodb'}",
        "TEST_ID=03",
        "VAL_ID=08",
        "NUM_EPOCHS=1",
        "FEATURES=logmeldeltaspec",
        "MIXUP=True",
        "OVERSAMPLING=True",
        "EXPORT=True",
        "SETTINGS={'n_boot': 50}",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    with np.load(only(tmp_path, "exports/emodb-2-folds-logmeldeltaspec.npz")) as content:
        assert {name.rpartition("/")[0] for name in content.files} >= {"03", "08"}
    metrics = json.loads(
        only(
            tmp_path, "runs/alexnet/emodb-2-folds-alexnet-alexnet-gap-clean-*/metrics.json"
        ).read_text()
    )
    assert metrics["n"] == 49 and metrics["n_speakers"] == 1


def test_a_wrong_setting_of_notebook_05_is_one_sentence(embedded_workspace, tmp_path):
    shutil.copytree(embedded_workspace[0] / "corpora", tmp_path / "corpora")
    done = run("05_alexnet_spectrogram.ipynb", tmp_path, "TEST_ID=nobody", "VAL_ID=f1")
    assert (
        done.returncode != 0
        and "FoldError: test_id = 'nobody': no such speaker" in done.stderr.splitlines()[-1]
    )
    done = run("05_alexnet_spectrogram.ipynb", tmp_path, "PRETRAINED=weights.npz")
    assert (
        done.returncode != 0
        and "SettingError: pretrained = 'weights.npz'" in done.stderr.splitlines()[-1]
    )


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
    for part in ("corpora", "features"):
        shutil.copytree(embedded_workspace[0] / part, tmp_path / "new" / part)
    done = run("06_compare_methods.ipynb", tmp_path / "new")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no runs in" in done.stdout and "  4 runs: synthetic, 6 emotions" in done.stdout
    done = run("06_compare_methods.ipynb", tmp_path / "new", "WORDS=nothing")
    assert done.returncode != 0 and "no run's name holds 'nothing'" in done.stderr.splitlines()[-1]
