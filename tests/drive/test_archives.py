"""Archives that climb out, lead away by links, or are damaged."""

import errno
import io
import os
import pathlib
import re
import shutil
import tarfile
import zipfile

import pytest
from packed import CLIPS, contents, pack

from colab_utils import drive, files

ESCAPES = [
    "../evil.wav",
    "/evil.wav",
    "a/../../evil.wav",
    "..\\evil.wav",
    "C:/evil.wav",
    "\\evil.wav",
    "a/..",
    "../",
]


@pytest.mark.parametrize("suffix", ["zip", "tar"])
@pytest.mark.parametrize("evil", ESCAPES)
def test_members_that_climb_out_are_refused(mydrive, tmp_path, suffix, evil):
    source = pack(mydrive / f"c.{suffix}", {"good.wav": b"1", evil: b"2"})
    with pytest.raises(drive.ArchiveError, match="outside the folder") as caught:
        drive.stage(source, tmp_path / "audio")
    assert "\n" not in str(caught.value) and source.name in str(caught.value)
    assert contents(tmp_path / "audio") == {}
    assert [path for path in (tmp_path / "audio").iterdir() if path.is_dir()] == []
    assert not list(tmp_path.rglob("evil.wav"))


def linked_tar(path, links: list[tuple[str, str, bytes]]) -> pathlib.Path:
    """A tar with dir/good.wav, then these links (name, target, tar type), then a file below each
    link.
    """
    with tarfile.open(path, "w") as archive:
        good = tarfile.TarInfo("dir/good.wav")
        good.size = 3
        archive.addfile(good, io.BytesIO(b"abc"))
        for name, target, kind in links:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, target
            archive.addfile(member)
    return path


@pytest.mark.parametrize(
    ("target", "kind"),
    [
        ("../../secret.txt", tarfile.SYMTYPE),
        ("/etc/passwd", tarfile.SYMTYPE),
        ("../secret.txt", tarfile.LNKTYPE),
        ("/etc/passwd", tarfile.LNKTYPE),
        ("..", tarfile.SYMTYPE),
        ("missing.wav", tarfile.SYMTYPE),
        ("dir/link", tarfile.LNKTYPE),
        ("link", tarfile.SYMTYPE),
        ("", tarfile.FIFOTYPE),
        ("", tarfile.CHRTYPE),
    ],
)
def test_links_out_devices_and_loops_in_a_tar_are_refused(mydrive, tmp_path, target, kind):
    (tmp_path / "secret.txt").write_text("secret")
    with pytest.raises(drive.ArchiveError, match="links.tar"):
        drive.stage(
            linked_tar(mydrive / "links.tar", [("dir/link", target, kind)]), tmp_path / "audio"
        )
    assert [path for path in (tmp_path / "audio").iterdir() if path.is_dir()] == []


@pytest.mark.parametrize(
    ("target", "kind"),
    [
        ("../../secret.txt", tarfile.SYMTYPE),
        ("/dir/good.wav", tarfile.SYMTYPE),
        ("../x", tarfile.LNKTYPE),
    ],
)
def test_a_link_that_leaves_is_called_so(mydrive, tmp_path, target, kind):
    with pytest.raises(drive.ArchiveError, match=r"dir/link.*outside the archive"):
        drive.stage(
            linked_tar(mydrive / "links.tar", [("dir/link", target, kind)]), tmp_path / "audio"
        )


def test_a_folder_that_leaves_is_refused(mydrive, tmp_path):
    with pytest.raises(drive.ArchiveError, match="outside the folder"):
        drive.stage(
            linked_tar(mydrive / "links.tar", [("../evil", "", tarfile.DIRTYPE)]),
            tmp_path / "audio",
        )
    assert not (tmp_path / "evil").exists()


def test_a_file_through_a_link_to_a_folder_is_refused(mydrive, tmp_path):
    """The classic: first a link to a folder outside, then a file "below" it."""
    path = linked_tar(
        mydrive / "links.tar",
        [("out", str(tmp_path), tarfile.SYMTYPE), ("inner", "dir", tarfile.SYMTYPE)],
    )
    with tarfile.open(path, "a") as archive:
        member = tarfile.TarInfo("out/evil.wav")
        archive.addfile(member, io.BytesIO(b""))
    with pytest.raises(drive.ArchiveError):
        drive.stage(path, tmp_path / "audio")
    assert not (tmp_path / "evil.wav").exists()


