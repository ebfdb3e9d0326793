"""The confusion matrix of a run: drawn for a paper column, with everything a reader needs to judge
it, and saved with its counts.
"""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from colab_utils import files
from colab_utils.display import captions
from colab_utils.display.style import (
    ONE_COLUMN,
    WIDE_COLUMN,
    SuiteFigure,
    caption_below,
    heat,
    new_figure,
    save_figure,
    suite_style,
)
from colab_utils.results import metrics as measures
from colab_utils.results.predictions import probability_columns, read_predictions
from colab_utils.results.rates import confusion

_TITLE = 7  # points


def confusion_matrix_figure(
    predictions: pd.DataFrame,
    metrics: Mapping[str, Any] | None = None,
    title: str = "",
    labels: Sequence[str] | None = None,
) -> SuiteFigure:
    """Confusion matrix of one method and rule: true emotions on y, predicted on x, per cent of the
    row and count in each cell.

    `predictions` is a table of `results.predictions`; `metrics` its metrics.json, computed here
    over `labels` when left out. Above: UAR with its interval, WA, utterances, speakers, chance and
    majority. Below: how counts were pooled, notes, and every stamp. 3.5 inches wide up to 6
    emotions, 5 inches from 7. Raises ValueError for an empty table or one with several methods or
    rules.
    """
    if predictions.empty:
        raise ValueError("no predictions: there is nothing to draw; run the method first")
    kinds = predictions[["method", "rule"]].drop_duplicates().agg(" / ".join, axis=1)
    if len(kinds) > 1:
        raise ValueError(
            f"predictions of several methods or rules ({'; '.join(kinds)}): choose one, such as"
            " predictions[predictions.rule == ...]"
        )
    metrics = summary(predictions, labels) if metrics is None else metrics
    labels = list(labels or metrics["labels"])
    counts = confusion(predictions["true"], predictions["pred"], labels)
    width = ONE_COLUMN if len(labels) <= 6 else WIDE_COLUMN
    above = [
        line
        for text in (
            title,
            captions.headline(metrics),
            captions.rates(metrics),
            captions.sample(predictions),
        )
        for line in captions.wrap(text, width, _TITLE)
    ]
    below = [
        "Cells: per cent of the true emotion, and count.",
        captions.pooling(predictions),
        *captions.notes(metrics),
    ]
    with suite_style():
        figure = new_figure(
            width, 0.36 * len(labels) + 0.045 * max(map(len, labels)) + 0.14 * len(above) + 0.5
        )
        axes = figure.subplots()
        support = counts.sum(axis=1, keepdims=True)
        share = np.divide(counts, support, out=np.zeros(counts.shape), where=support > 0)
        heat(
            axes,
            share,
            labels,
            labels,
            [
                [f"{100 * s:.0f}\u00a0%" if n else "n/a" for s in row]
                for row, n in zip(share, support, strict=True)
            ],
            counts,
        )
        axes.set(xlabel="Predicted emotion", ylabel="True emotion")
        figure.suptitle("\n".join(above), fontsize=_TITLE, linespacing=1.35)
        caption_below(figure, below, captions.stamps(predictions, metrics))
    return figure


def summary(predictions: pd.DataFrame, labels: Sequence[str] | None = None) -> dict:
    """metrics.json of a table of predictions over `labels` (default: the emotions of its p_
    columns, else those that occur).
    """
    if labels is None:
        scored = [name.removeprefix("p_") for name in probability_columns(predictions)]
        labels = scored or sorted({*predictions["true"], *predictions["pred"]})
    return measures.summarise(predictions, list(labels))


def save_confusion_matrix(run: Any, title: str | None = None) -> list[pathlib.Path]:
    """Draw a finished run's confusion matrix into its folder: confusion_matrix.png, .pdf, .svg and
    .csv (raw counts with labels).

    `run` has `.path`, a folder `<method>/<name>-<12 hex>` that holds predictions.csv and
    metrics.json. Returns the four paths. Raises ValueError as `confusion_matrix_figure`,
    FileNotFoundError, files.DiskFullError.
    """
    path = pathlib.Path(run.path)
    predictions, metrics = (
        read_predictions(path / "predictions.csv"),
        files.read_json(path / "metrics.json"),
    )
    title = (
        f"{path.parent.name}: {path.name.rpartition('-')[0] or path.name}"
        if title is None
        else title
    )
    saved = save_figure(
        confusion_matrix_figure(predictions, metrics, title), path / "confusion_matrix"
    )
    labels = metrics["labels"]
    table = pd.DataFrame(
        confusion(predictions["true"], predictions["pred"], labels), columns=labels, dtype=np.int64
    )
    table.insert(0, "true", labels)
    return [*saved, files.write_csv(path / "confusion_matrix.csv", table)]
