"""Drive refused, failing, lost and recovering; archives that climb out; one zip whatever the
browser does.
"""

import errno
import hashlib
import io
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import types
import zipfile

import pytest
from fake_colab import DOWNLOADS, MOUNT_ERRORS, FakeColab, FlakyDrive
from repo import REPO

from colab_utils import drive, files
from colab_utils.drive import copying


@pytest.fixture(autouse=True)
def workspace(monkeypatch, tmp_path):
    """A local disk of its own, no Colab, and no waiting between tries (the waits asked for are
    recorded).
    """
    monkeypatch.setenv("SER_WORKSPACE", str(tmp_path / "work"))
    monkeypatch.delenv("COLAB_RELEASE_TAG", raising=False)
    return tmp_path / "work"


@pytest.fixture(autouse=True)
def waits(monkeypatch):
    asked = []
    monkeypatch.setattr(copying.time, "sleep", asked.append)
    return asked


@pytest.fixture
def run(tmp_path):
    """A finished run: three files, one of them in a sub-folder, and its DONE marker."""
    folder = tmp_path / "runs" / "maml-0123456789ab"
    for name, data in {
        "config.json": b"{}",
        "metrics.json": b'{"uar": 0.5}',
        "parts/0.csv": b"a,b\n1,2\n" * 5000,
        "DONE": b"",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


@pytest.fixture
def mydrive(tmp_path):
    folder = tmp_path / "drive" / "MyDrive"
    folder.mkdir(parents=True)
    return folder


def contents(folder) -> dict[str, str]:
    """Every file below `folder` with its SHA-256, hidden ones too."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(pathlib.Path(folder).rglob("*"))
        if path.is_file()
    }


# ----------------------------------------------------------------------------------------------------------------
# mount


def test_mount_gives_mydrive(monkeypatch, tmp_path):
    colab = FakeColab(monkeypatch)
    assert drive.mount_drive(str(tmp_path / "drive")) == tmp_path / "drive" / "MyDrive"
    assert colab.mounted == [str(tmp_path / "drive")]


@pytest.mark.parametrize("folder", ["MyDrive", "My Drive"])
def test_a_mounted_drive_is_used_without_asking(monkeypatch, tmp_path, folder):
    colab = FakeColab(monkeypatch, mount="credentials")
    colab.already_mounted(tmp_path / "drive", folder)
    assert drive.mount_drive(str(tmp_path / "drive")) == tmp_path / "drive" / folder
    assert drive.mount_drive(str(tmp_path / "drive"), ask=False) == tmp_path / "drive" / folder
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
    assert drive.mount_drive(str(tmp_path / "drive"), ask=False) is None
    assert len(colab.mounted) == 1


def test_ask_false_opens_no_dialogue(monkeypatch, tmp_path, capsys):
    colab = FakeColab(monkeypatch)
    assert drive.mount_drive(str(tmp_path / "drive"), ask=False) is None
    assert colab.mounted == []
    assert "not mounted" in capsys.readouterr().out


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


# --------------------------------------------------------------------------------------------------------------
# publish


def test_publish_a_folder_then_only_what_changed(run, mydrive, capsys):
    report = drive.publish(run, mydrive / "results")
    there = mydrive / "results" / run.name
    assert report.ok
    assert report.sent == ["config.json", "metrics.json", "parts/0.csv", "DONE"]
    assert contents(there) == contents(run)
    assert capsys.readouterr().out == f"{report}\n"
    assert drive.publish(run, mydrive / "results").sent == []
    (run / "metrics.json").write_bytes(b'{"uar": 0.6}')  # same size, other content
    report = drive.publish(run, mydrive / "results")
    assert report.sent == ["metrics.json", "DONE"]
    assert report.unchanged == ["config.json", "parts/0.csv"]
    assert contents(there) == contents(run)


def test_publish_one_file(run, mydrive):
    report = drive.publish(run / "metrics.json", mydrive / "results")
    assert contents(mydrive / "results") == {"metrics.json": contents(run)["metrics.json"]}
    assert report.destination == mydrive / "results" / "metrics.json"
    assert drive.publish(run / "metrics.json", mydrive / "results").unchanged == ["metrics.json"]


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOTCONN])
def test_drive_that_recovers_costs_only_a_wait(monkeypatch, run, mydrive, waits, number):
    flaky = FlakyDrive(monkeypatch, mydrive, [0, 0, number, number])
    report = drive.publish(run, mydrive)
    assert flaky.raised == 2
    assert report.ok
    assert waits[:2] == [1.0, 4.0] or waits == [1.0, 1.0]
    assert contents(mydrive / run.name) == contents(run)


@pytest.mark.parametrize("healthy", range(17))
def test_drive_lost_after_any_number_of_steps_then_back(monkeypatch, run, mydrive, healthy, capsys):
    """Drive may go away at each of the four steps a file (copy, read back, flush, rename): no half
    file, no early DONE, the rest is sent later.
    """
    with monkeypatch.context() as patch:
        FlakyDrive(patch, mydrive, [0] * healthy + [errno.ENOTCONN], forever=True)
        report = drive.publish(run, mydrive)
    there = contents(mydrive / run.name)
    assert there.items() <= contents(run).items()
    assert report.ok == (healthy == 16) == ("DONE" in there)
    assert sorted(there) == sorted(report.sent)
    if not report.ok:
        line = capsys.readouterr().out
        assert line.startswith("WARNING") and line.count("\n") == 1 and str(run) in line
    again = drive.publish(run, mydrive)
    assert again.ok
    assert sorted(again.sent) == sorted(report.failed)
    assert contents(mydrive / run.name) == contents(run)


def test_a_dead_drive_is_not_waited_for_once_per_file(monkeypatch, tmp_path, mydrive, waits):
    for number in range(50):
        files.write_text(tmp_path / "many" / f"{number}.txt", str(number))
    FlakyDrive(monkeypatch, mydrive, [errno.ENOTCONN], forever=True)
    assert len(drive.publish(tmp_path / "many", mydrive).failed) == 50
    assert sum(waits) == 5.0


def test_a_corrupted_copy_is_noticed_and_made_again(monkeypatch, run, mydrive):
    copy, calls = shutil.copyfile, []

    def flips_a_byte(source, target, **options):
        copy(source, target, **options)
        calls.append(target)
        if len(calls) == 1:
            data = bytearray(pathlib.Path(target).read_bytes())
            data[0] ^= 1
            pathlib.Path(target).write_bytes(data)

    monkeypatch.setattr(shutil, "copyfile", flips_a_byte)
    assert drive.publish(run, mydrive).ok
    assert len(calls) == 5
    assert contents(mydrive / run.name) == contents(run)


def test_a_copy_that_is_always_corrupted_never_gets_the_final_name(monkeypatch, run, mydrive):
    def truncates(source, target, **options):
        pathlib.Path(target).write_bytes(pathlib.Path(source).read_bytes()[:-1] + b"?")

    monkeypatch.setattr(shutil, "copyfile", truncates)
    report = drive.publish(run / "metrics.json", mydrive)
    assert list(report.failed) == ["metrics.json"]
    assert "differs" in str(report)
    assert contents(mydrive) == {}


def test_a_published_file_that_rotted_is_replaced(run, mydrive):
    drive.publish(run, mydrive)
    victim = mydrive / run.name / "parts" / "0.csv"
    data = bytearray(victim.read_bytes())
    data[100] ^= 1
    victim.write_bytes(data)
    assert drive.publish(run, mydrive).sent == ["parts/0.csv", "DONE"]
    assert contents(mydrive / run.name) == contents(run)


def test_killed_in_the_middle_of_a_copy_and_resumed(run, mydrive):
    code = f"""
import os, pathlib, shutil, signal
from colab_utils import drive
copy = shutil.copyfile
def dies(source, target, **options):
    if pathlib.Path(source).name != "0.csv":
        return copy(source, target, **options)
    pathlib.Path(target).write_bytes(pathlib.Path(source).read_bytes()[:777])
    os.kill(os.getpid(), signal.SIGKILL)
shutil.copyfile = dies
drive.publish({str(run)!r}, {str(mydrive)!r})
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=REPO, capture_output=True)
    assert done.returncode == -signal.SIGKILL
    there = contents(mydrive / run.name)
    torn = [name for name in there if ".tmp" in name]
    assert len(torn) == 1 and sorted(set(there) - set(torn)) == ["config.json", "metrics.json"]
    assert drive.publish(run, mydrive).sent == ["parts/0.csv", "DONE"]
    assert contents(mydrive / run.name) == contents(run)  # the torn copy is gone too


