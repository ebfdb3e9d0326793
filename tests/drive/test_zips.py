"""One zip to take away, whatever the browser does."""

import errno
import os
import re
import types
import urllib.parse
import zipfile

import IPython
import IPython.display
import pytest
from fake_colab import DOWNLOADS, FakeColab
from packed import contents

from colab_utils import drive, files


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


@pytest.fixture
def page(monkeypatch, tmp_path):
    """What a notebook in the folder `notebooks` shows, behind a server that notes its root."""
    shown = []
    monkeypatch.setattr(IPython, "get_ipython", lambda: types.SimpleNamespace(kernel=object()))
    monkeypatch.setattr(IPython.display, "display", lambda one: shown.append(one.data))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    return shown


def serve(tmp_path, kind, root):
    """The note of a running server, as Notebook 6 (nb) and JupyterLab 4 (jp) write it."""
    key = {"nb": "notebook_dir", "jp": "root_dir"}[kind]
    note = tmp_path / "runtime" / f"{kind}server-{os.getppid()}.json"
    files.write_json(note, {"pid": os.getppid(), key: str(root)})


def link(page):
    """The name and the address of the one link."""
    (found,) = page
    return re.fullmatch(r'<a download="(.*)" href="(.*)">Download (.*)</a>', found).groups()


@pytest.mark.parametrize("kind", ["nb", "jp"])
def test_a_link_leads_to_a_zip_that_the_server_serves(page, run, tmp_path, workspace, kind):
    serve(tmp_path, kind, tmp_path)
    drive.download(run, "my results")
    name, address, text = link(page)
    assert name == text == "my results.zip" and address == "../work/downloads/my%20results.zip"
    place = tmp_path / "notebooks" / urllib.parse.unquote(address)
    assert place.resolve() == workspace / "downloads" / "my results.zip"
    assert list((tmp_path / "notebooks").iterdir()) == []


@pytest.mark.parametrize("kind", ["nb", "jp"])
@pytest.mark.parametrize("hidden", [False, True])
def test_a_zip_that_the_server_does_not_serve_is_copied_beside_the_notebook(
    page, run, tmp_path, capsys, monkeypatch, kind, hidden
):
    """The server was started in the folder of the notebook, or the workspace is hidden from it."""
    if hidden:
        monkeypatch.setenv("SER_WORKSPACE", str(tmp_path / ".work"))
    serve(tmp_path, kind, tmp_path if hidden else tmp_path / "notebooks")
    made = drive.download(run, "results")
    assert link(page)[1] == "results.zip"
    assert (tmp_path / "notebooks" / "results.zip").read_bytes() == made.read_bytes()
    assert "beside the notebook" in capsys.readouterr().out


def test_without_a_server_nothing_is_copied(page, run, tmp_path):
    drive.download(run, "results")
    assert link(page)[1] == "../work/downloads/results.zip"
    assert list((tmp_path / "notebooks").iterdir()) == []


@pytest.mark.parametrize("name", ["", "a/b", "../x", "..", "a\\b", "/x"])
def test_download_names_are_plain(run, name, workspace):
    with pytest.raises(ValueError, match="plain file name"):
        drive.download(run, name)
    assert not (workspace / "downloads").exists()
