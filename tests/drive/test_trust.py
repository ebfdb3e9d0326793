"""What was staged before is used again only where it still is what lies on Drive."""

import os
import zipfile

import pytest
from packed import CLIPS, contents, pack

from colab_utils import drive, files
from colab_utils.drive import staging


def other_content(path):
    """The same names and sizes, other bytes; returns the size before."""
    before = path.stat()
    pack(path, {name: data[::-1].swapcase() for name, data in CLIPS.items()})
    assert path.stat().st_size == before.st_size
    return before


@pytest.mark.parametrize("name", ["c.zip", "c.tar"])
def test_an_archive_of_equal_size_and_other_content_is_unpacked_anew(mydrive, tmp_path, name):
    source = pack(mydrive / name, CLIPS)
    drive.stage(source, tmp_path / "audio")
    before = other_content(source)
    os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))  # by its time it is the same
    folder = drive.stage(source, tmp_path / "audio")
    assert (folder / "readme.txt").read_bytes() == CLIPS["readme.txt"][::-1].swapcase()


def test_a_zip_of_equal_content_is_not_unpacked_again_whenever_it_was_written(mydrive, tmp_path):
    source = pack(mydrive / "c.zip", CLIPS)
    folder = drive.stage(source, tmp_path / "audio")
    before = os.stat(folder)
    os.utime(source, (1, 1))
    drive.stage(source, tmp_path / "audio")
    assert os.stat(folder).st_ino == before.st_ino


def test_a_large_tar_whose_end_is_the_same_is_told_by_its_time_of_change(
    mydrive, tmp_path, monkeypatch
):
    monkeypatch.setattr(staging, "_TAIL", 512)
    source = pack(mydrive / "c.tar", CLIPS)
    drive.stage(source, tmp_path / "audio")
    other_content(source)
    os.utime(source, (1, 1))
    folder = drive.stage(source, tmp_path / "audio")
    assert (folder / "readme.txt").read_bytes() == CLIPS["readme.txt"][::-1].swapcase()


def test_a_tar_that_ends_with_a_zip_is_told_by_its_own_end(mydrive, tmp_path):
    with zipfile.ZipFile(tmp_path / "inner.zip", "w") as inner:
        inner.writestr("a.txt", "a")
    inside = (tmp_path / "inner.zip").read_bytes()
    source = pack(mydrive / "c.tar", {"a.wav": b"one", "inner.zip": inside})
    before = source.stat()
    drive.stage(source, tmp_path / "audio")
    pack(source, {"a.wav": b"two", "inner.zip": inside})
    os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (drive.stage(source, tmp_path / "audio") / "a.wav").read_bytes() == b"two"


def test_a_folder_with_a_file_of_equal_size_and_other_content(mydrive, tmp_path, capsys):
    for name in ("a.wav", "b.wav"):
        files.write_text(mydrive / "own" / name, name)
    folder = drive.stage(mydrive / "own", tmp_path / "audio")
    untouched = os.stat(folder / "b.wav").st_ino
    files.write_text(mydrive / "own" / "a.wav", "A.WAV")
    os.utime(mydrive / "own" / "a.wav", (1, 1))
    drive.stage(mydrive / "own", tmp_path / "audio")
    assert (folder / "a.wav").read_text() == "A.WAV"
    assert os.stat(folder / "b.wav").st_ino == untouched
    (mydrive / "own" / "b.wav").unlink()
    drive.stage(mydrive / "own", tmp_path / "audio")
    assert "1 file(s)" in (told := capsys.readouterr().out) and "b.wav" in told


@pytest.mark.parametrize("stamp", [None, '{"archive": "c.zip", "bytes": 1}', "{", "[]"])
def test_an_unpacked_folder_that_lost_files_or_whose_stamp_says_less_is_made_anew(
    mydrive, tmp_path, stamp
):
    source = pack(mydrive / "c.zip", CLIPS)
    folder = drive.stage(source, tmp_path / "audio")
    whole = contents(folder)
    if stamp is None:
        (folder / "readme.txt").unlink()
    else:
        (folder / staging.STAMP).write_text(stamp)
    assert not staging.is_whole(folder)
    assert contents(drive.stage(source, tmp_path / "audio")) == whole


def test_what_a_killed_process_left_of_another_unpacking_is_no_folder_in_the_way(
    mydrive, tmp_path, monkeypatch
):
    """Killed between the two renames: the old folder is gone, the new one not yet there."""
    source = pack(mydrive / "c.zip", CLIPS)
    folder = drive.stage(source, tmp_path / "audio")
    other_content(source)
    replace = os.replace

    def killed(old, new):
        if os.fspath(new) == os.fspath(folder):
            raise KeyboardInterrupt
        replace(old, new)

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        drive.stage(source, tmp_path / "audio")
    monkeypatch.undo()
    folder = drive.stage(source, tmp_path / "audio")
    assert (folder / "readme.txt").read_bytes() == CLIPS["readme.txt"][::-1].swapcase()
    assert os.listdir(tmp_path / "audio") == ["c"]


def test_a_drive_that_is_lost_before_the_first_look_is_one_sentence(mydrive, tmp_path, monkeypatch):
    source = pack(mydrive / "c.zip", CLIPS)

    def lost(path):
        raise OSError(107, "Transport endpoint is not connected")

    monkeypatch.setattr(staging, "_contents", lost)
    with pytest.raises(OSError, match="c.zip.*not connected.*mount Drive again"):
        drive.stage(source, tmp_path / "audio")
