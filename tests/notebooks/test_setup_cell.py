"""The first cell of all notebooks finds the package: checkout, installed, Drive, pip, or not."""

import json
import os
import pathlib
import re
import subprocess
import sys

import pytest
import setup_cell
from repo import REPO

import colab_utils
from colab_utils import session

MODULES = {
    "higher": "higher",
    "pytorch-metric-learning": "pytorch_metric_learning",
    "faiss-gpu": "faiss",
    "faiss-cpu": "faiss",
    "pyworld-prebuilt": "pyworld",
    "papermill": "papermill",
}
PIP = f"""
import json, os, pathlib, sys
site, log = pathlib.Path(__file__).parent.parent, pathlib.Path(os.environ["PIP_LOG"])
arguments = sys.argv[1:]
with log.open("a") as lines:
    lines.write(json.dumps(arguments) + "\\n")
if os.environ.get("PIP_FAILS"):
    sys.exit("ERROR: no network")
for package in arguments[2:]:
    name = "colab_utils" if package.startswith("git+") else {MODULES!r}[package.split("==")[0]]
    (site / name).mkdir(exist_ok=True)
    (site / name / "__init__.py").touch()
    if name == "colab_utils":
        text = "def print_versions(): print('colab_utils from pip')"
        (site / name / "session.py").write_text(text)
"""


def package_in(folder: pathlib.Path, says: str) -> pathlib.Path:
    """A stand-in for colab_utils below `folder` whose print_versions says where it comes from."""
    (folder / "colab_utils").mkdir(parents=True)
    (folder / "colab_utils" / "__init__.py").touch()
    (folder / "colab_utils" / "session.py").write_text(
        f"def print_versions(): print('colab_utils from {says}')"
    )
    return folder


class Machine:
    """A Python that has nothing installed but what `has` names, an empty current folder, and a pip
    that only writes down what it is asked.
    """

    def __init__(
        self, tmp_path: pathlib.Path, has=(), colab: bool = False, pip_fails: bool = False
    ):
        self.site, self.cwd, self.mydrive = (
            tmp_path / "site",
            tmp_path / "cwd",
            tmp_path / "MyDrive",
        )
        self.log = tmp_path / "pip.log"
        for name in ("pip", *has):
            (self.site / name).mkdir(parents=True)
            (self.site / name / "__init__.py").touch()
        (self.site / "pip" / "__main__.py").write_text(PIP)
        self.cwd.mkdir()
        self.environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(self.site),
            "PIP_LOG": str(self.log),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        self.environment |= {"COLAB_RELEASE_TAG": "x"} if colab else {}
        self.environment |= {"PIP_FAILS": "1"} if pip_fails else {}

    def run(self, repository="OWNER/NAME", times=1) -> subprocess.CompletedProcess:
        """Execute the cell `times` times in one process, as a kernel does."""
        cell = setup_cell.setup_cell(repository).replace(
            "/content/drive/MyDrive", str(self.mydrive)
        )
        code = (
            "import sys\nfor _ in range(int(sys.argv[1])): exec(compile(sys.argv[2], 'cell',"
            " 'exec'), globals())"
        )
        return subprocess.run(
            [sys.executable, "-S", "-c", code, str(times), cell],
            cwd=self.cwd,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def pip_calls(self) -> list[list[str]]:
        return (
            [json.loads(line) for line in self.log.read_text().splitlines()]
            if self.log.exists()
            else []
        )


def requirements() -> list[str]:
    lines = (REPO / "requirements-colab.txt").read_text().splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def on_this_machine() -> list[str]:
    """What the cell should ask for here: the smaller faiss where there is no GPU."""
    return [
        line if os.path.exists("/dev/nvidia0") else line.replace("faiss-gpu", "faiss-cpu")
        for line in requirements()
    ]


ALL = tuple(dict.fromkeys(MODULES.values()))


def test_the_cell_asks_for_exactly_the_colab_requirements():
    needed = re.search(r"NEEDED = (\{.*?\})", setup_cell.SETUP_CELL, re.S).group(1)
    assert sorted(json.loads(needed).values()) == sorted(requirements())
    assert {
        requirement.split("==")[0]: module for module, requirement in json.loads(needed).items()
    }.items() <= MODULES.items()


def test_the_cell_is_short_and_sets_cublas_before_any_import_of_torch():
    lines = setup_cell.SETUP_CELL.splitlines()
    assert len(lines) <= 50
    assert max(map(len, lines)) <= 100
    names = [
        next((i for i, line in enumerate(lines) if word in line), None)
        for word in ("CUBLAS_WORKSPACE_CONFIG", "from colab_utils import")
    ]
    assert names[0] < names[1]
    assert "import torch" not in setup_cell.SETUP_CELL


def test_cell_and_package_agree_on_what_colab_is(monkeypatch):
    monkeypatch.setenv("COLAB_RELEASE_TAG", "x")
    assert session.in_colab()
    assert '"COLAB_RELEASE_TAG" in os.environ' in setup_cell.SETUP_CELL


def test_importable_package_wins(tmp_path):
    machine = Machine(tmp_path, has=ALL)
    package_in(machine.cwd.parent, "checkout")
    machine.environment["PYTHONPATH"] += os.pathsep + str(
        package_in(tmp_path / "installed", "site")
    )
    done = machine.run()
    assert (done.returncode, done.stdout) == (0, "colab_utils from site\n"), done.stderr


def test_checkout_around_the_notebook(tmp_path):
    machine = Machine(tmp_path, has=ALL)
    package_in(machine.cwd, "checkout")
    package_in(machine.mydrive / "NAME", "Drive")
    (machine.cwd / "notebooks").mkdir()
    machine.cwd = machine.cwd / "notebooks"
    done = machine.run(times=2)
    assert (done.returncode, done.stdout) == (0, "colab_utils from checkout\n" * 2), done.stderr
    assert machine.pip_calls() == []


def test_copy_on_drive(tmp_path):
    machine = Machine(tmp_path, has=ALL, colab=True)
    package_in(machine.mydrive / "speech-emotion", "Drive")
    done = machine.run("ada/speech-emotion")
    assert (done.returncode, done.stdout) == (0, "colab_utils from Drive\n"), done.stderr
    assert machine.pip_calls() == []


def test_pip_from_the_repository_only_on_colab(tmp_path):
    machine = Machine(tmp_path, has=ALL, colab=True)
    done = machine.run("ada/speech-emotion", times=2)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-2:] == ["colab_utils from pip"] * 2
    assert machine.pip_calls() == [
        ["install", "--quiet", "git+https://github.com/ada/speech-emotion"]
    ]


