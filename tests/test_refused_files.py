"""Files that cannot be written or read: one sentence that names the file and what to do."""

import errno
import io
import os
import pathlib
import pickle
import zipfile

import numpy as np
import pytest
import torch

from colab_utils import files

CLOSED = [errno.EROFS, errno.EACCES, errno.EPERM]


def refusing(number):
    """What the system does on a disk that cannot be written."""

    def refused(path, *arguments, **options):
        raise OSError(number, os.strerror(number), str(path))

    return refused


@pytest.mark.parametrize("number", CLOSED)
@pytest.mark.parametrize("name", ["mkdir", "touch"])
def test_a_disk_that_cannot_be_written_is_told_with_the_folder_that_is_there(
    tmp_path, monkeypatch, number, name
):
    path = tmp_path / "run" / "metrics.json"
    monkeypatch.setattr(pathlib.Path, name, refusing(number))
    if name == "touch":
        path.parent.mkdir()
        path.write_text("before")
    with pytest.raises(files.NotWritableError) as found:
        files.write_json(path, {})
    told = str(found.value)
    there = path.parent if name == "touch" else tmp_path
    assert found.value.errno == number and not isinstance(found.value, files.DiskFullError)
    assert str(path) in told and f"make {there} writable" in told and "SER_WORKSPACE" in told
    assert os.strerror(number) in told and "\n" not in told and "Errno" not in told
    if name == "touch":
        assert path.read_text() == "before"


@pytest.mark.parametrize("number", CLOSED)
def test_a_history_that_cannot_be_appended_to_is_told(tmp_path, monkeypatch, number):
    monkeypatch.setattr(files, "open", refusing(number), raising=False)
    with pytest.raises(files.NotWritableError, match="history.jsonl cannot be written.*SER_WORK"):
        files.append_jsonl(tmp_path / "history.jsonl", [{"step": 1}])


def test_errors_of_other_files_and_of_other_kinds_stay_what_they_are(tmp_path):
    """A clip that may not be read while a picture is written is not the picture's fault."""
    foreign = PermissionError(errno.EACCES, "Permission denied", "/somewhere/else/clip.wav")
    other = FileNotFoundError(errno.ENOENT, "No such file", str(tmp_path / "x"))
    for error in (foreign, other):
        with pytest.raises(type(error)) as found, files.writing(tmp_path / "picture.png"):
            raise error
        assert found.value is error
    with pytest.raises(files.DiskFullError, match="no room"), files.writing(tmp_path / "x"):
        raise OSError(errno.EDQUOT, "Disk quota exceeded")


# --- files that cannot be read --------------------------------------------------------------------


class Runs:
    """Does something when it is unpickled."""

    def __reduce__(self):
        return os.system, ("touch it_ran",)


def saved(write):
    buffer = io.BytesIO()
    write(buffer)
    return buffer.getvalue()


def zipped(**members):
    def write(buffer):
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, text in members.items():
                archive.writestr(name, text)

    return saved(write)


WHOLE = saved(lambda buffer: torch.save({"a": torch.zeros(500)}, buffer))
CONTENTS = {
    "pickle": (pickle.dumps(Runs()), "pickle"),
    "pickled network": (saved(lambda buffer: torch.save(torch.nn.Linear(1, 1), buffer)), "pickle"),
    "pickled in a checkpoint": (saved(lambda buffer: torch.save([Runs()], buffer)), "pickle"),
    "cut off": (WHOLE[:-40], "cut off"),
    "empty": (b"", "empty"),
    "pointer": (b"version https://git-lfs.github.com/spec/v1\nsize 9\n", "git lfs pull"),
    "document": (zipped(word="<x/>"), "something else than tensors"),
    "page": (b"<!DOCTYPE html>", "something else"),
    "text": (b"hello", "something else"),
}


@pytest.mark.parametrize("kind", CONTENTS)
def test_what_a_file_is_instead_is_said_and_nobody_is_advised_to_unpickle(
    tmp_path, monkeypatch, kind
):
    monkeypatch.chdir(tmp_path)
    content, told = CONTENTS[kind]
    path = tmp_path / "weights.pt"
    path.write_bytes(content)
    with pytest.raises(Exception) as found:
        torch.load(path, weights_only=True)
    why = files.unreadable(path, found.value)
    assert told in why and "\n" not in why
    assert "weights_only" not in why and "allow_pickle" not in why and "trust" not in why
    assert not (tmp_path / "it_ran").exists()


def test_objects_in_arrays_are_a_pickle_and_a_missing_file_is_missing(tmp_path):
    path = tmp_path / "arrays.npz"
    np.savez(path, a=np.array([Runs()], dtype=object))
    with pytest.raises(ValueError) as found, np.load(path) as arrays:
        arrays["a"]
    assert "pickle of Python objects" in files.unreadable(path, found.value)
    assert "allow_pickle" not in files.unreadable(path, found.value)
    path.unlink()
    assert files.unreadable(path, ValueError("x")) == "there is no such file"


def test_an_error_fits_into_one_line():
    assert files.one_line(ValueError("two\n  lines")) == "two lines"
    assert files.one_line(KeyError("name")) == "KeyError 'name'"
    assert files.one_line(EOFError()) == "EOFError"
    assert len(files.one_line(ValueError("x" * 999))) == 200
