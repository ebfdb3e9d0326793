"""The confusion matrix of a run, with what a reader needs to judge it, and its counts as a file."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from PIL import Image

from colab_utils.csv_files import write_csv
from colab_utils.display import captions, style
from colab_utils.results.predictions import check_one_rule
from colab_utils.results.rates import confusion
from colab_utils.results.runs import Run

_TITLE = 7  # points


def confusion_matrix_figure(
    predictions: pd.DataFrame, metrics: Mapping[str, Any], title: str = ""
) -> style.SuiteFigure:
    """Confusion matrix of one method and rule: true emotions on y, predicted on x.

    Each cell holds per cent of the row and count. Above: UAR with its interval, WA, utterances,
    speakers, chance and majority. Below: how counts were pooled, notes, and every stamp. 3.5 inches
    wide up to 6 emotions, 5 inches from 7.

    Args:
        predictions: a table of `results.predictions`.
        metrics: its metrics.json; the emotions stand in its order.
        title: above all.

    Returns:
        The figure.

    Raises:
        PredictionError: an empty table, or one of several methods or rules.

    Example:
        >>> confusion_matrix_figure(run.predictions, run.metrics, "EmoDB")
    """
    check_one_rule(predictions)
    labels = metrics["labels"]
    width = style.ONE_COLUMN if len(labels) <= 6 else style.WIDE_COLUMN
    told = (title, captions.headline(metrics), captions.rates(metrics))
    above = []
    for text in (*told, captions.sample(predictions)):
        above += captions.wrap(text, width, _TITLE)
    below = ["Cells: per cent of the true emotion, and count.", captions.pooling(predictions)]
    height = 0.36 * len(labels) + 0.045 * captions.longest(labels) + 0.14 * len(above) + 0.5
    with style.suite_style():
        figure = style.new_figure(width, height)
        axes = figure.subplots()
        draw_matrix(axes, predictions, labels, unit="\u00a0%")
        axes.set(xlabel="Predicted emotion", ylabel="True emotion")
        figure.suptitle("\n".join(above), fontsize=_TITLE, linespacing=1.35)
        marks = captions.stamps(predictions, metrics)
        style.caption_below(figure, [*below, *captions.notes(metrics)], marks)
    return figure


def draw_matrix(
    axes: Axes, predictions: pd.DataFrame, labels: Sequence[str], unit: str = ""
) -> None:
    """Draw a confusion matrix: per cent of the true emotion in each cell, and the count beneath.

    Args:
        axes: of a figure of `style.new_figure`.
        predictions: a table of `results.predictions`.
        labels: the emotions in their order; one without utterances is marked n/a.
        unit: behind each per cent.
    """
    counts = confusion(predictions["true"], predictions["pred"], labels)
    support = counts.sum(axis=1)
    share = counts / np.maximum(support, 1)[:, None]
    upper = np.array([[f"{100 * cell:.0f}{unit}" for cell in row] for row in share], dtype=object)
    upper[support == 0] = "n/a"
    lower = np.array([[f"{count:,}" for count in row] for row in counts])
    style.heat(axes, share, labels, labels, upper, lower)


def is_drawn(run: Run) -> bool:
    """Whether the confusion matrix lies in a run's folder, and all its letters had a font."""
    try:
        with Image.open(run.path / "confusion_matrix.png") as picture:
            whole = style.BOXES not in picture.info
    except OSError:
        return False
    return whole and (run.path / "confusion_matrix.csv").exists()


def save_confusion_matrix(run: Run) -> list[pathlib.Path]:
    """Draw a finished run's confusion matrix into its folder.

    Args:
        run: its folder is `<method>/<name>-<12 hex>`.

    Returns:
        The paths of confusion_matrix.png, .pdf, .svg and .csv (raw counts with labels).

    Raises:
        PredictionError: as `confusion_matrix_figure`.
        RunError: the run is not finished.
        DiskFullError: no room on the disk (`files`).
    """
    predictions, metrics = run.predictions, run.metrics
    title = f"{run.path.parent.name}: {run.path.name.rpartition('-')[0] or run.path.name}"
    figure = confusion_matrix_figure(predictions, metrics, title)
    saved = style.save_figure(figure, run.path / "confusion_matrix")
    labels = metrics["labels"]
    counts = confusion(predictions["true"], predictions["pred"], labels)
    table = pd.DataFrame(counts, columns=labels)
    table.insert(0, "true", labels, allow_duplicates=True)  # an emotion may be called so
    return [*saved, write_csv(run.path / "confusion_matrix.csv", table)]
