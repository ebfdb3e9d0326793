"""The embedded corpus: reproducible, made whole, replaced, moved."""

import pathlib
import re
import shutil

import numpy as np
import pandas as pd
import pytest
from repo import REPO

from colab_utils.corpora.audio import read_audio, samples_sha256
from colab_utils.corpora.synthetic import (
    EMOTIONS,
    MOVES,
    PARAMETERS,
    make_synthetic_corpus,
    speech,
)
from colab_utils.corpora.synthetic import corpus as making

SMALL = {"n_speakers": 2, "n_repetitions": 1}
WHOLE_PLAN = making.plan


def few(*arguments):
    """A fifth of the plan, of all domains and speakers."""
    return WHOLE_PLAN(*arguments)[::5]


@pytest.fixture(autouse=True)
def few_clips(monkeypatch):
    monkeypatch.setattr(making, "plan", few)


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> pd.DataFrame:
    """A corpus of 10 clips, made by one process; tests that change it copy its folder first."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(making, "plan", few)
        return make_synthetic_corpus(tmp_path_factory.mktemp("small"), n_jobs=1, **SMALL)


def copied(small: pd.DataFrame, to: pathlib.Path) -> pathlib.Path:
    return shutil.copytree(pathlib.Path(small["file"][0]).parent.parent, to / "copy")


@pytest.mark.slow
def test_same_seed_same_samples_whatever_the_processes_and_the_order(small, tmp_path):
    two = make_synthetic_corpus(tmp_path / "two", n_jobs=2, **SMALL)
    pd.testing.assert_frame_equal(two.drop(columns="file"), small.drop(columns="file"))
    jobs = few(0, SMALL["n_speakers"], SMALL["n_repetitions"])
    backwards = [making.make_utterance(tmp_path / "backwards", job) for job in reversed(jobs)]
    hashes = [row["audio_sha256"] for row in reversed(backwards)]
    assert hashes == small["audio_sha256"].tolist()
    assert small["audio_sha256"].is_unique


def test_a_speaker_is_the_same_in_a_larger_corpus():
    def voice_of(job):
        return making.draw_voice(
            job["name"],
            np.random.default_rng([job["seed"], job["domain"], job["speaker"], making._VOICE]),
        )

    small, large = (
        [job for job in WHOLE_PLAN(0, n, 2) if job["domain"] == 2 and job["speaker"] == 1]
        for n in (2, 8)
    )
    assert small == large and len(small) >= 10
    assert voice_of(small[0]) == voice_of(small[-1]) != voice_of(WHOLE_PLAN(1, 2, 2)[-1])


def test_a_moved_corpus_is_found_and_lost_files_are_made_again(small, tmp_path, capsys):
    folder = copied(small, tmp_path)
    moved = make_synthetic_corpus(folder, n_jobs=1, **SMALL)
    assert moved.drop(columns="file").equals(small.drop(columns="file")) and all(
        file.startswith(str(folder)) for file in moved["file"]
    )
    pathlib.Path(moved["file"][3]).unlink()
    pd.testing.assert_frame_equal(make_synthetic_corpus(folder, n_jobs=1, **SMALL), moved)
    assert (
        pathlib.Path(moved["file"][3]).is_file()
        and "1 of 10 files are gone" in capsys.readouterr().out
    )


def test_an_interrupted_corpus_is_made_whole(small, tmp_path):
    folder = copied(small, tmp_path)
    (folder / "complete.json").unlink()
    (folder / "studio" / "f1-anger-01.flac").write_bytes(b"torn")
    again = make_synthetic_corpus(folder, n_jobs=1, **SMALL)
    assert (
        again["audio_sha256"].equals(small["audio_sha256"])
        and samples_sha256(*read_audio(again["file"][0])) == small["audio_sha256"][0]
    )


def test_other_arguments_replace_the_corpus_and_nothing_else(small, tmp_path):
    folder = copied(small, tmp_path)
    (folder / "studio" / "notes.flac").write_bytes(b"mine")
    (folder / "studio" / "f9-anger-01.flac").write_bytes(b"left by a larger corpus")
    other = make_synthetic_corpus(folder, seed=1, n_jobs=1, **SMALL)
    assert not set(other["audio_sha256"]) & set(small["audio_sha256"])
    assert {str(file) for file in folder.rglob("*.flac")} - set(other["file"]) == {
        str(folder / "studio" / "notes.flac")
    }


@pytest.mark.parametrize(
    "wrong", [{"n_speakers": 1}, {"n_repetitions": 0}, {"seed": -1}, {"n_jobs": 0}]
)
def test_arguments_that_cannot_work(tmp_path, wrong):
    name, value = next(iter(wrong.items()))
    with pytest.raises(ValueError, match=f"{name}={value}"):
        make_synthetic_corpus(tmp_path, **wrong)
    assert not list(tmp_path.iterdir())


def test_resonances_are_those_of_the_poles():
    """Against the transfer function itself: complex pole pairs at F and bandwidth B, on the
    frequency axis, 1 at 0 Hz.
    """
    formants, scale = [300.0, 1200.0, 2500.0, 3500.0, 4500.0], 1.1
    s = 2j * np.pi * np.arange(257) * 16000 / 512
    poles = [
        -np.pi * width * scale + 2j * np.pi * centre
        for centre, width in zip(formants, speech._BANDWIDTHS, strict=True)
    ]
    expected = np.prod(
        [
            np.abs(pole * pole.conjugate() / ((s - pole) * (s - pole.conjugate()))) ** 2
            for pole in poles
        ],
        axis=0,
    )
    found = speech._resonances(np.array([formants[:3]]), np.array(formants[3:]), scale)
    np.testing.assert_allclose(found[0], expected, rtol=1e-9)


def test_page_shows_the_table_of_the_code():
    page = (REPO / "docs" / "embedded_corpus.md").read_text(encoding="utf-8")
    rows = {
        match[1]: [float(cell) for cell in match[2].split("|")]
        for match in re.finditer(r"^\| `(\w+)` \|([-+.\d| ]+)\|", page, re.M)
    }
    assert rows == {
        name: (
            [MOVES[emotion][name] for emotion in EMOTIONS if emotion != "neutral"]
            + [parameter.spread]
        )
        for name, parameter in PARAMETERS.items()
    }
