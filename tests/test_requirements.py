"""What a Colab runtime would really install: nothing that it ships may change version.

The runtime is imitated by empty package records made from its `pip freeze` (`COLAB_FREEZE`, default
../shared/colab/pip-freeze.gpu.txt).
"""

import json
import os
import pathlib
import re
import subprocess
import venv

import pytest
from repo import REPO


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.fixture(scope="module")
def colab_freeze() -> dict[str, str]:
    path = pathlib.Path(
        os.environ.get("COLAB_FREEZE", REPO.parent / "shared" / "colab" / "pip-freeze.gpu.txt")
    )
    if not path.is_file():
        pytest.skip(
            f"no Colab freeze at {path}: set COLAB_FREEZE to a `pip freeze` of a Colab runtime"
        )
    pairs = [
        line.strip().partition("==")[::2]
        for line in path.read_text().splitlines()
        if "==" in line and not line.startswith("#")
    ]
    return {canonical(name): version for name, version in pairs}


@pytest.fixture(scope="module")
def runtime_python(colab_freeze, tmp_path_factory) -> pathlib.Path:
    """The Python of an empty environment in which pip believes that everything Colab ships is
    installed.
    """
    folder = tmp_path_factory.mktemp("colab-runtime")
    venv.create(folder, with_pip=True)
    site = next((folder / "lib").glob("python3.*")) / "site-packages"
    for name, version in colab_freeze.items():
        if name == "pip":
            continue
        record = site / f"{name.replace('-', '_')}-{version}.dist-info"
        record.mkdir(exist_ok=True)
        (record / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n\n"
        )
        (record / "INSTALLER").write_text("pip\n")
        (record / "RECORD").write_text("")
    return folder / "bin" / "python"


def would_install(python: pathlib.Path, *arguments: str) -> dict[str, str]:
    """Name and version of every package that `pip install *arguments` would put into that
    environment.
    """
    command = [python, "-m", "pip", "install", "--dry-run", "--quiet", "--report", "-", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPO)
    if done.returncode and re.search(r"Temporary failure|Connection|Max retries", done.stderr):
        pytest.skip("no package index can be reached")
    assert done.returncode == 0, done.stderr
    return {
        canonical(one["metadata"]["name"]): one["metadata"]["version"]
        for one in json.loads(done.stdout)["install"]
    }


def test_requirements_change_nothing_that_colab_ships(colab_freeze, runtime_python):
    new = would_install(runtime_python, "-r", "requirements-colab.txt")
    assert not set(new) & set(colab_freeze)
    assert {
        "higher",
        "pytorch-metric-learning",
        "faiss-gpu",
        "pyworld-prebuilt",
        "papermill",
    } == set(new)


def test_the_package_itself_changes_nothing_that_colab_ships(colab_freeze, runtime_python):
    new = would_install(runtime_python, "-r", "requirements-colab.txt", ".")
    assert not set(new) & set(colab_freeze)
    assert "colab-utils" in new


def test_every_needed_package_is_named():
    """The packages that the suite promises are required by the package itself, or, for faiss, by an
    extra.
    """
    text = (REPO / "setup.py").read_text()
    for name in (
        "torch",
        "torchaudio",
        "higher",
        "pytorch-metric-learning",
        "faiss-gpu",
        "pyworld-prebuilt",
        "librosa",
        "matplotlib",
        "seaborn",
        "ipywidgets",
    ):
        assert re.search(rf'"{name}>=', text), name


def test_no_upper_bound_on_what_colab_ships():
    required = re.search(r"REQUIRES = \[(.*?)\]", (REPO / "setup.py").read_text(), re.S).group(1)
    assert "<" not in required and "==" not in required and "~=" not in required


def test_constraints_are_colabs_own_versions(colab_freeze):
    different = []
    for line in (REPO / "constraints-colab.txt").read_text().splitlines():
        name, _, version = line.partition("==")
        ours, theirs = (
            version.split("+")[0],
            colab_freeze.get(canonical(name), version).split("+")[0],
        )
        if name and not name.startswith("#") and ours != theirs:
            different.append((name, ours, theirs))
    # Colab's widgetsnbextension does not render in the classic Notebook outside Colab; its own
    # front end does not use it.
    assert [one[0] for one in different] == ["widgetsnbextension"], different
