"""Trained weights kept in a folder: the same settings load, a killed training goes on, other
settings never overwrite.
"""

from __future__ import annotations

import os
import pathlib
import re
from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd
import torch
from safetensors.torch import load_file, save

from colab_utils import files
from colab_utils.learning import checkpoints
from colab_utils.learning.training import History, train
from colab_utils.results.runs import split_hash
from colab_utils.settings import as_dict

WEIGHTS, SUMMARY = "model.safetensors", "DONE"


def train_or_load(
    root: str | os.PathLike,
    method: str,
    name: str,
    config: Any,
    facts: Mapping[str, Any],
    split: pd.DataFrame,
    learner: Any,
    steps: int,
    *,
    every: int,
    patience: int | None,
    progress: bool = True,
    on_record: Callable[[list[dict]], None] | None = None,
    desc: str = "training",
) -> tuple[pathlib.Path, History]:
    """Give `learner` its trained weights, from `root`/trained/`method`/`name`-<12 hex> where they
    are, else by training it there.

    config: the settings that decide the weights; facts: what else does (version, labels, feature
    key, ...), plain JSON values; split: the split table, train and valid rows. learner: as
    `training.train` wants it, with its network as `.module`. The folder holds config.json,
    history.jsonl and model.safetensors, and DONE with the weights' SHA-256 last; a damaged file is
    said and trained again. Returns the folder and the history. Raises what `train` raises.
    """
    content = {"method": method, "settings": as_dict(config), **facts, "split": split_hash(split)}
    folder = (
        pathlib.Path(root)
        / "trained"
        / method
        / f"{re.sub(r'[^A-Za-z0-9.+=-]+', '-', name)[:100]}-{files.short_hash(content)}"
    )
    history = _load(folder, learner)
    if history is not None:
        print(
            f"{method}, {name}: trained before, loaded (best of {history.steps} steps:"
            f" {history.best_step})"
        )
        return folder, history
    files.write_json(folder / "config.json", content)
    history = train(
        learner,
        steps,
        folder,
        every=every,
        patience=patience,
        progress=progress,
        on_record=on_record,
        desc=desc,
        settings={"config": files.short_hash(content)},
    )
    weights = {
        key: value.detach().cpu().contiguous() for key, value in learner.module.state_dict().items()
    }
    files.write_bytes(folder / WEIGHTS, save(weights))
    files.write_json(
        folder / SUMMARY,
        {
            WEIGHTS: files.file_sha256(folder / WEIGHTS),
            "steps": history.steps,
            "best_step": history.best_step,
            "best_score": history.best_score,
            "stopped_early": history.stopped_early,
        },
    )
    checkpoints.discard(folder)
    return folder, history


def _load(folder: pathlib.Path, learner: Any) -> History | None:
    """Put the kept weights into the learner; None where there are none, or where they are damaged,
    which is said.
    """
    if not (folder / SUMMARY).exists():
        return None
    try:
        summary = files.read_json(folder / SUMMARY)
        if files.file_sha256(folder / WEIGHTS) != summary[WEIGHTS]:
            raise ValueError(f"{folder / WEIGHTS} changed since it was written")
    except (ValueError, KeyError, TypeError, OSError) as error:
        print(f"{error}: trained again")
        return None
    device = next(learner.module.parameters()).device
    with torch.no_grad():
        learner.module.load_state_dict(load_file(folder / WEIGHTS, device=str(device)))
    return History(
        files.read_jsonl(folder / "history.jsonl"),
        summary["steps"],
        summary["best_step"],
        summary["best_score"],
        summary["stopped_early"],
        summary["steps"],
    )
