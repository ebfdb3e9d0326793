"""Who was in the support set: how well tasks went with and without each speaker among the labelled
examples.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from colab_utils.results.intervals import interval, row_weights
from colab_utils.results.predictions import PredictionError, validate

TASK = ["seed", "fold", "draw", "task"]
SUPPORT_COLUMNS = (
    "speaker",
    "tasks_with",
    "tasks_without",
    "accuracy_with",
    "with_low",
    "with_high",
    "accuracy_without",
    "without_low",
    "without_high",
    "difference",
    "low",
    "high",
)
_UNITS = ("task", "draw", "seed")


def support_speakers(
    split: pd.DataFrame, predictions: pd.DataFrame, n_boot: int = 2000, ci_seed: int = 0
) -> pd.DataFrame:
    """Task accuracy with and without each support speaker: SUPPORT_COLUMNS, fractions, one row a
    speaker, the greatest difference first.

    split: rows of seed, fold, draw, task, utt_id, speaker ("<corpus>/<speaker>"), role;
    predictions: a results table of the same tasks. A speaker in the support is never in the query,
    so tasks without this speaker test this very speaker, too, and would differ by that alone: the
    speaker's own queries are left out on both sides. Intervals are the 95 % of resampled tasks,
    draws and seeds: this corpus, these speakers; NaN where nothing can be resampled or no task is
    with (or without) the speaker. A method that never looks at the support has differences around
    0. Raises PredictionError for unknown speakers and for predicted tasks that the split lacks.
    """
    table = validate(predictions)
    support = (
        split.loc[split["role"] == "support", [*TASK, "speaker"]]
        .astype({"fold": str})
        .drop_duplicates()
    )
    if support.empty or table.empty:
        raise PredictionError(
            "no task has a support set and predictions: pass the split and the predictions of one"
            " finished few-shot run"
        )
    if (support["speaker"] == "").any() or (table["speaker"] == "").any():
        raise PredictionError("speakers unknown: who was in the support set cannot be told")
    tasks = pd.MultiIndex.from_frame(table[TASK].drop_duplicates().sort_values(TASK))
    lacking = tasks.difference(pd.MultiIndex.from_frame(support[TASK]))
    if len(lacking):
        told = ", ".join(f"{name} {value}" for name, value in zip(TASK, lacking[0], strict=True))
        raise PredictionError(
            f"{len(lacking)} predicted task(s) have no support in the split (such as {told}): pass"
            " the split of this very run"
        )
    asked = table["corpus"] + "/" + table["speaker"]
    speakers = pd.Index(sorted(support["speaker"].unique()))
    present = np.zeros((len(tasks), len(speakers)), dtype=bool)
    rows = tasks.get_indexer(pd.MultiIndex.from_frame(support[TASK]))
    present[rows[rows >= 0], speakers.get_indexer(support["speaker"])[rows >= 0]] = True
    accuracy = _accuracy_of_others(
        tasks.get_indexer(pd.MultiIndex.from_frame(table[TASK])),
        speakers.get_indexer(asked),
        (table["true"] == table["pred"]).to_numpy(),
        present.shape,
    )
    weights = (
        row_weights(tasks.to_frame(), _UNITS, n_boot, ci_seed)
        if n_boot and len(tasks) > 1
        else np.full((1, len(tasks)), np.nan)
    )
    return _compared(speakers, present, accuracy, weights)


def _accuracy_of_others(
    task: np.ndarray, speaker: np.ndarray, hit: np.ndarray, shape: tuple[int, int]
) -> np.ndarray:
    """Accuracy of each task without the queries of each speaker, float64 (tasks, speakers); NaN
    where no query is left.

    task, speaker: codes of each prediction (speaker -1: in nobody's support); hit: whether it is
    right.
    """
    counts = np.zeros((2, *shape))
    own = speaker >= 0
    for count, what in zip(counts, (np.ones(len(hit)), hit), strict=True):
        np.add.at(count, (task[own], speaker[own]), what[own])
        count[:] = np.bincount(task, what, minlength=shape[0])[:, None] - count
    number, hits = counts
    return np.divide(hits, number, out=np.full(shape, np.nan), where=number > 0)


def _compared(
    speakers: pd.Index, present: np.ndarray, accuracy: np.ndarray, weights: np.ndarray
) -> pd.DataFrame:
    """The table of `support_speakers`: present, accuracy (tasks, speakers); weights (n_boot,
    tasks).
    """
    usable, found = ~np.isnan(accuracy), {"speaker": speakers}
    means, replicates = [], []
    for name, chosen in (("with", present & usable), ("without", ~present & usable)):
        values = np.where(chosen, accuracy, 0.0)
        means.append(_ratio(values.sum(axis=0), chosen.sum(axis=0)))
        replicates.append(_ratio(weights @ values, weights @ chosen))
        found |= {f"tasks_{name}": chosen.sum(axis=0), f"accuracy_{name}": means[-1]}
        found |= dict(zip((f"{name}_low", f"{name}_high"), interval(replicates[-1]), strict=True))
    low, high = interval(replicates[0] - replicates[1])
    table = pd.DataFrame({**found, "difference": means[0] - means[1], "low": low, "high": high})[
        list(SUPPORT_COLUMNS)
    ]
    return table.sort_values(["difference", "speaker"], ascending=[False, True], ignore_index=True)


def _ratio(total: np.ndarray, number: np.ndarray) -> np.ndarray:
    """Total / number, NaN where number is 0 (or NaN)."""
    return np.divide(total, number, out=np.full(np.shape(total), np.nan), where=number > 0)