def test_done_is_withdrawn_while_a_folder_changes(monkeypatch, run, mydrive):
    drive.publish(run, mydrive)
    (run / "metrics.json").write_text("{}")
    with monkeypatch.context() as patch:
        FlakyDrive(patch, mydrive, [errno.EIO], forever=True)
        report = drive.publish(run, mydrive)
    assert set(report.failed) == {"metrics.json", "DONE"}
    assert sorted(contents(mydrive / run.name)) == ["config.json", "metrics.json", "parts/0.csv"]
    assert drive.publish(run, mydrive).ok
    assert contents(mydrive / run.name) == contents(run)


def test_a_failing_run_does_not_hold_back_the_marker_of_another(monkeypatch, tmp_path, mydrive):
    for name in ("a/x.csv", "a/DONE", "b/x.csv", "b/DONE", "b/deep/DONE", "b/deep/y.csv"):
        files.write_text(tmp_path / "runs" / name, name)
    real = shutil.copyfile

    def refuses_b(source, target, **options):
        if str(source).endswith("b/x.csv"):
            raise OSError(errno.EIO, "Input/output error")
        return real(source, target, **options)

    monkeypatch.setattr(shutil, "copyfile", refuses_b)
    report = drive.publish(tmp_path / "runs", mydrive)
    assert set(report.failed) == {"b/x.csv", "b/DONE"}
    assert report.sent[-2:] == ["b/deep/DONE", "a/DONE"]


