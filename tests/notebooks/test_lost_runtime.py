"""Each notebook loses its runtime, disk and all, and a new one goes on from what Drive has."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

import psutil
import pytest
from notebook_runs import only
from repo import REPO
from small_studies import results

pytestmark = pytest.mark.long

# parameters that make a notebook short, but not so short that nothing can be lost
NOTEBOOKS = {
    "01_feature_extraction": ["PRESET=mlp", "SETTINGS={'epochs': 100}"],
    "02_maml_training": ["ITERATIONS=120", "TASKS=40", "SEEDS=2"],
    "03_emofsl_finetuning": ["DRAWS=4", "COMPARED=[1]", "SEEDS=2"],
    "04_da_mldg": ["SETTINGS={'steps': 120}", "SEEDS=2"],
    "05_alexnet_spectrogram": ["NUM_EPOCHS=2"],
}
# what Drive has when the runtime is lost
MOMENTS = {
    "in a training": "memory/trained/*/*.begun.zip",
    "after a part": "memory/runs/*/*.begun.zip",
    "after a run": "runs/*/*/DONE",
}
OFTEN = """
from colab_utils.drive import memory
memory.EVERY, memory.SHARE, memory.WORTH = 0.0, 0, 0.0
from colab_utils.learning import training
training.train.__kwdefaults__["save_seconds"] = 0.0
"""


@pytest.fixture(scope="module")
def profile(tmp_path_factory):
    """IPython's folder, in which every kernel first runs OFTEN: work is sent at every chance."""
    folder = tmp_path_factory.mktemp("ipython")
    startup = folder / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "00-often.py").write_text(OFTEN)
    return folder


class Runtime:
    """A notebook on a disk of its own, with a folder that stands for Drive."""

    def __init__(self, notebook, workspace, drive, profile):
        self.workspace = workspace
        drive.mkdir(exist_ok=True)
        environment = {
            **os.environ,
            "SER_WORKSPACE": str(workspace),
            "SER_DRIVE": str(drive),
            "IPYTHONDIR": str(profile),
        }
        tool, path = REPO / "tools" / "run_notebook.py", REPO / "notebooks" / f"{notebook}.ipynb"
        command = [sys.executable, tool, path, "USE_DRIVE=True", *NOTEBOOKS[notebook]]
        self.begin = time.monotonic()
        self.process = subprocess.Popen(
            command,
            cwd=REPO,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def lost(self, drive: pathlib.Path, there: str) -> bool:
        """Kill it, and take its disk, once Drive has what matches; False where it ended before."""
        while self.process.poll() is None:
            if any((drive / "ser_results").glob(there)):
                tool = psutil.Process(self.process.pid)  # the kernel has a session of its own
                for one in (*tool.children(recursive=True), tool):
                    one.kill()
                self.process.wait()
                shutil.rmtree(self.workspace)
                return True
            time.sleep(0.02)
        return False

    def ended(self) -> tuple[str, float]:
        """What it printed, and its seconds."""
        printed = self.process.communicate()[0]
        assert self.process.returncode == 0, printed[-3000:]
        return printed, time.monotonic() - self.begin


def found(workspace):
    """What the notebook left, but for runs with the user's own code: no two calls share them."""
    kept = {}
    for name, mark in results(workspace).items():
        config = json.loads((workspace / name).parent.joinpath("config.json").read_text())
        if "own" not in config:
            kept[name] = mark
    return kept


@pytest.fixture(scope="module")
def whole(tmp_path_factory, profile):
    """{notebook: results and seconds} without a loss, each made once."""
    made = {}

    def of(notebook):
        if notebook not in made:
            folder = tmp_path_factory.mktemp(notebook)
            seconds = Runtime(notebook, folder / "work", folder / "drive", profile).ended()[1]
            made[notebook] = found(folder / "work"), seconds
        return made[notebook]

    return of


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_a_new_runtime_goes_on_from_drive(notebook, moment, whole, tmp_path, profile, capsys):
    expected, seconds = whole(notebook)
    drive = tmp_path / "drive"
    first = Runtime(notebook, tmp_path / "first", drive, profile)
    assert first.lost(drive, MOMENTS[moment]), "the runtime is lost on its way"
    finished = {
        path.name.removesuffix(".zip")
        for path in drive.rglob("trained/*/*.zip")
        if not path.name.endswith((".begun.zip", ".tmp.zip"))
    }
    stores = {path.stem for path in drive.rglob("features/*.zip")}
    printed, again = Runtime(notebook, tmp_path / "second", drive, profile).ended()
    made = found(tmp_path / "second")
    lacking = sorted(set(expected) - set(made))
    assert all(name.startswith("trained/") for name in lacking), "only trainings nobody needs"
    assert {name: expected[name] for name in made} == made
    text = only(tmp_path / "second", "notebooks/*.ipynb").read_text()
    assert "On Drive, in" in text
    needed = {path.parent.name for path in (tmp_path / "second").glob("trained/*/*/DONE")}
    for name in stores | (finished & needed):
        assert f"{name}: taken from Drive" in text, "nothing is computed again"
    taken = text.count("taken from Drive")
    line = f"{seconds:.0f} s undisturbed, {again:.0f} s again, {taken} taken from Drive"
    with capsys.disabled():
        print(f"\n{notebook}, lost {moment}: {line}")
