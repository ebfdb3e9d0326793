"""Shared fixtures: a small EmoDB, what is decoded, a server."""

import os
import threading

import pytest
import soundfile
from fetching import Server
from scanned import GOOD, noise

from colab_utils.corpora import web
from colab_utils.corpora.decode import audio


@pytest.fixture
def emodb(tmp_path):
    """A folder with three EmoDB utterances that differ."""
    folder = tmp_path / "emodb" / "wav"
    folder.mkdir(parents=True)
    for seed, stem in enumerate(GOOD):
        soundfile.write(folder / f"{stem}.wav", noise(seed), 16000)
    return folder.parent


@pytest.fixture
def decoded(monkeypatch):
    """The names of the files decoded, in any order."""
    names, original, lock = [], audio.decode, threading.Lock()

    def counting(file):
        with lock:
            names.append(os.path.basename(file))
        return original(file)

    monkeypatch.setattr(audio, "decode", counting)
    return names


@pytest.fixture
def server(monkeypatch):
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(web, "WAITS", (0.0, 0.0, 0.0))
    made = Server()
    yield made
    made.http.shutdown()
    made.http.server_close()
