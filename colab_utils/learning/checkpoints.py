"""Checkpoints that survive a kill: written beside and put in place whole, the one before is kept.

Nothing is unpickled.
"""

import io
import os
import pathlib
import pickle
import random
import zipfile
from typing import Any

import numpy as np
import torch

from colab_utils import files

NAME, PREVIOUS = "checkpoint.pt", "checkpoint.previous.pt"


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be written or belongs to another run; the message says why."""


def rng_states() -> dict[str, Any]:
    """The states of the random generators, as plain numbers and tensors.

    Those of python, numpy, torch and every CUDA device.
    """
    name, keys, position, has_gauss, cached = np.random.get_state()
    version, internal, gauss = random.getstate()
    return {
        "python": [version, list(internal), gauss],
        "numpy": [name, keys.astype(int).tolist(), position, has_gauss, cached],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_rng_states(states: dict[str, Any]) -> None:
    """Put the generators back where `rng_states` found them.

    CUDA states of another number of devices are left alone, which is said.
    """
    version, internal, gauss = states["python"]
    random.setstate((version, tuple(internal), gauss))
    name, keys, *rest = states["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), *rest))
    torch.set_rng_state(states["torch"])
    devices = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if len(states["cuda"]) == devices:
        torch.cuda.set_rng_state_all(states["cuda"])
    else:
        print(
            f"the checkpoint is from a machine with {len(states['cuda'])} GPU(s), this one has "
            f"{devices}: random numbers on the GPU start anew"
        )


def save(folder: files.AnyPath, content: dict[str, Any]) -> pathlib.Path:
    """Write checkpoint.pt; the one before becomes checkpoint.previous.pt.

    Args:
        folder: where.
        content: plain tensors, numbers, texts, lists and dicts.

    Returns:
        The path of the checkpoint.

    Raises:
        DiskFullError: the disk has no room.
    """
    path = pathlib.Path(folder) / NAME
    # torch.save to a file turns a full disk into a RuntimeError about positions
    data = io.BytesIO()
    torch.save(content, data)
    with files.replacing(path) as temporary:
        with open(temporary, "wb") as handle:
            handle.write(data.getbuffer())
        if path.exists():
            os.replace(path, path.with_name(PREVIOUS))
    return path


def check_loadable(path: pathlib.Path) -> None:
    """Raise CheckpointError where a checkpoint just written holds what cannot be loaded."""
    try:
        torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        path.unlink()
        raise CheckpointError(
            "the learner's state() holds something that is no tensor, number, text, list or dict: "
            f"{error}"
        ) from error


def load(folder: files.AnyPath) -> dict[str, Any] | None:
    """The newest whole checkpoint, tensors on the CPU; None where there is none.

    A torn one is said and the one before is taken.
    """
    otherwise = {NAME: "the checkpoint before it is taken", PREVIOUS: "training starts anew"}
    for name, what in otherwise.items():
        path = pathlib.Path(folder) / name
        if not path.exists():
            continue
        fault = _fault(path)
        if not fault:
            return torch.load(path, map_location="cpu", weights_only=True)
        print(f"{path} is torn ({fault}): {what}")
    return None


def discard(folder: files.AnyPath) -> None:
    """Remove the checkpoints of a training whose results are safe elsewhere."""
    for name in (NAME, PREVIOUS):
        (pathlib.Path(folder) / name).unlink(missing_ok=True)


def _fault(path: pathlib.Path) -> str:
    """What is wrong with the bytes of a checkpoint, "" where nothing is.

    torch.save writes a zip whose members carry checksums.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except (zipfile.BadZipFile, OSError, EOFError) as error:
        return str(error)
    return f"{damaged} fails its checksum" if damaged else ""
