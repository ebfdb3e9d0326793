"""Results to a Drive that is lost, full, corrupting and recovering."""

import errno
import pathlib
import shutil
import signal
import subprocess
import sys

import pytest
from fake_colab import FlakyDrive
from packed import contents
from repo import REPO

from colab_utils import drive, files


def test_publish_a_folder_then_only_what_changed(run, mydrive, capsys):
    report = drive.publish(run, mydrive / "results")
    there = mydrive / "results" / run.name
    assert report.ok
    assert report.sent == ["parts/0.csv", "config.json", "metrics.json", "DONE"]
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
    for number in range(12):
        files.write_text(tmp_path / "many" / f"{number}.txt", str(number))
    FlakyDrive(monkeypatch, mydrive, [errno.ENOTCONN], forever=True)
    assert len(drive.publish(tmp_path / "many", mydrive).failed) == 12
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
    if pathlib.Path(source).name != "metrics.json":
        return copy(source, target, **options)
    pathlib.Path(target).write_bytes(pathlib.Path(source).read_bytes()[:7])
    os.kill(os.getpid(), signal.SIGKILL)
shutil.copyfile = dies
drive.publish({str(run)!r}, {str(mydrive)!r})
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=REPO, capture_output=True)
    assert done.returncode == -signal.SIGKILL
    there = contents(mydrive / run.name)
    torn = [name for name in there if ".tmp" in name]
    assert len(torn) == 1 and sorted(set(there) - set(torn)) == ["config.json", "parts/0.csv"]
    assert drive.publish(run, mydrive).sent == ["metrics.json", "DONE"]
    assert contents(mydrive / run.name) == contents(run)  # the torn copy is gone too


def test_done_is_withdrawn_while_a_folder_changes(monkeypatch, run, mydrive):
    """Where nothing of it could be sent, the older version stays, and its marker is true."""
    drive.publish(run, mydrive)
    before = contents(mydrive / run.name)
    for name in ("config.json", "metrics.json"):
        (run / name).write_text("[]")
    # four steps a file: its copy, a look at it, flush, rename
    for steps, whole in ((0, True), (1, True), (6, False)):
        with monkeypatch.context() as patch:
            FlakyDrive(patch, mydrive, [0] * steps + [errno.EIO], forever=True)
            report = drive.publish(run, mydrive)
        there = contents(mydrive / run.name)
        assert "DONE" in report.failed
        assert (there == before) == whole == ("DONE" in there)
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
    assert report.sent == ["a/x.csv", "a/DONE", "b/deep/y.csv", "b/deep/DONE"]


@pytest.mark.parametrize("steps", [0, 8, 20, 31, 40])
def test_runs_sent_before_drive_was_lost_are_whole(monkeypatch, tmp_path, mydrive, steps):
    """Four steps a file, three files a run: each run counts as soon as its own files are there."""
    for number in range(4):
        folder = tmp_path / "runs" / "maml" / f"run-{number}"
        folder.mkdir(parents=True)
        for name in ("DONE", "config.json", "predictions.csv"):
            (folder / name).write_text(f"{name} of {number}")
    with monkeypatch.context() as patch:
        FlakyDrive(patch, mydrive, [0] * steps + [errno.ENOTCONN], forever=True)
        drive.publish(tmp_path / "runs", mydrive)
    complete = sorted(path.parent.name for path in mydrive.rglob("DONE"))
    assert complete == [f"run-{number}" for number in range(len(complete))]
    assert len(complete) >= steps // 12
    for name in complete:
        there = mydrive / "runs" / "maml" / name
        assert contents(there) == contents(tmp_path / "runs" / "maml" / name)


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
    assert report.sent == ["parts/0.csv", "config.json", "metrics.json"]
    assert sorted(contents(mydrive / run.name)) == ["config.json", "metrics.json", "parts/0.csv"]


def test_publishing_nothing_names_the_path(tmp_path, mydrive):
    with pytest.raises(FileNotFoundError, match="no-such-run"):
        drive.publish(tmp_path / "no-such-run", mydrive)
