"""Notebook 02's way to its data: published arrangements, and two tables of one's own."""

import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import soundfile
from repo import REPO
from toy_store import Features

from colab_utils.corpora import ManifestError
from colab_utils.methods.maml import MamlConfig, open_study, opening
from colab_utils.protocols.folds import LeakError
from colab_utils.protocols.published import ProtocolError

COLUMNS = {"wav": "clip", "emotion": "label", "speaker": "who"}
HERTZ = {"anger": 400.0, "fear": 900.0, "sadness": 200.0}
CONFIG = MamlConfig(ways=3, shots=1, queries=2, iterations=2, valid_tasks=8, meta_batch=2)


def write_table(folder, name, speakers, each=4):
    """A CSV and its audio: short hums, whose pitch tells the emotion."""
    rng, rows = np.random.default_rng(len(name)), []
    for who in speakers:
        for label, hertz in HERTZ.items():
            for i in range(each):
                pitch = hertz * (1 + 0.05 * rng.normal())
                wave = np.sin(2 * np.pi * pitch * np.arange(4800) / 16000)
                path = folder / f"{who}-{label}-{i}.wav"
                soundfile.write(path, wave * rng.uniform(0.1, 0.5), 16000, subtype="PCM_16")
                rows.append({"clip": path.name, "label": label, "who": who})
    table = folder / name
    pd.DataFrame(rows).to_csv(table, index=False)
    return table


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """A training table of six speakers and a test table of three others."""
    folder = tmp_path_factory.mktemp("own")
    train = write_table(folder, "train.csv", [f"a{i}" for i in range(6)])
    return train, write_table(folder, "test.csv", [f"b{i}" for i in range(3)])


def changed(table, name, **columns):
    """A copy of a table beside it, with other columns."""
    path = table.with_name(name)
    pd.read_csv(table).assign(**columns).to_csv(path, index=False)
    return path


@pytest.fixture
def opened(tmp_path, monkeypatch):
    """`open_study` on two tables, with toy features in the place of real ones."""

    def toy_features(rows, features, root, drive_folder=None):
        return Features(rows, list(HERTZ))

    monkeypatch.setattr(opening, "open_store", toy_features)

    def open_tables(train, test, columns=COLUMNS, **more):
        given = {"train_csv": str(train), "test_csv": str(test), "csv_columns": columns}
        study = open_study("synthetic_domains", root=tmp_path, **given, **more)
        study.progress = False
        return study

    return open_tables


def test_the_first_table_trains_and_the_second_is_tested(tables, opened):
    study = opened(*tables)
    speakers = study.split.groupby("role")["speaker"].agg(set)
    assert speakers["test"] == {f"own/b{i}" for i in range(3)}
    assert speakers["train"] | speakers["valid"] == {f"own/a{i}" for i in range(6)}
    assert len(speakers["valid"]) == 2 and not speakers["train"] & speakers["valid"]
    assert study.labels == sorted(HERTZ) and study.name == "train-test"
    episodes = study.episodes(CONFIG, n_tasks=4)
    run = study.compare(CONFIG, episodes, {"MAML": CONFIG}, [])["MAML"]
    assert run.metrics["speaker_independence"] == "independent" and run.metrics["n"] == 4 * 6
    assert "support and query share no speaker" in " ".join(run.metrics["notes"])
    assert run.config["protocol"] == "own tables"


def test_other_seeds_hold_out_other_speakers(tables, opened):
    held = []
    for seed in range(5):
        split = opened(*tables, seed=seed).split
        held.append(frozenset(split.loc[split["role"] == "valid", "speaker"]))
    assert len(set(held)) > 1


def test_without_speakers_it_runs_and_says_that_nobody_knows(tables, opened, capsys):
    study = opened(*tables, columns={"wav": "clip", "emotion": "label"})
    assert "speaker of 108 of 108 utterances is unknown" in capsys.readouterr().out
    run = study.compare(CONFIG, study.episodes(CONFIG, n_tasks=4), {}, ["chance"])
    metrics = run["chance"].metrics
    assert metrics["speaker_independence"] == "unknown"
    assert "support and query share no utterance" in " ".join(metrics["notes"])
    assert study.trained(study._tested("m", "maml", CONFIG, study.episodes(CONFIG)), "test")[0]


def test_speakers_on_both_sides_are_refused_before_features_are_made(tables, opened, monkeypatch):
    train, test = tables
    leaking = changed(test, "leaking.csv", who="a3")
    monkeypatch.setattr(opening, "open_store", None)
    with pytest.raises(LeakError, match="own/a3"):
        opened(train, leaking)


def test_what_is_missing_is_named(tables, opened):
    train, test = tables
    for given, words in (
        (("", test), "TRAIN_CSV is missing"),
        ((train, ""), "TEST_CSV is missing"),
        ((train, "nowhere.csv"), "TEST_CSV = nowhere.csv: no such file"),
        ((train, test, {}), "CSV_COLUMNS lacks wav and emotion"),
        ((train, test, {"wav": "clip"}), "CSV_COLUMNS lacks emotion"),
        ((train, test, {**COLUMNS, "speaker": "name"}), "'name' .*found: clip, label, who"),
        ((train, test, {**COLUMNS, "colour": "who"}), "'colour' is not a column"),
    ):
        with pytest.raises(ManifestError, match=words):
            opened(*given)


def test_an_unknown_task_is_one_sentence(tmp_path):
    with pytest.raises(ProtocolError, match="synthetic_domains has no task 'moon'; it has "):
        open_study("synthetic_domains", "moon", root=tmp_path)


@pytest.mark.slow
def test_notebook_02_on_two_tables(tables, tmp_path):
    train, test = tables
    parameters = {
        "TRAIN_CSV": train,
        "TEST_CSV": test,
        "CSV_COLUMNS": COLUMNS,
        "FEATURES": "logmel",
        "WAYS": 3,
        "SHOTS": 1,
        "QUERIES": 2,
        "TASKS": 4,
        "ITERATIONS": 2,
        "SETTINGS": {"valid_tasks": 8, "meta_batch": 2},
    }
    done = subprocess.run(
        [
            sys.executable,
            str(REPO / "tools" / "run_notebook.py"),
            str(REPO / "notebooks" / "02_maml_training.ipynb"),
            *(f"{name}={value}" for name, value in parameters.items()),
        ],
        cwd=REPO,
        env={**os.environ, "SER_WORKSPACE": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "own: 108 utterances, 9 known speakers, 3 emotions" in done.stdout
    runs = list(tmp_path.glob("runs/maml/train-test-*MAML-fixed*/metrics.json"))
    metrics = json.loads(runs[0].read_text())
    assert metrics["n"] == 24 and metrics["n_speakers"] == 3
    assert metrics["speaker_independence"] == "independent"
