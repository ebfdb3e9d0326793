"""Who was in the support set: how tasks went with and without each speaker among the labelled."""

import numpy as np
import pandas as pd
from scipy import sparse

from colab_utils.results.intervals import interval, row_weights
from colab_utils.results.predictions import PredictionError, validate
from colab_utils.results.rates import ratio

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


def support_speakers(
    split: pd.DataFrame, predictions: pd.DataFrame, n_boot: int = 2000, ci_seed: int = 0
) -> pd.DataFrame:
    """Task accuracy with and without each support speaker.

    A speaker in the support is never in the query, so tasks without this speaker test this very
    speaker, too, and would differ by that alone: the speaker's own queries are left out on both
    sides. A method that never looks at the support has differences around 0.

    Args:
        split: rows of seed, fold, draw, task, utt_id, speaker ("<corpus>/<speaker>"), role.
        predictions: a table of `results.predictions` of the same tasks.
        n_boot: resamples of tasks, draws and seeds for the 95 % intervals: this corpus, these
            speakers.
        ci_seed: their seed.

    Returns:
        SUPPORT_COLUMNS, rates as fractions, one row a speaker, the greatest difference first. NaN
        where nothing can be resampled or no task is with (or without) the speaker.

    Raises:
        PredictionError: unknown speakers, predicted tasks that the split lacks, no support at all.
    """
    table = validate(predictions)
    support = split.loc[split["role"] == "support", [*TASK, "speaker"]].drop_duplicates()
    support = support.astype({"fold": str})
    _check(support, table)
    tasks = pd.MultiIndex.from_frame(table[TASK].drop_duplicates().sort_values(TASK))
    task_of_support = pd.MultiIndex.from_frame(support[TASK])
    lacking = tasks.difference(task_of_support)
    if len(lacking):
        told = ", ".join(f"{name} {value}" for name, value in zip(TASK, lacking[0], strict=True))
        raise PredictionError(
            f"{len(lacking)} predicted task(s) have no support in the split (such as {told}): pass"
            " the split of this very run"
        )
    speakers = pd.Index(sorted(support["speaker"].unique()))
    rows = tasks.get_indexer(task_of_support)
    predicted = rows >= 0
    present = np.zeros((len(tasks), len(speakers)), dtype=bool)
    present[rows[predicted], speakers.get_indexer(support["speaker"])[predicted]] = True
    accuracy = _accuracy_of_others(
        tasks.get_indexer(pd.MultiIndex.from_frame(table[TASK])),
        speakers.get_indexer(table["corpus"] + "/" + table["speaker"]),
        (table["true"] == table["pred"]).to_numpy(),
        present.shape,
    )
    weights = np.full((1, len(tasks)), np.nan)
    if n_boot and len(tasks) > 1:
        weights = row_weights(tasks.to_frame(), ("task", "draw", "seed"), n_boot, ci_seed)
    return _compared(speakers, present, accuracy, weights)


def _check(support: pd.DataFrame, predictions: pd.DataFrame) -> None:
    """Raise PredictionError where there is nobody to compare."""
    if support.empty or predictions.empty:
        raise PredictionError(
            "no task has a support set and predictions: pass the split and the predictions of one"
            " finished few-shot run"
        )
    if (support["speaker"] == "").any() or (predictions["speaker"] == "").any():
        raise PredictionError("speakers unknown: who was in the support set cannot be told")


def _accuracy_of_others(
    task: np.ndarray, speaker: np.ndarray, hit: np.ndarray, shape: tuple[int, int]
) -> np.ndarray:
    """Accuracy of each task without the queries of each speaker; NaN where no query is left.

    task, speaker: codes of each prediction (speaker -1: in nobody's support); hit: whether it is
    right. Returns float64 of `shape` (tasks, speakers).
    """

    def of_others(values: np.ndarray) -> np.ndarray:
        of_task = np.bincount(task, values, minlength=shape[0])
        known = speaker >= 0
        places = (task[known], speaker[known])
        own = sparse.coo_array((values[known], places), shape=shape).toarray()
        return of_task[:, None] - own

    return ratio(of_others(hit.astype(float)), of_others(np.ones(len(hit))))


def _compared(
    speakers: pd.Index, present: np.ndarray, accuracy: np.ndarray, weights: np.ndarray
) -> pd.DataFrame:
    """The table of `support_speakers`.

    present, accuracy: (tasks, speakers); weights: (n_boot, tasks).
    """
    table = pd.DataFrame({"speaker": speakers})
    usable = ~np.isnan(accuracy)
    replicates = {}
    for name, members in (("with", present), ("without", ~present)):
        chosen = members & usable
        values = np.where(chosen, accuracy, 0.0)
        number = chosen.sum(axis=0)
        replicates[name] = ratio(weights @ values, weights @ chosen)
        table[f"tasks_{name}"] = number
        table[f"accuracy_{name}"] = ratio(values.sum(axis=0), number)
        table[f"{name}_low"], table[f"{name}_high"] = interval(replicates[name])
    table["difference"] = table["accuracy_with"] - table["accuracy_without"]
    table["low"], table["high"] = interval(replicates["with"] - replicates["without"])
    table = table.sort_values(["difference", "speaker"], ascending=[False, True], ignore_index=True)
    return table[list(SUPPORT_COLUMNS)]
