"""Shared fixtures: small audio files, real speech where there is some, the embedded corpus."""

import os
import pathlib

import numpy as np
import pytest
import soundfile
from filelock import FileLock
from notebook_runs import run
from repo import REPO


@pytest.fixture(scope="session")
def real_corpora() -> pathlib.Path:
    """The folder with real corpora (`SER_CORPORA`, default ../shared/corpora); tests that need it
    are skipped without it.
    """
    folder = pathlib.Path(os.environ.get("SER_CORPORA", REPO.parent / "shared" / "corpora"))
    if not (folder / "emodb").is_dir():
        pytest.skip(
            f"no real corpora at {folder}: set SER_CORPORA to a folder that holds emodb/, ravdess/,"
            " emovo/, savee/"
        )
    return folder


@pytest.fixture
def tone():
    """A function that writes a sine wave as 16-bit WAV and returns its path."""

    def write(path, seconds=1.0, rate=16000, hz=220.0, channels=1):
        path = pathlib.Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        wave = 0.3 * np.sin(2 * np.pi * hz * np.arange(int(seconds * rate)) / rate)
        soundfile.write(
            path, np.repeat(wave[:, None], channels, axis=1), rate, subtype="PCM_16", format="WAV"
        )
        return path

    return write


@pytest.fixture(scope="session")
def embedded_workspace(tmp_path_factory, worker_id) -> tuple[pathlib.Path, str]:
    """The workspace after notebook 01 ran headless on the embedded corpus, and what it printed.

    Made once for all workers of a test session. Copy it, don't write to it.
    """
    shared = tmp_path_factory.getbasetemp()
    if worker_id != "master":
        shared = shared.parent
    workspace, printed = shared / "embedded", shared / "embedded.txt"
    with FileLock(shared / "embedded.lock"):
        if not printed.exists():
            done = run("01_feature_extraction.ipynb", workspace)
            assert done.returncode == 0, done.stdout + done.stderr
            printed.write_text(done.stdout)
    return workspace, printed.read_text()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """What needs the embedded workspace is slow, whatever it does itself."""
    for item in items:
        if "embedded_workspace" in item.fixturenames:
            item.add_marker(pytest.mark.slow)
