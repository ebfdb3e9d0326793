"""Two and three processes that fetch or make one corpus, and one that is killed while it does."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from at_once import at_once, killed
from fetching import a_zip, fetch, left

from colab_utils import files
from colab_utils.corpora.audio import read_audio, samples_sha256
from colab_utils.corpora.synthetic import corpus as making

FETCH = "from colab_utils.corpora import download; download.fetch_corpus('emodb', to, base_url=url)"
MAKE = """
from colab_utils.corpora.synthetic import corpus
whole = corpus.plan
corpus.plan = lambda *arguments: whole(*arguments)[::5]
table = corpus.make_synthetic_corpus(to / "synthetic", n_speakers=2, n_repetitions=1, n_jobs=1)
print("sounds", " ".join(table["audio_sha256"]))
"""
SIZES = np.random.default_rng(0).integers(1, 3000, 400).tolist()
CORPUS = {f"wav/{number:04d}.wav": bytes([number % 256]) * n for number, n in enumerate(SIZES)}
EXPECTED = {f"emodb/{name}" for name in CORPUS} | {
    "emodb/.staged.json",
    "emodb.zip",
    "emodb.source.json",
}


def check_fetched(to, body):
    assert set(left(to)) == EXPECTED
    for name, data in CORPUS.items():
        assert (to / "emodb" / name).read_bytes() == data
    assert (to / "emodb.zip").read_bytes() == body
    note = json.loads((to / "emodb.source.json").read_text())
    assert note["sha256"] == files.file_sha256(to / "emodb.zip")


def fetched_at_once(server, tmp_path, tries, processes):
    server.body = a_zip(CORPUS)
    for number in (number for number in processes for _ in range(tries)):
        server.asked.clear()
        at_once(FETCH, number, tmp_path / "logs", to=tmp_path / "to", url=server.url)
        check_fetched(tmp_path / "to", server.body)
        assert len(server.asked) == 1
        shutil.rmtree(tmp_path / "to")


@pytest.mark.slow
def test_two_that_fetch_one_corpus_fetch_it_once(server, tmp_path):
    fetched_at_once(server, tmp_path, tries=1, processes=(2,))


@pytest.mark.long
def test_two_and_three_that_fetch_one_corpus_20_times(server, tmp_path):
    fetched_at_once(server, tmp_path, tries=20, processes=(2, 3))


@pytest.mark.long
def test_a_fetch_killed_20_times_ends_whole_and_keeps_its_note(server, tmp_path):
    server.body, server.pause = a_zip(CORPUS), 0.005
    rng, to, moments = np.random.default_rng(0), tmp_path / "to", set()
    for _ in range(20):
        killed(FETCH, rng.uniform(0, 0.5), tmp_path / "logs", to=to, url=server.url)
        moments.add(tuple(sorted(name.split("/")[-1] for name in left(to) if "wav" not in name)))
        fetch(server, to)
        files.sweep(to, seconds=0)
        check_fetched(to, server.body)
        shutil.rmtree(to)
    assert len(moments) > 2, "the kills came too early or too late to show anything"


def made_at_once(tmp_path, tries, processes):
    for number in (number for number in processes for _ in range(tries)):
        told = at_once(MAKE, number, tmp_path / "logs", to=tmp_path / "to")
        sounds = {text[text.index("sounds") :] for text in told}
        assert len(sounds) == 1
        table = pd.read_csv(tmp_path / "to" / "synthetic" / "manifest.csv")
        for row in table.itertuples():
            file = tmp_path / "to" / "synthetic" / f"{row.path}.flac"
            assert samples_sha256(*read_audio(file)) == row.audio_sha256
        assert len(left(tmp_path / "to")) == len(table) + 2
        shutil.rmtree(tmp_path / "to")


@pytest.mark.slow
def test_two_that_make_the_embedded_corpus_make_it_once(tmp_path):
    made_at_once(tmp_path, tries=1, processes=(2,))


@pytest.mark.long
def test_two_and_three_that_make_the_embedded_corpus_20_times(tmp_path):
    made_at_once(tmp_path, tries=20, processes=(2, 3))


def test_a_complete_embedded_corpus_is_read_where_nothing_can_be_written(tmp_path, monkeypatch):
    small = {"n_speakers": 2, "n_repetitions": 1, "n_jobs": 1}
    plan = making.plan(0, 2, 1)[::20]
    monkeypatch.setattr(making, "plan", lambda *arguments: plan)
    made = making.make_synthetic_corpus(tmp_path, **small)

    def read_only(path, doing):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(files, "alone", read_only)
    assert making.make_synthetic_corpus(tmp_path, **small).equals(made)
