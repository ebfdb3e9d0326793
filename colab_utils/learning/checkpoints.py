"""Checkpoints that survive a kill: written beside and put in place whole, the one before is kept.

And tensors from files of all kinds. Nothing is unpickled.
"""

import io
import os
import pathlib
import pickle
import random
import re
import zipfile
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from colab_utils import files

NAME, PREVIOUS = "checkpoint.pt", "checkpoint.previous.pt"
# What `training.train` puts into one.
CONTENT = {"step", "stale", "best", "learner", "settings", "rng"}
TORCH = (".pt", ".pth", ".bin", ".ckpt")  # what torch.save writes is called so


class CheckpointError(RuntimeError):
    """A checkpoint or file of weights that cannot be written or read; the message says why."""


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
        # torch's text goes on to advise unpickling
        named = re.search(r"GLOBAL (\S+)", str(error))
        kind = f" ({named.group(1)})" if named else ""
        raise CheckpointError(
            "the learner's state() holds something that is no tensor, number, text, list or dict"
            f"{kind}: leave it out, or keep it as one of these"
        ) from error


def load(folder: files.AnyPath) -> dict[str, Any] | None:
    """The newest whole checkpoint, tensors on the CPU; None where there is none.

    A torn one is said and the one before is taken.

    Raises:
        CheckpointError: it is whole, but something else than a checkpoint of a training.
    """
    otherwise = {NAME: "the checkpoint before it is taken", PREVIOUS: "training starts anew"}
    for name, what in otherwise.items():
        path = pathlib.Path(folder) / name
        if not path.exists():
            continue
        fault = _fault(path)
        if not fault:
            return _checked(path)
        print(f"{path} is torn ({fault}): {what}")
    return None


def _checked(path: pathlib.Path) -> dict[str, Any]:
    """What a whole checkpoint holds. Raises CheckpointError for something else."""
    otherwise = "move it elsewhere and run again"
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of many kinds
        why = files.unreadable(path, error)
        raise CheckpointError(f"{path} is no checkpoint: {why}; {otherwise}") from error
    lacking = CONTENT - set(content) if isinstance(content, dict) else CONTENT
    if lacking:
        raise CheckpointError(
            f"{path} is no checkpoint of a training, for it lacks {', '.join(sorted(lacking))}: "
            f"{otherwise}"
        )
    return content


def read_tensors(path: files.AnyPath) -> dict[str, torch.Tensor]:
    """The tensors by name in a file of weights, on the CPU.

    Args:
        path: what numpy (.npz) or torch (`TORCH`, a `state_dict()`) saved; any other file is read
            as safetensors.

    Raises:
        CheckpointError: it cannot be read without unpickling, holds no tensors by name, or NaN.
    """
    path = pathlib.Path(path)
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                content = {name: torch.from_numpy(arrays[name]) for name in arrays}
        elif path.suffix in TORCH:
            content = torch.load(path, map_location="cpu", weights_only=True)
        else:
            content = load_file(path)
    except Exception as error:  # of many kinds
        why = files.unreadable(path, error)
        raise CheckpointError(f"{path} cannot be used, for {why}") from error
    names = list(content) if isinstance(content, dict) else []
    tensors = {name: content[name] for name in names if isinstance(content[name], torch.Tensor)}
    if not tensors:
        held = ", ".join(map(str, names[:5])) or f"a {type(content).__name__}"
        raise CheckpointError(
            f"{path} holds {held} and no tensors by name: save the state_dict() itself there"
        )
    for name, value in tensors.items():
        if not value.isfinite().all():
            raise CheckpointError(f"{path}: {name} holds NaN or infinity: give other weights")
    return tensors


def discard(folder: files.AnyPath) -> None:
    """Remove the checkpoints of a training whose results are safe elsewhere."""
    for name in (NAME, PREVIOUS):
        (pathlib.Path(folder) / name).unlink(missing_ok=True)


def _fault(path: pathlib.Path) -> str:
    """What is wrong with the bytes of a checkpoint, "" where nothing is.

    torch.save writes a zip whose members carry checksums. What begins otherwise is not torn: it is
    something else.
    """
    with open(path, "rb") as handle:
        if handle.read(1) not in (b"P", b"\0", b""):
            return ""
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except (zipfile.BadZipFile, OSError, EOFError) as error:
        return files.unreadable(path, error)
    return f"{damaged} fails its checksum" if damaged else ""
