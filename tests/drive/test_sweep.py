"""What killed writers left is removed at the next run; what is being written stays."""

import os
import time

import pandas as pd
import pytest
from at_once import CONTEXT
from packed import contents, pack

from colab_utils import drive, files

DIES = """
import os, signal, pathlib
from colab_utils import files
with files.replacing(to / "trained" / "checkpoint.pt") as one, files.scratch(to / "emodb") as two:
    one.write_bytes(b"half")
    (two / "new").mkdir()
    (two / "new" / "a.wav").write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
WRITES = """
import pathlib, time
from colab_utils import files
with files.replacing(to / "figure.png") as one, files.scratch(to / "savee") as two:
    one.write_bytes(b"whole")
    (two / "a.wav").write_bytes(b"whole")
    (to / "ready").touch()
    while not (to / "go").exists():
        time.sleep(0.005)
    (two / "a.wav").rename(to / "a.wav")
"""


def older(folder, seconds=3600):
    """Make all below a folder look so much older."""
    then = time.time() - seconds
    for path in folder.rglob("*"):
        os.utime(path, (then, then))


@pytest.mark.slow
def test_a_workspace_is_swept_when_a_notebook_begins(workspace, capsys):
    process = CONTEXT.Process(target=exec, args=(DIES, {"to": workspace}))
    process.start()
    process.join(60)
    files.write_text(workspace / "runs" / ".hidden.json", "mine")
    assert len(contents(workspace)) == 3
    older(workspace)
    drive.open_workspace()
    assert list(contents(workspace)) == ["runs/.hidden.json"]
    assert "2 unfinished" in capsys.readouterr().out
    assert not list(workspace.glob(".emodb*"))
    drive.open_workspace()
    assert "unfinished" not in capsys.readouterr().out


def test_tables_of_a_notebook_show_long_texts_whole(workspace):
    sentence = "a reason with all its words" * 4
    with pd.option_context("display.max_colwidth", 50):
        assert sentence not in pd.DataFrame([sentence])._repr_html_()
        drive.open_workspace()
        assert sentence in pd.DataFrame([sentence])._repr_html_()


def test_what_another_process_is_writing_stays_and_is_finished(tmp_path):
    process = CONTEXT.Process(target=exec, args=(WRITES, {"to": tmp_path}))
    process.start()
    while not (tmp_path / "ready").exists():
        assert process.is_alive()
        process.join(0.005)
    older(tmp_path)
    assert files.sweep(tmp_path) == 0
    (tmp_path / "go").touch()
    process.join(60)
    assert process.exitcode == 0
    assert set(contents(tmp_path)) == {"a.wav", "figure.png", "go", "ready"}


def test_what_is_young_may_not_be_locked_yet_and_stays(tmp_path):
    young = tmp_path / ".figure.0a1b2c3d.tmp.png"
    young.write_bytes(b"just made")
    assert files.sweep(tmp_path) == 0
    older(tmp_path)
    assert files.sweep(tmp_path) == 1
    assert not young.exists()


@pytest.mark.parametrize(
    "name", [".figure.tmp.png", "figure.0a1b2c3d.tmp.png", ".x.0a1b2c3d.tmpfile", ".x.0A1B2C3D.tmp"]
)
def test_files_of_other_names_are_not_ours_to_remove(tmp_path, name):
    (tmp_path / name).write_text("mine")
    older(tmp_path)
    assert files.sweep(tmp_path) == 0
    assert (tmp_path / name).exists()


def test_a_sweep_needs_no_folder_and_no_permission(tmp_path, monkeypatch):
    assert files.sweep(tmp_path / "nowhere") == 0
    litter = tmp_path / ".x.0a1b2c3d.tmp.csv"
    litter.touch()
    older(tmp_path)

    def refused(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(litter), "unlink", refused)
    assert files.sweep(tmp_path) == 0


def test_litter_is_in_no_zip_and_not_published(tmp_path, mydrive):
    """Nor is the folder of an archive that is being unpacked."""
    files.write_text(tmp_path / "work" / "a.csv", "1")
    with files.scratch(tmp_path / "work" / "emodb") as unpacking:
        (unpacking / "b.wav").write_text("half")
        assert drive.publish(tmp_path / "work", mydrive).sent == ["a.csv"]
        made = drive.make_zip(tmp_path / "work", tmp_path / "work.zip")
    folder = drive.stage(made, tmp_path / "back")
    assert sorted(contents(folder)) == [".staged.json", "work/a.csv"]


def test_a_file_that_goes_while_it_is_packed_is_named_and_left_out(tmp_path, monkeypatch, capsys):
    for name in ("a.csv", "b.csv"):
        files.write_text(tmp_path / "work" / name, name)
    listed = drive.archives.names_below

    def then_gone(root):
        names = listed(root)
        (tmp_path / "work" / "a.csv").unlink(missing_ok=True)
        return names

    monkeypatch.setattr(drive.archives, "names_below", then_gone)
    made = drive.make_zip(tmp_path / "work", tmp_path / "work.zip")
    assert "a.csv" in capsys.readouterr().out
    monkeypatch.undo()
    assert "work/b.csv" in contents(drive.stage(made, tmp_path / "back"))


def test_a_file_that_cannot_be_opened_leaves_no_temporary(tmp_path):
    pack(tmp_path / "c.zip", {"a.wav": b"a"})
    with pytest.raises(RuntimeError), files.replacing(tmp_path / "x.csv"):
        raise RuntimeError
    with pytest.raises(RuntimeError), files.scratch(tmp_path / "x"):
        raise RuntimeError
    assert os.listdir(tmp_path) == ["c.zip"]
