"""Where a process thinks it is, what it seeds, and what it records."""

import importlib.metadata
import json
import os
import pathlib
import random
import re
import subprocess
import sys
import types

import numpy as np
import pytest
import torch
from fake_colab import FakeColab
from repo import REPO

from colab_utils import __version__, session


@pytest.fixture(autouse=True)
def not_in_colab(monkeypatch):
    monkeypatch.delenv("COLAB_RELEASE_TAG", raising=False)
    monkeypatch.delenv("SER_WORKSPACE", raising=False)


@pytest.fixture
def restored_torch():
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    yield
    torch.use_deterministic_algorithms(before[0])
    torch.backends.cudnn.benchmark = before[1]


def git(folder, *arguments):
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    return subprocess.run(
        ["git", "-C", str(folder), *identity, *arguments],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()


def test_an_importable_google_colab_proves_nothing(monkeypatch):
    FakeColab(monkeypatch, running=False)
    import google.colab  # noqa: F401

    assert not session.in_colab()


def test_colabs_variable_is_proof(monkeypatch):
    monkeypatch.setenv("COLAB_RELEASE_TAG", "x")
    assert session.in_colab()


@pytest.mark.parametrize(
    ("module", "expected"), [("google.colab._shell", True), ("ipykernel.zmqshell", False)]
)
def test_the_class_of_the_shell_decides(monkeypatch, module, expected):
    shell = type("Shell", (), {"__module__": module})()
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    assert session.in_colab() is expected


def test_workspace_named_by_the_user(monkeypatch, tmp_path):
    monkeypatch.setenv("SER_WORKSPACE", str(tmp_path / "a" / "b"))
    assert session.workspace() == tmp_path / "a" / "b"
    assert (tmp_path / "a" / "b").is_dir()


def test_relative_workspace_becomes_absolute(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SER_WORKSPACE", "here")
    assert session.workspace() == tmp_path / "here"


def test_workspace_on_colab(monkeypatch, tmp_path):
    assert pathlib.PurePosixPath("/content/ser_work") == session.COLAB_WORKSPACE
    monkeypatch.setattr(session, "COLAB_WORKSPACE", tmp_path / "ser_work")
    monkeypatch.setenv("COLAB_RELEASE_TAG", "x")
    assert session.workspace() == tmp_path / "ser_work"


def test_workspace_in_a_checkout_and_elsewhere(monkeypatch, tmp_path):
    (tmp_path / "repo" / "colab_utils").mkdir(parents=True)
    (tmp_path / "repo" / "colab_utils" / "__init__.py").touch()
    (tmp_path / "repo" / "setup.py").touch()
    (tmp_path / "repo" / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "repo" / "notebooks")
    assert session.workspace() == tmp_path / "repo" / "out"
    monkeypatch.chdir(tmp_path)
    assert session.workspace() == tmp_path / "out"


def test_workspace_that_cannot_be_made_says_what_to_do(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("SER_WORKSPACE", str(tmp_path / "file" / "out"))
    with pytest.raises(OSError, match="SER_WORKSPACE") as caught:
        session.workspace()
    assert str(tmp_path / "file" / "out") in str(caught.value)


def test_import_comes_before_torch_and_sets_cublas():
    environment = {
        name: value for name, value in os.environ.items() if name != "CUBLAS_WORKSPACE_CONFIG"
    }
    code = (
        "import os, sys, colab_utils.session as s; print('torch' in sys.modules,"
        " os.environ['CUBLAS_WORKSPACE_CONFIG'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=REPO, env=environment
    )
    assert done.stdout.split() == ["False", ":4096:8"], done.stderr


def test_import_keeps_a_cublas_setting_of_the_user():
    code = "import os, colab_utils.session; print(os.environ['CUBLAS_WORKSPACE_CONFIG'])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=REPO,
        env={**os.environ, "CUBLAS_WORKSPACE_CONFIG": ":16:8"},
    )
    assert done.stdout.strip() == ":16:8", done.stderr


@pytest.mark.parametrize("seed", [0, 7, 2**32 - 1, np.int64(3)])
def test_seeding_reaches_all_generators(restored_torch, seed):
    session.seed_everything(seed)
    drawn = random.random(), np.random.rand(), torch.rand(3)
    assert drawn[0] == random.Random(int(seed)).random()
    assert drawn[1] == np.random.RandomState(int(seed)).rand()
    assert torch.equal(drawn[2], torch.rand(3, generator=torch.Generator().manual_seed(int(seed))))
    assert torch.are_deterministic_algorithms_enabled()
    assert torch.is_deterministic_algorithms_warn_only_enabled()


@pytest.mark.parametrize("seed", [-1, 2**32, 1.0, "1", True, None])
def test_bad_seeds_are_refused_before_anything_is_seeded(seed):
    random.seed(5)
    expected = random.Random(5).random()
    with pytest.raises(ValueError, match="seed"):
        session.seed_everything(seed)
    assert random.random() == expected


def test_device_follows_torch(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Tesla T4")
    assert (session.device(), session.environment()["device"]) == ("cuda", "cuda (Tesla T4)")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert (session.device(), session.environment()["device"]) == ("cpu", "cpu")


def test_versions_are_those_of_the_imported_modules():
    found = session.versions()
    import faiss
    import librosa

    for name, module in {"numpy": np, "torch": torch, "librosa": librosa, "faiss": faiss}.items():
        assert module.__version__.split("+")[0] == found[name].split("+")[0]
    assert found["colab_utils"] == __version__
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))


def test_a_missing_library_is_named_not_an_error(monkeypatch, capsys):
    names = {"torch": ("surely-not-there",), "faiss": ("surely-not-there", "numpy")}
    monkeypatch.setattr(session, "INSTALLED_AS", names)
    assert session.versions()["torch"] == "not installed"
    assert session.versions()["faiss"] == np.__version__
    session.print_versions()
    assert "torch not installed" in capsys.readouterr().out


def test_print_versions_is_one_line(capsys):
    session.print_versions()
    out = capsys.readouterr().out
    assert re.fullmatch(
        rf"colab_utils {re.escape(__version__)} \| Python 3\.\d+\.\d+ \| torch \S+ \| (cpu|cuda"
        r" \(.+\))\n",
        out,
    )


def test_environment_is_plain_json():
    found = session.environment()
    assert json.loads(json.dumps(found)) == found
    assert {"versions", "python", "platform", "commit", "device"} <= set(found)


def test_commit_of_a_checkout(tmp_path):
    git(tmp_path, "init", "-q")
    (tmp_path / "a.txt").write_text("1")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "one")
    head = git(tmp_path, "rev-parse", "HEAD")
    assert session._git_commit(tmp_path) == head
    (tmp_path / "new.txt").write_text("untracked files do not count")
    assert session._git_commit(tmp_path) == head
    (tmp_path / "a.txt").write_text("2")
    assert session._git_commit(tmp_path) == f"{head}-dirty"


def test_commit_unknown_without_git(tmp_path, monkeypatch):
    assert session._git_commit(tmp_path / "nowhere") == "unknown"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert session._git_commit(REPO) == "unknown"


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (
            '{"url": "https://example.org", "vcs_info": {"vcs": "git", "commit_id": "abc123"}}',
            "abc123",
        ),
        ('{"url": "file:///x", "dir_info": {}}', "unknown"),
        (None, "unknown"),
    ],
)
def test_commit_that_pip_recorded(monkeypatch, tmp_path, record, expected):
    monkeypatch.setattr(
        session, "__file__", str(tmp_path / "site-packages" / "colab_utils" / "session.py")
    )
    monkeypatch.setattr(
        importlib.metadata,
        "distribution",
        lambda name: types.SimpleNamespace(read_text=lambda file: record),
    )
    assert session.commit() == expected
