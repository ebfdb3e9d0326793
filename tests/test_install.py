"""The manifests come with the package, in a plain installation as in an editable one."""

import os
import pathlib
import shutil
import subprocess
import sys

import pytest
from repo import REPO

QUESTION = """
import pathlib, colab_utils
from colab_utils.corpora import cards
from colab_utils.protocols.published import protocol_names
print(pathlib.Path(colab_utils.__file__).parent.parent)
print(cards.data_folder())
print(len(cards.corpus_names()), len(protocol_names()))
print(len(cards.shipped_manifest("emodb")), len(cards.frozen_folds("ravdess")))
print((pathlib.Path(colab_utils.__file__).parent / "panel" / "recorder.js").is_file())
"""


def answers(folder: pathlib.Path, python_path: pathlib.Path) -> list[str]:
    environment = {**os.environ, "PYTHONPATH": str(python_path)}
    done = subprocess.run(
        [sys.executable, "-c", QUESTION],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_plain_installation_brings_cards_folds_and_protocols(tmp_path):
    target = tmp_path / "site"
    source = tmp_path / "source"
    source.mkdir()
    for name in ("setup.py", "README.md"):
        shutil.copy(REPO / name, source)
    for name in ("colab_utils", "data_manifests"):
        shutil.copytree(REPO / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--target",
        str(target),
        str(source),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    where, data, *counts = answers(tmp_path, target)
    assert where == str(target) and data == str(target / "colab_utils" / "data_manifests")
    assert counts == answers(REPO, REPO)[2:]


def test_the_checkout_uses_its_own_manifests():
    where, data, *_ = answers(REPO, REPO)
    assert where == str(REPO) and data == str(REPO / "data_manifests")


@pytest.mark.parametrize(
    "name",
    [
        "README.md",
        "LICENSE",
        "CITATION.cff",
        "requirements-colab.txt",
        "constraints-colab.txt",
        "Makefile",
        ".ci/run",
    ],
)
def test_the_top_level_is_there(name):
    assert (REPO / name).stat().st_size > 100
