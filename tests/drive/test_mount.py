"""Drive mounted, refused, failing or not there."""

import sys

import pytest
from fake_colab import MOUNT_ERRORS, FakeColab

from colab_utils import drive


def test_mount_gives_mydrive(monkeypatch, tmp_path):
    colab = FakeColab(monkeypatch)
    assert drive.mount_drive(str(tmp_path / "drive")) == tmp_path / "drive" / "MyDrive"
    assert colab.mounted == [str(tmp_path / "drive")]


@pytest.mark.parametrize("folder", ["MyDrive", "My Drive"])
def test_a_mounted_drive_is_used_without_asking(monkeypatch, tmp_path, folder):
    colab = FakeColab(monkeypatch, mount="credentials")
    colab.already_mounted(tmp_path / "drive", folder)
    assert drive.mount_drive(str(tmp_path / "drive")) == tmp_path / "drive" / folder
    assert colab.mounted == []


@pytest.mark.parametrize("mood", [*MOUNT_ERRORS, "nothing there"])
def test_every_failure_to_mount_is_one_sentence(monkeypatch, tmp_path, capsys, workspace, mood):
    FakeColab(monkeypatch, mount=mood)
    assert drive.mount_drive(str(tmp_path / "drive")) is None
    printed = [
        line for line in capsys.readouterr().out.splitlines() if not line.startswith("Mounted at")
    ]
    assert len(printed) == 1
    assert "Going on without Google Drive" in printed[0]
    assert str(workspace) in printed[0]
    assert workspace.is_dir()


def test_a_refusal_is_called_one(monkeypatch, tmp_path, capsys):
    FakeColab(monkeypatch, mount="credentials")
    drive.mount_drive(str(tmp_path / "drive"))
    assert "access was not granted" in capsys.readouterr().out


def test_a_folder_that_only_looks_like_drive_is_not_trusted(monkeypatch, tmp_path):
    """A run without Drive may have made /content/drive/MyDrive on the local disk: what is saved
    there would be lost.
    """
    (tmp_path / "drive" / "MyDrive").mkdir(parents=True)
    colab = FakeColab(monkeypatch, mount="folder in the way")
    assert drive.mount_drive(str(tmp_path / "drive")) is None
    assert len(colab.mounted) == 1


def test_outside_colab_nothing_is_mounted(monkeypatch, tmp_path, capsys):
    colab = FakeColab(monkeypatch, running=False)
    assert drive.mount_drive(str(tmp_path / "drive")) is None
    assert colab.mounted == []
    assert "not a Colab runtime" in capsys.readouterr().out
    # a synchronised folder on one's own machine
    (tmp_path / "drive" / "MyDrive").mkdir(parents=True)
    assert drive.mount_drive(str(tmp_path / "drive")) == tmp_path / "drive" / "MyDrive"


def test_colab_without_its_package_goes_on(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("COLAB_RELEASE_TAG", "x")
    monkeypatch.setitem(sys.modules, "google.colab", None)
    assert drive.mount_drive(str(tmp_path / "drive")) is None
    assert capsys.readouterr().out.count("\n") == 1


def test_an_interrupt_is_not_swallowed(monkeypatch, tmp_path):
    FakeColab(monkeypatch, mount="disk")
    monkeypatch.setitem(MOUNT_ERRORS, "disk", KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        drive.mount_drive(str(tmp_path / "drive"))


def test_another_folder_may_take_the_place_of_drive(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("SER_DRIVE", str(tmp_path))
    assert drive.mount_drive() == tmp_path
    monkeypatch.setenv("SER_DRIVE", str(tmp_path / "gone"))
    assert drive.mount_drive() is None and str(tmp_path / "gone") in capsys.readouterr().out
