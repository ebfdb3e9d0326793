"""Recall, accuracy and F1 from confusion counts, over a fixed list of labels.

Counts have the true label by row and the predicted label by column. A label that does not occur
among the true labels has no
recall: it is left out of the means (and listed by `summarise`), instead of counting as 0
(scikit-learn's `recall_score(labels=...)`) or vanishing without a word (`balanced_accuracy_score`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from colab_utils.results.predictions import PredictionError


def confusion(true: Sequence[str], pred: Sequence[str], labels: Sequence[str]) -> np.ndarray:
    """Counts, int64 of shape (labels, labels): true by row, predicted by column.

    Raises PredictionError for a label not in `labels`.
    """
    index = pd.Index(list(labels))
    rows, columns = (
        index.get_indexer(np.asarray(true, dtype=object)),
        index.get_indexer(np.asarray(pred, dtype=object)),
    )
    for codes, names, side in ((rows, true, "true"), (columns, pred, "predicted")):
        if (codes < 0).any():
            raise PredictionError(
                f"{side} label {list(names)[int(np.argmax(codes < 0))]!r} is not among"
                f" {', '.join(labels)}"
            )
    size = len(index)
    return np.bincount(rows * size + columns, minlength=size * size).reshape(size, size)


def recalls(counts: np.ndarray) -> np.ndarray:
    """Recall per label, float64 (..., labels) from counts (..., labels, labels); NaN where a label
    does not occur in truth.
    """
    support = counts.sum(axis=-1)
    hits = np.diagonal(counts, axis1=-2, axis2=-1)
    return np.divide(hits, support, out=np.full(support.shape, np.nan), where=support > 0)


def uar(counts: np.ndarray) -> np.ndarray | float:
    """Unweighted average recall in [0, 1]: mean recall over the labels that occur in truth; NaN for
    empty counts.

    Also called UA, macro recall or balanced accuracy. counts: (..., labels, labels); the result has
    the leading shape.
    """
    values = recalls(counts)
    present = ~np.isnan(values)
    total, number = np.where(present, values, 0.0).sum(axis=-1), present.sum(axis=-1)
    return np.divide(total, number, out=np.full(total.shape, np.nan), where=number > 0)[()]


def wa(counts: np.ndarray) -> np.ndarray | float:
    """Weighted accuracy in [0, 1]: the share of right predictions (plain accuracy); NaN for empty
    counts.
    """
    total = counts.sum(axis=(-2, -1))
    hits = np.trace(counts, axis1=-2, axis2=-1)
    return np.divide(hits, total, out=np.full(np.shape(total), np.nan), where=total > 0)[()]


def macro_f1(counts: np.ndarray) -> np.ndarray | float:
    """Mean over the labels that occur in truth of F1 = 2 TP / (2 TP + FP + FN), in [0, 1]; NaN for
    empty counts.
    """
    support, chosen = counts.sum(axis=-1), counts.sum(axis=-2)
    hits = np.diagonal(counts, axis1=-2, axis2=-1)
    f1 = np.divide(2 * hits, support + chosen, out=np.zeros(support.shape), where=support > 0)
    number = (support > 0).sum(axis=-1)
    return np.divide(
        f1.sum(axis=-1), number, out=np.full(np.shape(number), np.nan), where=number > 0
    )[()]
