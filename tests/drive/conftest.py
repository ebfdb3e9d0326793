"""A local disk of its own, no Colab, a Drive, a finished run."""

import pytest

from colab_utils.drive import copying


@pytest.fixture(autouse=True)
def workspace(monkeypatch, tmp_path):
    """A workspace of the test's own, outside Colab."""
    monkeypatch.setenv("SER_WORKSPACE", str(tmp_path / "work"))
    monkeypatch.delenv("COLAB_RELEASE_TAG", raising=False)
    return tmp_path / "work"


@pytest.fixture(autouse=True)
def waits(monkeypatch):
    """The waits asked for between tries; nobody waits."""
    asked = []
    monkeypatch.setattr(copying.time, "sleep", asked.append)
    return asked


@pytest.fixture
def run(tmp_path):
    """A finished run: three files, one of them in a sub-folder, and its DONE marker."""
    folder = tmp_path / "runs" / "maml-0123456789ab"
    contents = {
        "config.json": b"{}",
        "metrics.json": b'{"uar": 0.5}',
        "parts/0.csv": b"a,b\n1,2\n" * 5000,
        "DONE": b"",
    }
    for name, data in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


@pytest.fixture
def mydrive(tmp_path):
    folder = tmp_path / "drive" / "MyDrive"
    folder.mkdir(parents=True)
    return folder
