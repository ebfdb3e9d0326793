"""Recall, accuracy and F1 from confusion counts, over a fixed list of labels.

Counts have the true label by row and the predicted label by column. A label that does not occur
among the true labels has no recall: it is left out of the means (and listed by `summarise`),
instead of counting as 0 (scikit-learn's `recall_score(labels=...)`) or vanishing without a word
(`balanced_accuracy_score`).
"""

from collections.abc import Sequence

import numpy as np

from colab_utils.results.predictions import PredictionError


def confusion(true: Sequence[str], pred: Sequence[str], labels: Sequence[str]) -> np.ndarray:
    """Count how often each label was taken for each.

    Args:
        true: the true label of each utterance.
        pred: the predicted one.
        labels: all labels in a fixed order.

    Returns:
        int64 (labels, labels): true by row, predicted by column.

    Raises:
        PredictionError: a label that is not in `labels`, or stands there twice.
    """
    size = len(labels)
    if len(set(labels)) < size:
        raise PredictionError(f"a label stands twice among {', '.join(labels)}")
    rows = _codes(true, labels, "true")
    columns = _codes(pred, labels, "predicted")
    counts = np.bincount(rows * size + columns, minlength=size * size)
    return counts.reshape(size, size)


def _codes(names: Sequence[str], labels: Sequence[str], side: str) -> np.ndarray:
    """The place of each name in `labels`. Raises PredictionError."""
    places = {label: place for place, label in enumerate(labels)}
    found = [places.get(name, -1) for name in names]
    codes = np.array(found, dtype=np.int64)
    if (codes < 0).any():
        unknown = list(names)[int(np.argmax(codes < 0))]
        raise PredictionError(f"{side} label {unknown!r} is not among {', '.join(labels)}")
    return codes


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """`part` / `whole` as float64, NaN where `whole` is 0 or NaN."""
    missing = np.full(np.shape(whole), np.nan)
    return np.divide(part, whole, out=missing, where=np.asarray(whole) > 0)[()]


def recalls(counts: np.ndarray) -> np.ndarray:
    """Recall of each label.

    Args:
        counts: (..., labels, labels).

    Returns:
        float64 (..., labels); NaN where a label does not occur in truth.
    """
    return ratio(np.diagonal(counts, axis1=-2, axis2=-1), counts.sum(axis=-1))


def uar(counts: np.ndarray) -> np.ndarray:
    """Unweighted average recall: the mean recall of the labels that occur in truth.

    Also called UA, macro recall or balanced accuracy.

    Args:
        counts: (..., labels, labels).

    Returns:
        float64 of the leading shape, in [0, 1]; NaN for empty counts.

    Example:
        >>> uar(np.array([[8, 2], [1, 1]]))  # recalls 0.8 and 0.5
        0.65
    """
    values = recalls(counts)
    number = (~np.isnan(values)).sum(axis=-1)
    return ratio(np.nansum(values, axis=-1), number)


def wa(counts: np.ndarray) -> np.ndarray:
    """Weighted accuracy: the share of right predictions (plain accuracy).

    Args:
        counts: (..., labels, labels).

    Returns:
        float64 of the leading shape, in [0, 1]; NaN for empty counts.
    """
    return ratio(np.trace(counts, axis1=-2, axis2=-1), counts.sum(axis=(-2, -1)))


def macro_f1(counts: np.ndarray) -> np.ndarray:
    """Mean of F1 = 2 TP / (2 TP + FP + FN) over the labels that occur in truth.

    Args:
        counts: (..., labels, labels).

    Returns:
        float64 of the leading shape, in [0, 1]; NaN for empty counts.
    """
    support = counts.sum(axis=-1)
    chosen = counts.sum(axis=-2)
    hits = np.diagonal(counts, axis1=-2, axis2=-1)
    occurs = support > 0
    f1 = np.where(occurs, ratio(2 * hits, support + chosen), 0.0)
    return ratio(f1.sum(axis=-1), occurs.sum(axis=-1))
