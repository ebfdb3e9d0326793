"""Shared fixtures: small audio files, and the folder of real emotional speech where there is one."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import soundfile
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
def embedded_workspace(tmp_path_factory) -> tuple[pathlib.Path, str]:
    """The workspace after notebook 01 ran headless on the embedded corpus, once for all tests, and
    what it printed. Copy it, don't write to it.
    """
    workspace = tmp_path_factory.mktemp("embedded")
    command = [
        sys.executable,
        str(REPO / "tools" / "run_notebook.py"),
        str(REPO / "notebooks" / "01_feature_extraction.ipynb"),
    ]
    done = subprocess.run(
        command,
        cwd=REPO,
        env={**os.environ, "SER_WORKSPACE": str(workspace)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return workspace, done.stdout
