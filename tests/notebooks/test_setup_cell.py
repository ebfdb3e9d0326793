"""The first cell of all notebooks finds the package: installed, checkout, zip, pip, upload."""

import json
import os
import pathlib
import re
import subprocess
import sys
import zipfile

import colab_zip
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


# Colab's file dialogue: what is named in UPLOADS is copied into the current folder.
DIALOGUE = """
import os, pathlib, shutil
def upload():
    print("[file dialogue]")
    chosen = [path for path in os.environ.get("UPLOADS", "").split(os.pathsep) if path]
    return {pathlib.Path(shutil.copy(path, ".")).name: b"" for path in chosen}
"""


def says_where(origin: str) -> str:
    """The text of a session.py whose print_versions says where it comes from."""
    return f"def print_versions(): print('colab_utils from {origin}')"


def package_in(folder: pathlib.Path, says: str) -> pathlib.Path:
    """A stand-in for colab_utils below `folder`."""
    (folder / "colab_utils").mkdir(parents=True)
    (folder / "colab_utils" / "__init__.py").touch()
    (folder / "colab_utils" / "session.py").write_text(says_where(says))
    return folder


def zipped(path: pathlib.Path, says: str, top: str = "ser_suite/", age: int = 0) -> pathlib.Path:
    """A stand-in for the suite's zip, `age` seconds old."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as suite:
        suite.writestr(f"{top}colab_utils/__init__.py", "")
        suite.writestr(f"{top}colab_utils/session.py", says_where(says))
        suite.writestr(f"{top}colab_utils/methods/__init__.py", "")
    os.utime(path, (1.7e9 - age, 1.7e9 - age))
    return path


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
        (self.site / "google" / "colab").mkdir(parents=True)
        (self.site / "google" / "colab" / "__init__.py").touch()
        (self.site / "google" / "colab" / "files.py").write_text(DIALOGUE)
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
    assert len(lines) <= 60
    assert max(map(len, lines)) <= 88
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
    zipped(machine.mydrive / "ser_suite.zip", "Drive")
    (machine.cwd / "notebooks").mkdir()
    machine.cwd = machine.cwd / "notebooks"
    done = machine.run(times=2)
    assert (done.returncode, done.stdout) == (0, "colab_utils from checkout\n" * 2), done.stderr
    assert machine.pip_calls() == []


@pytest.mark.parametrize("colab", [True, False])
def test_zip_beside_the_notebook_or_in_drive(tmp_path, colab):
    """The newest is taken, one that was cut off is not, and nothing is asked or fetched."""
    machine = Machine(tmp_path, has=ALL, colab=colab)
    zipped(machine.mydrive / "ser_suite.zip", "Drive", age=20)
    taken = zipped(machine.cwd / "ser_suite (1).zip", "newest", age=10)
    cut = machine.cwd / "ser_suite (2).zip"
    cut.write_bytes(taken.read_bytes()[:-30])
    zipped(machine.cwd / "another.zip", "another")
    done = machine.run("ada/speech-emotion", times=2)
    expected = f"unpacking {taken.name}\n" + "colab_utils from newest\n" * 2
    assert (done.returncode, done.stdout) == (0, expected), done.stderr
    assert machine.pip_calls() == []
    taken.unlink()
    assert f"unpacking {machine.mydrive / 'ser_suite.zip'}\n" in machine.run().stdout


@pytest.mark.parametrize("top", ["ser_suite/", "speech-emotion-main/", ""])
def test_upload_on_colab_is_the_last_way(tmp_path, top):
    """Whatever the zip is called, and whatever folder stands in it; kept for the next time."""
    machine = Machine(tmp_path, has=ALL, colab=True, pip_fails=True)
    chosen = zipped(tmp_path / "mine" / "ser_suite.zip", "upload", top)
    machine.environment["UPLOADS"] = str(chosen)
    done = machine.run("ada/speech-emotion", times=2)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("[file dialogue]") == 1
    assert done.stdout.index("Choose ser_suite.zip") < done.stdout.index("[file dialogue]")
    assert done.stdout.endswith("colab_utils from upload\n" * 2)
    assert machine.pip_calls() == [
        ["install", "--quiet", "git+https://github.com/ada/speech-emotion"]
    ]
    again = machine.run()  # another process, as after "Restart runtime"
    # a package without a folder around it lies in the current folder now
    unpacked = "unpacking ser_suite.zip\n" if top else ""
    assert again.stdout == f"{unpacked}colab_utils from upload\n"


def test_a_zip_without_the_package_is_refused(tmp_path):
    machine = Machine(tmp_path, has=ALL, colab=True)
    wrong = tmp_path / "holiday.zip"
    with zipfile.ZipFile(wrong, "w") as archive:
        archive.writestr("beach.txt", "")
    machine.environment["UPLOADS"] = str(wrong)
    assert "upload ser_suite.zip" in machine.run().stderr


def test_what_make_colab_packs_is_the_suite(tmp_path):
    """All but the tests: what a notebook needs, and what the README names."""
    names = {path.relative_to(REPO).as_posix() for path in colab_zip.packed()}
    tracked = subprocess.check_output(["git", "ls-files"], cwd=REPO, text=True).splitlines()
    kept = [name for name in tracked if not name.startswith(("tests/", ".", "Makefile"))]
    assert set(kept) <= names
    assert not any("__pycache__" in name for name in names)


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
    assert done.stdout.count("installing, about a minute:") == 1
    assert all(package in done.stdout.splitlines()[0] for package in expected)
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
    assert re.search(r"higher==0.2.1 .*pip failed \(ERROR: no network\)\n", done.stdout)
    assert done.stdout.endswith("colab_utils from checkout\n")


@pytest.mark.parametrize("repository", ["OWNER/NAME", "ada/speech-emotion"])
@pytest.mark.parametrize("colab", [True, False])
def test_found_nowhere_says_exactly_what_to_do(tmp_path, repository, colab):
    """On Colab after a dialogue in which nothing was chosen."""
    machine = Machine(tmp_path, has=ALL, colab=colab, pip_fails=True)
    done = machine.run(repository)
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 1
    assert last.startswith("ModuleNotFoundError: colab_utils was not found")
    for way in ("upload ser_suite.zip", "`make colab`", "start Jupyter inside the repository"):
        assert way in last
    assert ("[file dialogue]" in done.stdout) == colab
    asked = colab and repository != "OWNER/NAME"
    assert [call[-1] for call in machine.pip_calls()] == (
        ["git+https://github.com/ada/speech-emotion"] if asked else []
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
