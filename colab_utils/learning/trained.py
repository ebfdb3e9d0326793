"""Trained weights kept in a folder: the same settings load, a killed training goes on.

Other settings never overwrite.
"""

import pathlib
import re
from collections.abc import Mapping
from typing import Any

import pandas as pd
import torch
from safetensors.torch import load_file, save

from colab_utils import files
from colab_utils.drive.memory import Memory
from colab_utils.learning import checkpoints
from colab_utils.learning.training import History, train
from colab_utils.results.runs import split_hash
from colab_utils.settings import as_dict

WEIGHTS, SUMMARY = "model.safetensors", "DONE"


def train_or_load(
    memory: Memory,
    method: str,
    name: str,
    config: Any,
    facts: Mapping[str, Any],
    split: pd.DataFrame,
    learner: Any,
    steps: int,
    **how: Any,
) -> tuple[pathlib.Path, History]:
    """Give a learner its trained weights: those in its folder, those on Drive, or by training it.

    `root`/trained/`method`/`name`-<12 hex> holds config.json, history.jsonl, model.safetensors, and
    DONE with the weights' SHA-256 last. A damaged file is said and trained again. Of two calls for
    one training the second waits and loads. What is finished goes to Drive at once, a checkpoint
    every few minutes.

    Args:
        memory: the workspace, here and on Drive.
        method: the room.
        name: what a person calls the training.
        config: the settings that decide the weights.
        facts: what else does (version, labels, feature key, ...), plain JSON values.
        split: the split table, train and valid rows.
        learner: as `training.train` wants it, with its network as `.module`.
        steps: how many.
        **how: every, patience, progress, on_record, desc of `training.train`.

    Returns:
        The folder and what happened.

    Raises:
        Interrupted, TrainingError, CheckpointError, DiskFullError: as `training.train`.
    """
    content = {"method": method, "settings": as_dict(config), **facts, "split": split_hash(split)}
    mark = files.short_hash(content)
    slug = re.sub(r"[^A-Za-z0-9.+=-]+", "-", name)[:100]
    folder = memory.root / "trained" / method / f"{slug}-{mark}"

    def saved(stopped: bool) -> None:
        memory.keep(folder, finished=False, now=stopped)

    with files.alone(folder, "making the same training"):
        memory.bring(folder, SUMMARY, started=(folder / checkpoints.NAME).exists())
        history = _load(folder, learner)
        if history is not None:
            best = f"best of {history.steps} steps: {history.best_step}"
            print(f"{method}, {name}: trained before, loaded ({best})")
            return folder, history
        files.write_json(folder / "config.json", content)
        history = train(learner, steps, folder, settings={"config": mark}, on_saved=saved, **how)
        _keep(folder, learner, history)
        memory.keep(folder, finished=True)
    return folder, history


def _keep(folder: pathlib.Path, learner: Any, history: History) -> None:
    """Write the weights, then DONE that vouches for them; the checkpoints go."""
    weights = {}
    for key, value in learner.module.state_dict().items():
        weights[key] = value.detach().cpu().contiguous()
    files.write_bytes(folder / WEIGHTS, save(weights))
    summary = {
        WEIGHTS: files.file_sha256(folder / WEIGHTS),
        "steps": history.steps,
        "best_step": history.best_step,
        "best_score": history.best_score,
        "stopped_early": history.stopped_early,
    }
    files.write_json(folder / SUMMARY, summary)
    checkpoints.discard(folder)


def _load(folder: pathlib.Path, learner: Any) -> History | None:
    """Put the kept weights into the learner, and tell of their training.

    None where there are none, or where they are damaged, which is said.
    """
    if not (folder / SUMMARY).exists():
        return None
    try:
        summary = files.read_json(folder / SUMMARY)
        if files.file_sha256(folder / WEIGHTS) != summary.pop(WEIGHTS):
            raise ValueError(f"{folder / WEIGHTS} changed since it was written")
        device = next(learner.module.parameters()).device
        weights = load_file(folder / WEIGHTS, device=str(device))
        # first, since loading copies what fits before it refuses the rest
        if _shapes(weights) != _shapes(learner.module.state_dict()):
            raise ValueError("its weights are another network's")
        learner.module.load_state_dict(weights)
    except (ValueError, LookupError, TypeError, AttributeError, OSError, RuntimeError) as error:
        print(f"{folder.name} cannot be loaded ({files.one_line(error)}): trained again")
        return None
    records = files.read_jsonl(folder / "history.jsonl")
    return History(records, **summary, resumed_from=summary["steps"])


def _shapes(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Size]:
    """The shape of each tensor by its name."""
    return {name: value.shape for name, value in weights.items()}