def test_colab_installs_only_what_is_missing_and_only_once(tmp_path):
    machine = Machine(tmp_path, has=("higher", "papermill"), colab=True)
    package_in(machine.cwd, "checkout")
    done = machine.run(times=2)
    assert done.returncode == 0, done.stderr
    expected = [line for line in on_this_machine() if not line.startswith(("higher", "papermill"))]
    calls = machine.pip_calls()
    assert (
        len(calls) == 1
        and calls[0][:2] == ["install", "--quiet"]
        and sorted(calls[0][2:]) == sorted(expected)
    )
    assert done.stdout.count("installed:") == 1
    assert done.stdout.count("colab_utils from checkout") == 2


def test_nothing_is_installed_outside_colab_but_the_way_is_named(tmp_path):
    machine = Machine(tmp_path, has=("higher", "pyworld", "faiss", "papermill"))
    package_in(machine.cwd, "checkout")
    done = machine.run("ada/speech-emotion")
    assert done.returncode == 0, done.stderr
    assert machine.pip_calls() == []
    assert "pip install pytorch-metric-learning==2.9.0\n" in done.stdout
    assert done.stdout.endswith("colab_utils from checkout\n")


def test_a_failing_pip_is_said_and_the_rest_goes_on(tmp_path):
    machine = Machine(tmp_path, colab=True, pip_fails=True)
    package_in(machine.cwd, "checkout")
    done = machine.run()
    assert done.returncode == 0, done.stderr
    assert "pip failed (ERROR: no network) for: higher==0.2.1" in done.stdout
    assert done.stdout.endswith("colab_utils from checkout\n")


@pytest.mark.parametrize(
    ("repository", "colab", "pip_fails", "way"),
    [
        ("OWNER/NAME", True, False, "python tools/set_repo.py"),
        ("OWNER/NAME", False, False, "python tools/set_repo.py"),
        (
            "ada/speech-emotion",
            False,
            False,
            "pip install git+https://github.com/ada/speech-emotion",
        ),
        ("ada/speech-emotion", True, True, "pip install git+https://github.com/ada/speech-emotion"),
    ],
)
def test_found_nowhere_says_exactly_what_to_do(tmp_path, repository, colab, pip_fails, way):
    machine = Machine(tmp_path, has=ALL, colab=colab, pip_fails=pip_fails)
    done = machine.run(repository)
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 1
    assert last.startswith("ModuleNotFoundError: colab_utils was not found.")
    assert way in last
    assert str(machine.mydrive / repository.split("/")[1]) in last
    assert "start Jupyter inside the repository" in last
    assert [call[-1] for call in machine.pip_calls()] == (
        ["git+https://github.com/ada/speech-emotion"] if pip_fails else []
    )


def test_a_folder_that_is_no_package_is_not_taken_for_it(tmp_path):
    machine = Machine(tmp_path, has=ALL)
    (machine.cwd / "colab_utils").mkdir()
    assert "colab_utils was not found" in machine.run().stderr


def test_the_cell_with_the_real_package_from_this_checkout():
    """Without site-packages' link to the checkout (-S), from notebooks/; the real libraries, the
    real last line, twice.
    """
    paths = os.pathsep.join(path for path in sys.path if path.endswith("site-packages"))
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("COLAB_RELEASE_TAG", "CUBLAS_WORKSPACE_CONFIG")
    }
    code = f"{setup_cell.SETUP_CELL}\nprint(os.environ['CUBLAS_WORKSPACE_CONFIG'])\n"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code + code],
        cwd=REPO / "tools",
        capture_output=True,
        text=True,
        env={**environment, "PYTHONPATH": paths},
    )
    lines = [line for line in done.stdout.splitlines() if not line.startswith("Some parts need")]
    assert done.returncode == 0, done.stderr
    assert len(lines) == 4 and lines[:2] == lines[2:]
    assert re.fullmatch(
        rf"colab_utils {re.escape(colab_utils.__version__)} \| Python \S+ \| torch \S+ \|"
        r" (cpu|cuda .*)",
        lines[0],
    )
    assert lines[1] == ":4096:8"
