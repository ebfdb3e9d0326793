"""Who was in the support set: how tasks went with and without each speaker among the labelled."""

import numpy as np
import pandas as pd
from scipy import sparse

from colab_utils.results.intervals import EPISODE, of_mean
from colab_utils.results.predictions import PredictionError, validate
from colab_utils.results.rates import ratio

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


def support_speakers(split: pd.DataFrame, predictions: pd.DataFrame) -> pd.DataFrame:
    """Task accuracy with and without each support speaker.

    A speaker in the support is never in the query, so tasks without this speaker test this very
    speaker, too, and would differ by that alone: the speaker's own queries are left out on both
    sides. A method that never looks at the support has differences around 0.

    Args:
        split: rows of seed, fold, draw, task, utt_id, speaker ("<corpus>/<speaker>"), role.
        predictions: a table of `results.predictions` of the same tasks.

    Returns:
        SUPPORT_COLUMNS, rates as fractions, one row a speaker, the greatest difference first. The
        95 % intervals are over tasks (this corpus, these speakers: Student's t; of the difference
        Welch's 1947, "The generalization of 'Student's' problem", Biometrika 34(1-2), 28-35). NaN
        where fewer than two tasks are with (or without) the speaker.

    Raises:
        PredictionError: unknown speakers, predicted tasks that the split lacks, no support at all.
    """
    table = validate(predictions)
    support = split.loc[split["role"] == "support", [*EPISODE, "speaker"]].drop_duplicates()
    support = support.astype({"fold": str})
    _check(support, table)
    tasks = pd.MultiIndex.from_frame(table[EPISODE].drop_duplicates().sort_values(EPISODE))
    task_of_support = pd.MultiIndex.from_frame(support[EPISODE])
    lacking = tasks.difference(task_of_support)
    if len(lacking):
        told = ", ".join(f"{name} {value}" for name, value in zip(EPISODE, lacking[0], strict=True))
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
        tasks.get_indexer(pd.MultiIndex.from_frame(table[EPISODE])),
        speakers.get_indexer(table["corpus"] + "/" + table["speaker"]),
        (table["true"] == table["pred"]).to_numpy(),
        present.shape,
    )
    return _compared(speakers, present, accuracy)


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


def _compared(speakers: pd.Index, present: np.ndarray, accuracy: np.ndarray) -> pd.DataFrame:
    """The table of `support_speakers`.

    present, accuracy: (tasks, speakers).
    """
    table = pd.DataFrame({"speaker": speakers})
    usable = ~np.isnan(accuracy)
    variances, freedoms = [], []
    for name, members in (("with", present), ("without", ~present)):
        chosen = members & usable
        number = chosen.sum(axis=0)
        mean = ratio(np.where(chosen, accuracy, 0.0).sum(axis=0), number)
        squares = np.where(chosen, (accuracy - mean) ** 2, 0.0).sum(axis=0)
        variances.append(ratio(ratio(squares, number - 1), number))
        freedoms.append(number - 1)
        table[f"tasks_{name}"] = number
        table[f"accuracy_{name}"] = mean
        limits = of_mean(mean, variances[-1:], freedoms[-1:])
        table[f"{name}_low"], table[f"{name}_high"] = limits
    table["difference"] = table["accuracy_with"] - table["accuracy_without"]
    table["low"], table["high"] = of_mean(table["difference"], variances, freedoms, -1.0, 1.0)
    table = table.sort_values(["difference", "speaker"], ascending=[False, True], ignore_index=True)
    return table[list(SUPPORT_COLUMNS)]
