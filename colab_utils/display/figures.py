"""Heat maps: the confusion matrix of a run, with what a reader needs to judge it, and its files."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn
from matplotlib.axes import Axes
from PIL import Image

from colab_utils.csv_files import write_csv
from colab_utils.display import captions, style
from colab_utils.results.predictions import check_one_rule
from colab_utils.results.rates import confusion
from colab_utils.results.runs import Run

_DARKEST = 0.62  # of the shades: darker blues swallow ink in print


def confusion_matrix_figure(
    predictions: pd.DataFrame, metrics: Mapping[str, Any], title: str = ""
) -> style.SuiteFigure:
    """Confusion matrix of one method and rule: true emotions on y, predicted on x.

    Each cell holds per cent of the row and count, as far as they fit: the counts go first, beyond
    35 emotions a scale of shades stands instead. Above: UAR with its interval, WA, utterances,
    speakers, chance and majority. Below: how counts were pooled, notes, and every stamp. 3.5 inches
    wide up to 14 emotions, two columns from 15.

    Args:
        predictions: a table of `results.predictions`.
        metrics: its metrics.json; the emotions stand in its order.
        title: above all; default: the tested corpora and the method.

    Returns:
        The figure.

    Raises:
        PredictionError: an empty table, or one of several methods or rules.

    Example:
        >>> confusion_matrix_figure(run.predictions, run.metrics, "EmoDB")
    """
    check_one_rule(predictions)
    labels = metrics["labels"]
    width = style.ONE_COLUMN if len(labels) <= 14 else style.TWO_COLUMNS
    with style.suite_style():
        figure = style.new_figure(width, matrix_height(labels, width, 0.36))
        axes = figure.subplots()
        cells = draw_matrix(axes, predictions, labels, unit="\u00a0%")
        axes.set(xlabel="Predicted emotion", ylabel="True emotion")
        pooled = captions.pooling(predictions)
        style.tell(
            figure,
            "confusion matrix",
            title or captions.subject(predictions),
            facts=[
                captions.headline(metrics),
                captions.rates(metrics),
                captions.sample(predictions),
            ],
            sentences=[cells, pooled, *captions.notes(metrics)],
            stamps=captions.stamps(predictions, metrics),
            numbers=in_words(predictions, labels),
        )
    return figure


def matrix_height(labels: Sequence[str], width: float, row: float) -> float:
    """Inches of a matrix `width` inches wide with its names; a row has `row` inches if few."""
    rows = min(row * len(labels), width)
    return rows + 0.045 * captions.longest(labels) + 0.5


def draw_matrix(
    axes: Axes, predictions: pd.DataFrame, labels: Sequence[str], unit: str = ""
) -> str:
    """Draw a confusion matrix: per cent of the true emotion in each cell, and the count beneath.

    Args:
        axes: of a figure of `style.new_figure`.
        predictions: a table of `results.predictions`.
        labels: the emotions in their order; one without utterances is marked n/a.
        unit: behind each per cent, where there is room.

    Returns:
        What the cells hold, for the caption.
    """
    counts = confusion(predictions["true"], predictions["pred"], labels)
    share = _shares(counts)
    room = cell_width(axes, labels, len(labels))
    told = np.array([[f"{100 * cell:.0f}" for cell in row] for row in share], dtype=object)
    if fitting(told + unit, room, 7) >= style.SMALLEST:
        told = told + unit
    told[counts.sum(axis=1) == 0] = "n/a"
    number = np.array([[f"{count:,}" for count in row] for row in counts], dtype=object)
    drawn = heat(axes, share, labels, labels, [told, number])
    if all(drawn):
        return "Cells: per cent of the true emotion, and count."
    return "Cells: per cent of the true emotion; the counts are in the CSV."


def in_words(predictions: pd.DataFrame, labels: Sequence[str]) -> str:
    """A confusion matrix in words: each recall, and what the emotion was most often taken for."""
    counts = confusion(predictions["true"], predictions["pred"], labels)
    told = []
    for place, (label, row) in enumerate(zip(labels, _shares(counts), strict=True)):
        wrong = np.where(np.arange(len(labels)) == place, 0, row)
        text = f"{label} {100 * row[place]:.0f} %"
        if wrong.any():
            text += f" (else mostly {labels[wrong.argmax()]}, {100 * wrong.max():.0f} %)"
        told.append(text)
    return f"Recognised: {', '.join(told)}."


def _shares(counts: np.ndarray) -> np.ndarray:
    """Counts over the sum of their row; 0 where that is 0."""
    return counts / np.maximum(counts.sum(axis=1), 1)[:, None]


def heat(
    axes: Axes,
    shade: np.ndarray,
    rows: Sequence[str],
    columns: Sequence[str],
    layers: Sequence[np.ndarray],
) -> list[bool]:
    """Draw a heat map with texts in its cells, as far as they fit at style.SMALLEST points.

    Column names are tilted where they would touch. Without any text a scale of shades stands
    beside it.

    Args:
        axes: of a figure of `style.new_figure`.
        shade: (rows, columns), 0 (white) to 1.
        rows: names of the rows.
        columns: names of the columns.
        layers: one or two texts of each cell, the second below the first in smaller letters.

    Returns:
        Of each layer, whether it was drawn.
    """
    cell = cell_width(axes, rows, len(columns))
    sizes = [fitting(texts, cell, most) for texts, most in zip(layers, (7, 6), strict=False)]
    drawn = np.cumprod(np.greater_equal(sizes, style.SMALLEST)).astype(bool)
    seaborn.heatmap(
        shade,
        vmin=0,
        vmax=1 / _DARKEST,
        cmap=style.HEAT,
        cbar=False,
        linewidths=min(0.8, cell / 12),
        ax=axes,
    )
    if not drawn[0]:
        scale = axes.figure.colorbar(axes.collections[0], ax=axes, shrink=0.5, pad=0.01)
        scale.ax.set(ylim=(0, 1), yticks=[0, 1], yticklabels=["0 %", "100 %"])
        scale.outline.set_visible(False)
    for number, texts in enumerate(np.array(layers, dtype=object)[drawn]):
        y, side = (0.58, "top") if number else (0.5, "bottom" if drawn[1:].any() else "center")
        for (row, column), text in np.ndenumerate(texts):
            at = column + 0.5, row + y
            axes.text(*at, text, ha="center", va=side, fontsize=sizes[number], color="black")
    size = min(7, max(style.SMALLEST, cell))
    tilted = captions.longest(columns) * captions.CHARACTER * size > 0.95 * cell
    steep = 90 if cell < 11 else 40
    look = {"rotation": steep, "ha": "center" if steep == 90 else "right"}
    look = look | {"rotation_mode": "anchor" if steep == 40 else "default"} if tilted else {}
    axes.set_xticks(np.arange(len(columns)) + 0.5, columns, fontsize=size, **look)
    axes.set_yticks(np.arange(len(rows)) + 0.5, rows, rotation=0, fontsize=size)
    axes.tick_params(length=0)
    return drawn.tolist()


def cell_width(axes: Axes, rows: Sequence[str], columns: int) -> float:
    """How wide a cell of a heat map will be, in points, before it is drawn.

    Args:
        axes: share the width of the figure with the others of their row.
        rows: names of the rows.
        columns: how many.
    """
    inches = (
        axes.figure.get_figwidth() - 0.45 - captions.longest(rows) * captions.CHARACTER * 7 / 72
    )
    beside = axes.get_subplotspec().get_gridspec().ncols
    return 72 * (inches / beside - 0.1 * (beside > 1)) / columns


def fitting(texts: np.ndarray, cell: float, most: float) -> float:
    """The size, up to `most` points, at which the longest text fits a cell `cell` points wide."""
    return min(most, 0.92 * cell / (0.64 * max(map(len, np.ravel(texts)))))


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
        The paths of confusion_matrix.png, .pdf, .svg, .txt (the caption) and .csv (raw counts with
        labels).

    Raises:
        PredictionError: as `confusion_matrix_figure`.
        RunError: the run is not finished.
        DiskFullError: no room on the disk (`files`).
    """
    predictions, metrics = run.predictions, run.metrics
    figure = confusion_matrix_figure(predictions, metrics)
    saved = style.save_figure(figure, run.path / "confusion_matrix")
    return [*saved, write_csv(run.path / "confusion_matrix.csv", counts_table(run))]


def counts_table(run: Run) -> pd.DataFrame:
    """The counts of a finished run's confusion matrix.

    Args:
        run: of any method.

    Returns:
        A row a true emotion: its name in `true`, then a column a predicted emotion.
    """
    predictions, labels = run.predictions, run.metrics["labels"]
    counts = confusion(predictions["true"], predictions["pred"], labels)
    table = pd.DataFrame(counts, columns=labels)
    table.insert(0, "true", labels, allow_duplicates=True)  # an emotion may be called so
    return table