def test_an_unmounted_drive_is_not_made_on_the_local_disk(run, tmp_path):
    report = drive.publish(run, tmp_path / "gone" / "MyDrive" / "results")
    assert not report.ok
    assert "not mounted" in str(report)
    assert not (tmp_path / "gone").exists()


def test_a_full_drive_is_one_clear_line_and_not_retried(monkeypatch, run, mydrive, waits, capsys):
    FlakyDrive(monkeypatch, mydrive, [errno.ENOSPC], forever=True)
    assert not drive.publish(run / "metrics.json", mydrive).ok
    assert "no room left" in capsys.readouterr().out
    assert waits == []
    assert contents(mydrive) == {}


def test_files_that_vanish_or_are_temporary(run, mydrive):
    (run / ".metrics.0a1b2c3d.tmp.json").write_text("being written")
    (run / "broken-link").symlink_to(run / "nowhere")
    report = drive.publish(run, mydrive)
    assert set(report.failed) == {"broken-link", "DONE"}
    assert report.sent == ["config.json", "metrics.json", "parts/0.csv"]
    assert sorted(contents(mydrive / run.name)) == ["config.json", "metrics.json", "parts/0.csv"]


def test_publishing_nothing_names_the_path(tmp_path, mydrive):
    with pytest.raises(FileNotFoundError, match="no-such-run"):
        drive.publish(tmp_path / "no-such-run", mydrive)


# ----------------------------------------------------------------------------------------------------------------
# stage