@pytest.mark.parametrize(
    ("target", "kind"),
    [
        ("good.wav", tarfile.SYMTYPE),
        ("../dir/good.wav", tarfile.SYMTYPE),
        ("dir/good.wav", tarfile.LNKTYPE),
    ],
)
def test_a_link_inside_a_tar_becomes_a_copy(mydrive, tmp_path, target, kind):
    folder = drive.stage(
        linked_tar(mydrive / "links.tar", [("dir/link.wav", target, kind)]), tmp_path / "audio"
    )
    assert (folder / "dir" / "link.wav").read_bytes() == b"abc"
    assert not (folder / "dir" / "link.wav").is_symlink()


def linked_zip(path, links: dict[str, str]) -> pathlib.Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("dir/good.wav", b"abc")
        for name, target in links.items():
            info = zipfile.ZipInfo(name)
            info.create_system, info.external_attr = 3, 0o120777 << 16
            archive.writestr(info, target)
    return path


@pytest.mark.parametrize(
    "links",
    [
        {"dir/link": "../../secret.txt"},
        {"link": "/etc/passwd"},
        {"link": "missing"},
        {"link": "link"},
        {"a": "b", "b": "dir/good.wav"},
    ],
)
def test_links_out_and_to_links_in_a_zip_are_refused(mydrive, tmp_path, links):
    with pytest.raises(drive.ArchiveError, match="links.zip"):
        drive.stage(linked_zip(mydrive / "links.zip", links), tmp_path / "audio")
    assert [path for path in (tmp_path / "audio").iterdir() if path.is_dir()] == []


def test_a_link_inside_a_zip_becomes_a_copy(mydrive, tmp_path):
    folder = drive.stage(
        linked_zip(mydrive / "links.zip", {"dir/link.wav": "good.wav"}), tmp_path / "audio"
    )
    assert (folder / "dir" / "link.wav").read_bytes() == b"abc"


@pytest.mark.parametrize("name", ["c.zip", "c.tar", "c.tar.gz", "c.tar.xz"])
@pytest.mark.parametrize("damage", ["empty", "not an archive", "cut", "flipped"])
def test_damaged_archives_leave_nothing(mydrive, tmp_path, name, damage):
    data = bytearray(
        pack(mydrive / name, {f"{i}.wav": os.urandom(3000) for i in range(5)}).read_bytes()
    )
    if damage == "flipped" and name == "c.tar":
        # the header's checksum: the contents of a plain tar carry none
        data[148] ^= 0xFF
    elif damage == "flipped":
        data[len(data) // 2] ^= 0xFF
    damaged = {
        "empty": b"",
        "not an archive": b"version https://git-lfs.github.com/spec/v1\n" * 30,
        "cut": data[: len(data) // 2],
        "flipped": data,
    }
    (mydrive / name).write_bytes(damaged[damage])
    with pytest.raises(drive.ArchiveError, match=re.escape(name)) as caught:
        drive.stage(mydrive / name, tmp_path / "audio")
    assert "\n" not in str(caught.value)
    assert [path for path in (tmp_path / "audio").iterdir() if path.is_dir()] == []


def test_a_file_and_a_folder_of_one_name_in_an_archive(mydrive, tmp_path):
    with pytest.raises(drive.ArchiveError, match="c.zip"):
        drive.stage(pack(mydrive / "c.zip", {"a": b"1", "a/b.wav": b"2"}), tmp_path / "audio")
    assert [path for path in (tmp_path / "audio").iterdir() if path.is_dir()] == []


def test_full_disk_while_unpacking_leaves_nothing(monkeypatch, mydrive, tmp_path):
    source = pack(mydrive / "c.zip", CLIPS)

    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", full)
    with pytest.raises(files.DiskFullError, match="no room left.*c.zip"):
        drive.stage(source, tmp_path / "audio")
    assert [path for path in (tmp_path / "audio").iterdir() if path.is_dir()] == []
