"""A model that a study kept labels the clips of its corpus as its run did, from a shell."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from sounds import speech

from colab_utils import label as labelling
from colab_utils.corpora.own_data import from_folder
from colab_utils.csv_files import read_csv
from colab_utils.features.acoustic.prosody import Prosody
from colab_utils.features.store.extract import extract
from colab_utils.features.store.views import Pooled
from colab_utils.learning import kept
from colab_utils.methods.baselines.settings import BaselineConfig
from colab_utils.methods.baselines.study import BaselineStudy

EMOTIONS = ["anger", "sadness"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A kept logistic regression, its audio, and its run: anger is louder, and wavers."""
    folder = tmp_path_factory.mktemp("made")
    for number in range(24):
        emotion = EMOTIONS[number % 2]
        wave = speech(16000, seed=number) * (1.0 if number % 2 else 0.3)
        path = folder / "audio" / emotion / f"s{number // 8}_{number}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, wave, 16000)
    scan = from_folder(folder / "audio", speaker_pattern=r"(s\d)_")
    store = Pooled(extract(scan.manifest, Prosody(), folder / "features", progress=False))
    study = BaselineStudy(scan.manifest, store, EMOTIONS, folder, progress=False)
    config = BaselineConfig(folds="leave-one-speaker-out", normalisation="none")
    run = study.run(config, pictures=False)
    return folder / "audio", study.keep(run, "mine"), run


@pytest.mark.slow
def test_a_fresh_process_labels_as_the_run_did(made, tmp_path):
    audio, folder, run = made
    shutil.copytree(folder, tmp_path / "model")
    shutil.copytree(audio, tmp_path / "new")
    (tmp_path / "new" / "bad.wav").write_text("no audio")
    command = [sys.executable, "-m", "colab_utils.label", "model", "new", "--out", "labels.csv"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "skipped new/bad.wav: not readable as audio" in done.stdout
    table = read_csv(tmp_path / "labels.csv")
    table["utt_id"] = table["file"].str.replace("new/", "own/").str.removesuffix(".wav")
    tested = run.predictions[run.predictions["fold"] == run.predictions["fold"].min()]
    both = tested.merge(table, on="utt_id", suffixes=("", "_new"))
    assert len(both) == 8 and len(table) == 24
    for emotion in EMOTIONS:
        assert np.allclose(both[f"p_{emotion}"], both[f"p_{emotion}_new"], atol=1e-6)
    assert both["emotion"].tolist() == both["pred"].tolist()


def changed(name, change):
    def do(folder):
        values = json.loads((folder / name).read_text())
        change(values)
        (folder / name).write_text(json.dumps(values))

    return do


BROKEN = {
    "no folder": (shutil.rmtree, "holds no model.json"),
    "no weights": (lambda folder: (folder / kept.model.WEIGHTS).unlink(), "holds no model.saf"),
    "no description": (lambda folder: (folder / kept.model.ABOUT).unlink(), "holds no model.json"),
    "torn weights": (
        lambda folder: (folder / kept.model.WEIGHTS).write_bytes(
            (folder / kept.model.WEIGHTS).read_bytes()[:-9]
        ),
        "torn",
    ),
    "torn description": (
        lambda folder: (folder / kept.model.ABOUT).write_text('{"format": 1, "lab'),
        "cannot be read",
    ),
    "foreign": (lambda folder: (folder / kept.model.ABOUT).write_text("[]"), "something else"),
    "newer": (changed(kept.model.ABOUT, lambda values: values.update(format=99)), "newer version"),
    "newer front end": (
        changed(kept.model.ABOUT, lambda values: values["front_ends"][0].update(version=99)),
        "prosody version 99",
    ),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_model_is_one_sentence_and_2(made, tmp_path, capsys, fault):
    audio, folder, _ = made
    shutil.copytree(folder, tmp_path / "model")
    change, told = BROKEN[fault]
    change(tmp_path / "model")
    command = [str(tmp_path / "model"), str(audio), "--out", str(tmp_path / "labels.csv")]
    assert labelling.main(command) == 2
    said = capsys.readouterr()
    assert told in said.err and said.err.count("\n") == 1 and said.out == ""
    assert not (tmp_path / "labels.csv").exists()