def pack(path, members: dict[str, bytes]) -> pathlib.Path:
    """A zip or tar (by suffix) with these members."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in members.items():
                archive.writestr(name, data)
    else:
        with tarfile.open(
            path, f"w:{path.suffix[1:].replace('t', '').replace('ar', '') or ''}"
        ) as archive:
            for name, data in members.items():
                member = tarfile.TarInfo(name)
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    return path


CLIPS = {
    "emodb/wav/03a01Fa.wav": b"RIFF" * 100,
    "emodb/wav/03a02Fc.wav": b"",
    "readme.txt": "Grüße".encode(),
}


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
    assert list((tmp_path / "audio").iterdir()) == []
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
    assert list((tmp_path / "audio").iterdir()) == []


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
    assert list((tmp_path / "audio").iterdir()) == []


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
    assert list((tmp_path / "audio").iterdir()) == []


def test_a_file_and_a_folder_of_one_name_in_an_archive(mydrive, tmp_path):
    with pytest.raises(drive.ArchiveError, match="c.zip"):
        drive.stage(pack(mydrive / "c.zip", {"a": b"1", "a/b.wav": b"2"}), tmp_path / "audio")
    assert list((tmp_path / "audio").iterdir()) == []


def test_full_disk_while_unpacking_leaves_nothing(monkeypatch, mydrive, tmp_path):
    source = pack(mydrive / "c.zip", CLIPS)

    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", full)
    with pytest.raises(files.DiskFullError, match="no room left.*c.zip"):
        drive.stage(source, tmp_path / "audio")
    assert list((tmp_path / "audio").iterdir()) == []


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
    assert list((tmp_path / "other").iterdir()) == []


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
    files.write_text(mydrive / "list.csv", "half and more")
    assert drive.stage(mydrive / "list.csv", tmp_path / "audio").read_text() == "half and more"
    assert waits == [1.0]


def test_many_small_files_get_a_hint(monkeypatch, mydrive, tmp_path, capsys):
    from colab_utils.drive import staging

    monkeypatch.setattr(staging, "MANY_FILES", 2)
    for number in range(3):
        files.write_text(mydrive / "own" / f"{number}.wav", "x")
    drive.stage(mydrive / "own", tmp_path / "audio")
    assert "one zip" in capsys.readouterr().out


def test_stage_a_single_file_and_a_wrong_name(mydrive, tmp_path):
    (mydrive / "list.csv").write_text("a,b\n")
    assert drive.stage(mydrive / "list.csv", tmp_path / "audio").read_text() == "a,b\n"
    with pytest.raises(FileNotFoundError, match=r"emodb\.zip.*check the name"):
        drive.stage(mydrive / "emodb.zip", tmp_path / "audio")


# -------------------------------------------------------------------------------------------------------------
# download


def unzipped(path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def test_zip_holds_the_same_bytes_under_relative_names(run, tmp_path):
    files.write_text(tmp_path / "notes.txt", "hello")
    made = drive.make_zip([run, tmp_path / "notes.txt", run / "DONE"], tmp_path / "z" / "all.zip")
    expected = {f"runs/{run.name}/{name}": (run / name).read_bytes() for name in contents(run)}
    assert unzipped(made) == {**expected, "notes.txt": b"hello"}
    assert unzipped(drive.make_zip(run, tmp_path / "z" / "one.zip")) == {
        name.removeprefix("runs/"): data for name, data in expected.items()
    }


def test_zip_of_the_workspace_leaves_older_downloads_out(workspace):
    files.write_text(workspace / "runs" / "a.csv", "1")
    files.write_text(workspace / "corpus.zip", "kept: not a download")
    first = drive.download(workspace, "all")
    assert unzipped(drive.download(workspace, "all")) == unzipped(first)
    assert sorted(unzipped(drive.download(workspace, "more"))) == [
        "work/corpus.zip",
        "work/runs/a.csv",
    ]
    assert list(unzipped(drive.make_zip(first, workspace / "downloads" / "again.zip"))) == [
        "all.zip"
    ]


def test_a_zip_does_not_hold_itself(run):
    first = unzipped(drive.make_zip(run, run / "all.backup"))
    assert unzipped(drive.make_zip(run, run / "all.backup")) == first
    assert len(first) == 4


def test_zip_of_nothing_or_of_a_missing_file(tmp_path):
    (tmp_path / "empty").mkdir()
    for nothing in ([], [tmp_path / "empty"]):
        with pytest.raises(ValueError, match="nothing to put into"):
            drive.make_zip(nothing, tmp_path / "z.zip")
    with pytest.raises(FileNotFoundError, match="no-such"):
        drive.make_zip([tmp_path / "no-such"], tmp_path / "z.zip")
    assert not (tmp_path / "z.zip").exists()


def test_a_zip_that_fails_midway_keeps_the_older_one(monkeypatch, run, tmp_path):
    before = drive.make_zip(run / "DONE", tmp_path / "z" / "z.zip").read_bytes()

    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(zipfile.ZipFile, "write", full)
    with pytest.raises(files.DiskFullError, match="no room left"):
        drive.make_zip(run, tmp_path / "z" / "z.zip")
    assert {path.name: path.read_bytes() for path in (tmp_path / "z").iterdir()} == {
        "z.zip": before
    }


@pytest.mark.parametrize("mood", DOWNLOADS)
def test_download_in_colab_always_saves_and_says_what_to_do(
    monkeypatch, run, workspace, capsys, mood
):
    colab = FakeColab(monkeypatch, download=mood)
    path = drive.download(run, "results")
    assert path == workspace / "downloads" / "results.zip"
    assert len(unzipped(path)) == 4
    assert colab.downloaded == ([str(path)] if mood == "works" else [])
    out = capsys.readouterr().out
    assert f"Saved {path}" in out and "If no download starts" in out and str(path.parent) in out
    assert ("could not be reached" in out) == (mood in ("no kernel", "blocked"))


def test_download_in_a_terminal_prints_the_path_only(run, capsys):
    path = drive.download([run / "DONE"], "results.zip")
    assert capsys.readouterr().out == f"Saved {path} (0.0 MB).\n"
    assert path.name == "results.zip"


def test_download_in_jupyter_shows_a_link(monkeypatch, run, tmp_path):
    import IPython
    import IPython.display

    shown = []
    monkeypatch.setattr(IPython, "get_ipython", lambda: types.SimpleNamespace(kernel=object()))
    monkeypatch.setattr(IPython.display, "display", shown.append)
    monkeypatch.chdir(tmp_path)
    drive.download(run, "results")
    assert re.search(r"href='work/downloads/results\.zip'", shown[0]._repr_html_())


@pytest.mark.parametrize("name", ["", "a/b", "../x", "..", "a\\b", "/x"])
def test_download_names_are_plain(run, name, workspace):
    with pytest.raises(ValueError, match="plain file name"):
        drive.download(run, name)
    assert not (workspace / "downloads").exists()
