"""What a person types after `make run` arrives in the notebook letter by letter."""

import json
import os
import shlex
import shutil
import subprocess
import sys

import papermill
import pytest
import run_notebook
from repo import REPO

README = [
    line.strip()
    for line in (REPO / "README.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("make run ")
]
# stands in the place of the virtual environment's Python: what it was called with, to a file
PYTHON = """#!/bin/sh
exec {python} -c "import json, sys; json.dump(sys.argv[1:], open('called.json', 'w'))" "$@"
"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A folder with the Makefile, whose set-up is done, and with the notebooks."""
    folder = tmp_path_factory.mktemp("a checkout's place")
    for name in ("setup.py", "constraints-colab.txt", "Makefile"):
        shutil.copy(REPO / name, folder)
    (folder / "notebooks").symlink_to(REPO / "notebooks")
    python = folder / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(PYTHON.format(python=shlex.quote(sys.executable)))
    python.chmod(0o755)
    (folder / ".venv/.ready").touch()
    return folder


@pytest.fixture
def typed(checkout, monkeypatch, tmp_path):
    """What the notebook is run with when a line is typed into a shell: notebook, parameters."""

    def run(line, **environment):
        (checkout / "called.json").unlink(missing_ok=True)
        done = subprocess.run(
            ["bash", "-c", line],
            cwd=checkout,
            env={**os.environ, "HOME": str(tmp_path), **environment},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        script, *arguments = json.loads((checkout / "called.json").read_text())
        assert script == "tools/run_notebook.py"
        return started(arguments)

    def started(arguments):
        calls = []
        monkeypatch.chdir(checkout)
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("SER_WORKSPACE", str(tmp_path / "out"))
        monkeypatch.setattr(sys, "argv", ["run_notebook.py", *arguments])
        monkeypatch.setattr(run_notebook.report, "build_page", str)
        monkeypatch.setattr(papermill, "execute_notebook", lambda *call, **_: calls.append(call))
        run_notebook.main()
        ((notebook, _, parameters),) = calls
        return os.path.basename(notebook), parameters

    return run


def test_the_readme_names_every_notebook():
    named = {word.partition("=")[2] for line in README for word in shlex.split(line, comments=True)}
    for notebook in (REPO / "notebooks").glob("*.ipynb"):
        assert notebook.stem in named or notebook.stem == "01_feature_extraction"


@pytest.mark.parametrize("line", README)
def test_a_command_of_the_readme_works_as_it_is_printed(typed, checkout, line):
    notebook, parameters = typed(line)
    given = dict(word.split("=", 1) for word in shlex.split(line, comments=True)[2:])
    settings = given.pop("SETTINGS", "")
    assert notebook == f"{given.pop('NOTEBOOK', '01_feature_extraction')}.ipynb"
    for name, text in given.items():
        assert parameters.pop(name) == (str(checkout / text) if name == "AUDIO" else text)
    # no value in the README holds a blank
    told = {name: str(value).replace(" ", "") for name, value in parameters.items()}
    assert told == dict(word.split("=", 1) for word in settings.split())


def test_lists_of_the_readme_are_lists(typed):
    (line,) = (line for line in README if "04_da_mldg" in line)
    assert typed(line)[1]["CORPORA"] == ["emodb", "emovo", "savee"]


FOLDERS = [
    "/data/my corpora",
    "/data/o'brien",
    '/data/the "old" one',
    "/data/$HOME and $(pwd) `pwd` %d",
    "/data/emodb (copy) [2]/a&b;c|d",
    "/data/感情 é",
    "/data/#1, 50 % FEATURES=none",
    "/data/back\\slash",
    "-rf",
    "(old) recordings",
    "[old] recordings",
    "2024",
    "True",
]


@pytest.mark.parametrize("folder", FOLDERS)
def test_any_folder_arrives(typed, checkout, folder):
    audio = os.path.join(checkout, folder)
    assert typed(f"make run AUDIO={shlex.quote(folder)}")[1] == {"AUDIO": audio}
    assert typed("make run", AUDIO=folder)[1] == {"AUDIO": audio}


@pytest.mark.parametrize("folder", ["~", "~/my corpora", "'~/my corpora'"])
def test_a_tilde_is_the_home_folder(typed, tmp_path, folder):
    line = f'make run NOTEBOOK=05_alexnet_spectrogram AUDIO="{folder}"'
    line += f' SETTINGS="FEATURES_FILE={folder} TEST_ID=~x"'
    parameters = typed(line)[1]
    assert parameters["TEST_ID"] == "~x"
    home = str(tmp_path) + folder.strip("'")[1:]
    assert parameters["AUDIO"] == parameters["FEATURES_FILE"] == home


SETTINGS = {
    "CORPORA=['emodb', 'emovo']   FEATURES=acoustic": {
        "CORPORA": ["emodb", "emovo"],
        "FEATURES": "acoustic",
    },
    "TASKS=['scenario 1', \"it's A=1\"] SEEDS=2": {"TASKS": ["scenario 1", "it's A=1"], "SEEDS": 2},
    'MERGE={"a b": None, "c": ["x=1", {"SEED=": 2}]} SEED=3': {
        "MERGE": {"a b": None, "c": ["x=1", {"SEED=": 2}]},
        "SEED": 3,
    },
    "AUDIO=/o'brien/my folder (2) FEATURES=logmel": {
        "AUDIO": "/o'brien/my folder (2)",
        "FEATURES": "logmel",
    },
    "AUDIO='/a SEED=1' SEED=2": {"AUDIO": "/a SEED=1", "SEED": 2},
    r'AUDIO="/C:\Users\new" SEED=2': {"AUDIO": r"/C:\Users\new", "SEED": 2},
    "EMOTIONS=['愤怒','$x'] FEATURES=": {"EMOTIONS": ["愤怒", "$x"], "FEATURES": ""},
    "EMOTIONS=anger, sadness\nSEED=1": {"EMOTIONS": "anger, sadness", "SEED": 1},
    "MERGE= SETTINGS=None": {"MERGE": "", "SETTINGS": None},
    "": {},
}


@pytest.mark.parametrize("text", SETTINGS)
def test_any_settings_arrive(typed, text):
    line = f"make run NOTEBOOK=04_da_mldg SETTINGS={shlex.quote(text)}"
    assert typed(line)[1] == SETTINGS[text]


@pytest.mark.parametrize("speaker", ["11", "03", "1.5", "True"])
def test_a_speaker_called_by_a_number_is_a_text(typed, speaker):
    line = f'make run NOTEBOOK=05_alexnet_spectrogram SETTINGS="TEST_ID={speaker} VAL_ID=8 LR=0.1"'
    assert typed(line)[1] == {"TEST_ID": speaker, "VAL_ID": "8", "LR": 0.1}


WRONG = {
    "CORPORA=['emodb', 'emovo' FEATURES=acoustic": ["CORPORA=['emodb', 'emovo'", "brackets"],
    "CORPORA=[emodb,emovo]": ["CORPORA=[emodb,emovo]", "quotes"],
    "EMOTIONS=[anger": ["EMOTIONS=[anger", "brackets"],
    "SETTINGS={'norm': batch}": ["SETTINGS={'norm': batch}", "quotes"],
    "SETTINGS=norm": ["SETTINGS=norm", "{"],
    "MERGE=" + "[" * 500: ["MERGE=[", "brackets"],
    "FEATURE=acoustic": ["FEATURE", "FEATURES", "04_da_mldg"],
    "quickly SEED=1": ["quickly", "NAME=VALUE"],
}


@pytest.mark.parametrize("text", WRONG)
def test_what_cannot_be_read_is_one_sentence(typed, text):
    with pytest.raises(SystemExit) as stopped:
        typed(f"make run NOTEBOOK=04_da_mldg SETTINGS={shlex.quote(text)}")
    said = str(stopped.value)
    assert all(word in said for word in WRONG[text]) and "\n" not in said


def test_a_notebook_that_is_not_there_is_one_sentence(typed):
    with pytest.raises(SystemExit, match=r"07_mine.*06_compare_methods"):
        typed("make run NOTEBOOK=07_mine")
