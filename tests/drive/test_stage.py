"""A corpus brought from Drive once, whole or not at all."""

import errno
import hashlib
import os
import pathlib
import shutil

import pytest
from fake_colab import FlakyDrive
from packed import CLIPS, contents, pack

from colab_utils import drive, files


@pytest.mark.parametrize(
    "name",
    [
        "emodb.zip",
        "emodb.ZIP",
        "emodb.tar",
        "emodb.tar.gz",
        "emodb.tgz",
        "emodb.tar.bz2",
        "emodb.tar.xz",
    ],
)
def test_stage_unpacks_once(mydrive, tmp_path, name, capsys):
    source = pack(mydrive / name.lower(), CLIPS).rename(mydrive / name)
    folder = drive.stage(source, tmp_path / "audio")
    assert folder == tmp_path / "audio" / "emodb"
    expected = {member: hashlib.sha256(data).hexdigest() for member, data in CLIPS.items()}
    assert contents(folder).items() >= expected.items()
    assert set(contents(tmp_path / "audio")) - {f"emodb/{member}" for member in CLIPS} == {
        "emodb/.staged.json"
    }
    stamp = os.stat(folder / "readme.txt").st_mtime_ns
    assert drive.stage(source, tmp_path / "audio") == folder
    assert os.stat(folder / "readme.txt").st_mtime_ns == stamp
    assert capsys.readouterr().out.count("\n") == 1


def test_a_new_archive_replaces_the_old_unpacking(mydrive, tmp_path):
    drive.stage(pack(mydrive / "c.zip", {"old.wav": b"1", "both.wav": b"2"}), tmp_path)
    folder = drive.stage(pack(mydrive / "c.zip", {"new.wav": b"333", "both.wav": b"4"}), tmp_path)
    assert sorted(contents(folder)) == [".staged.json", "both.wav", "new.wav"]
    assert (folder / "both.wav").read_bytes() == b"4"


def test_a_folder_of_the_user_is_not_overwritten(mydrive, tmp_path):
    files.write_text(tmp_path / "audio" / "c" / "mine.txt", "mine")
    with pytest.raises(FileExistsError, match="move it away"):
        drive.stage(pack(mydrive / "c.zip", CLIPS), tmp_path / "audio")
    assert list(contents(tmp_path / "audio")) == ["c/mine.txt"]


def test_stage_survives_a_drive_that_recovers_and_names_one_that_does_not(
    monkeypatch, mydrive, tmp_path, waits
):
    source = pack(mydrive / "c.zip", CLIPS)
    with monkeypatch.context() as patch:
        FlakyDrive(patch, tmp_path / "audio", [errno.EIO, errno.ENOTCONN])
        assert (drive.stage(source, tmp_path / "audio") / "readme.txt").is_file()
    assert waits == [1.0, 4.0]
    with monkeypatch.context() as patch:
        FlakyDrive(patch, tmp_path / "other", [errno.ENOTCONN], forever=True)
        with pytest.raises(OSError, match="mount Drive again"):
            drive.stage(source, tmp_path / "other")
    assert contents(tmp_path / "other") == {}


def test_stage_a_folder_appears_only_when_whole(monkeypatch, mydrive, tmp_path):
    for name in ("a.wav", "b/c.wav", "b/d.wav"):
        files.write_text(mydrive / "own" / name, name * 10)
    with monkeypatch.context() as patch:
        # two files pass (copy, flush, rename), then none
        FlakyDrive(patch, tmp_path / "audio", [0] * 6 + [errno.EIO], forever=True)
        with pytest.raises(OSError, match="could not be copied"):
            drive.stage(mydrive / "own", tmp_path / "audio")
    assert not (tmp_path / "audio" / "own").exists()
    copied, copy = [], shutil.copyfile
    monkeypatch.setattr(
        shutil,
        "copyfile",
        lambda source, target: copied.append(pathlib.Path(source).name) or copy(source, target),
    )
    folder = drive.stage(mydrive / "own", tmp_path / "audio")
    assert copied == ["d.wav"]
    assert contents(folder) == contents(mydrive / "own")
    (mydrive / "own" / "a.wav").write_text("longer than it was before, by far")
    assert drive.stage(mydrive / "own", tmp_path / "audio") == folder
    assert copied == ["d.wav", "a.wav"]
    assert contents(tmp_path / "audio" / "own") == contents(mydrive / "own")


def test_a_folder_that_cannot_be_listed_is_not_taken_for_empty(monkeypatch, mydrive, tmp_path):
    files.write_text(mydrive / "own" / "a.wav", "a")
    scandir = os.scandir

    def lost(path="."):
        if str(path).startswith(str(mydrive)):
            raise OSError(errno.ENOTCONN, "Transport endpoint is not connected")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", lost)
    with pytest.raises(OSError, match="not connected"):
        drive.stage(mydrive / "own", tmp_path / "audio")
    assert not (tmp_path / "audio" / "own").exists()


def test_links_to_folders_are_followed_but_not_in_circles(mydrive, tmp_path):
    """Drive shows a folder that somebody shared as a link."""
    files.write_text(tmp_path / "shared-by-ada" / "a.wav", "a")
    files.write_text(mydrive / "own" / "b.wav", "b")
    (mydrive / "own" / "shared").symlink_to(tmp_path / "shared-by-ada")
    (mydrive / "own" / "circle").symlink_to(mydrive / "own")
    assert sorted(contents(drive.stage(mydrive / "own", tmp_path / "audio"))) == [
        "b.wav",
        "shared/a.wav",
    ]


def test_a_copy_from_drive_that_comes_short_is_made_again(monkeypatch, mydrive, tmp_path, waits):
    copy, calls = shutil.copyfile, []

    def short_once(source, target, **options):
        calls.append(target)
        return (
            copy(source, target, **options)
            if len(calls) > 1
            else pathlib.Path(target).write_bytes(b"ha")
        )

    monkeypatch.setattr(shutil, "copyfile", short_once)
    files.write_text(mydrive / "own" / "list.csv", "half and more")
    folder = drive.stage(mydrive / "own", tmp_path / "audio")
    assert (folder / "list.csv").read_text() == "half and more"
    assert waits == [1.0]


def test_many_small_files_get_a_hint(monkeypatch, mydrive, tmp_path, capsys):
    from colab_utils.drive import staging

    monkeypatch.setattr(staging, "MANY_FILES", 2)
    for number in range(3):
        files.write_text(mydrive / "own" / f"{number}.wav", "x")
    drive.stage(mydrive / "own", tmp_path / "audio")
    assert "one zip" in capsys.readouterr().out


def test_a_wrong_name_is_named(mydrive, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"emodb\.zip.*check the name"):
        drive.stage(mydrive / "emodb.zip", tmp_path / "audio")
