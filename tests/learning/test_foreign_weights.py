"""Files of others as checkpoints or weights: refused in one sentence, never unpickled."""

import os
import pathlib
import pickle
import zipfile

import numpy as np
import pytest
import torch
from noisy import EVERY, STEPS, Noisy, train
from safetensors.torch import save_file

from colab_utils.learning import checkpoints
from colab_utils.learning.checkpoints import CheckpointError, read_tensors

WEIGHTS = {"a": torch.ones(2, 3), "b": torch.zeros(1, dtype=torch.int64)}


class Runs:
    """Does something when it is unpickled."""

    def __reduce__(self):
        return os.system, ("touch it_ran",)


def pickled(path):
    path.write_bytes(pickle.dumps(Runs()))


def document(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("word/document.xml", "<x/>")


def cut_off(path):
    torch.save({"a": torch.zeros(500)}, path)
    path.write_bytes(path.read_bytes()[:-40])


def refused(function, *arguments):
    """The sentence of a refusal, in which nobody is advised to unpickle."""
    with pytest.raises(CheckpointError) as found:
        function(*arguments)
    told = str(found.value)
    assert "\n" not in told and "weights_only" not in told and "allow_pickle" not in told
    return told


# --- as a checkpoint of a training ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("write", "told"),
    [
        (pickled, "pickle"),
        (lambda path: torch.save(torch.nn.Linear(1, 1), path), "pickle"),
        (lambda path: torch.save({"step": Runs()}, path), "pickle"),
        (lambda path: torch.save(WEIGHTS, path), "lacks best, learner"),
        (lambda path: torch.save([1, 2], path), "lacks best, learner"),
        (document, "something else than tensors"),
        (lambda path: path.write_text("<html>"), "something else"),
    ],
)
def test_a_foreign_file_is_no_checkpoint_and_stays(tmp_path, monkeypatch, write, told):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / checkpoints.NAME
    write(path)
    before = path.read_bytes()
    said = refused(train, Noisy(), STEPS, tmp_path)
    assert str(path) in said and told in said and "run again" in said
    assert path.read_bytes() == before and not (tmp_path / "it_ran").exists()


def test_a_part_of_a_checkpoint_is_none(tmp_path):
    train(Noisy(), STEPS, tmp_path, every=EVERY)
    content = checkpoints.load(tmp_path)
    del content["rng"]
    torch.save(content, tmp_path / checkpoints.NAME)
    assert "lacks rng" in refused(train, Noisy(), STEPS, tmp_path)


def test_a_state_that_needs_unpickling_is_named_without_advice(tmp_path):
    class Odd(Noisy):
        def state(self):
            return super().state() | {"odd": pathlib.PurePosixPath("x")}

    assert "(pathlib.PurePosixPath)" in refused(train, Odd(), 10, tmp_path)


# --- as a file of weights -------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".pt", ".pth", ".bin", ""])
def test_tensors_come_back_from_every_kind_of_file(tmp_path, suffix):
    path = tmp_path / f"weights{suffix}"
    if suffix == ".npz":
        np.savez(path, **{name: value.numpy() for name, value in WEIGHTS.items()})
    elif suffix in (".safetensors", ""):
        save_file(WEIGHTS, path)
    else:
        torch.save(WEIGHTS | {"epoch": 3}, path)
    found = read_tensors(path)
    assert found.keys() == WEIGHTS.keys()
    assert all(torch.equal(found[name], value) for name, value in WEIGHTS.items())


@pytest.mark.parametrize(
    ("write", "told"),
    [
        (pickled, "pickle"),
        (lambda path: torch.save(torch.nn.Linear(1, 1), path), "pickle"),
        (cut_off, "cut off"),
        (document, "something else than tensors"),
        (lambda path: path.write_bytes(b""), "empty"),
        (lambda path: torch.save({"state_dict": WEIGHTS, "epoch": 3}, path), "state_dict, epoch"),
        (lambda path: torch.save(torch.ones(3), path), "a Tensor"),
        (lambda path: torch.save({"a": "text"}, path), "holds a and no tensors"),
        (lambda path: torch.save({"a": torch.tensor([1, torch.nan])}, path), "a holds NaN"),
        (lambda path: None, "no such file"),
    ],
)
def test_a_file_without_tensors_by_name_is_refused(tmp_path, monkeypatch, write, told):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "weights.pt"
    write(path)
    said = refused(read_tensors, path)
    assert str(path) in said and told in said
    assert not (tmp_path / "it_ran").exists()


@pytest.mark.parametrize("suffix", [".safetensors", ".npz"])
def test_a_pickle_by_another_name_is_one_too(tmp_path, monkeypatch, suffix):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / f"weights{suffix}"
    pickled(path)
    assert "pickle" in refused(read_tensors, path)
    assert not (tmp_path / "it_ran").exists()
