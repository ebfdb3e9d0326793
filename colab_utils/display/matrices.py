"""Several confusion matrices side by side: methods on a task, or a method on several corpora."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from colab_utils.display import captions, style
from colab_utils.display.figures import draw_matrix, in_words, matrix_height
from colab_utils.results.predictions import check_one_rule

IN_A_ROW, MOST = 4, 12  # matrices
_WIDTHS = (style.ONE_COLUMN, style.WIDE_COLUMN, style.TWO_COLUMNS, style.TWO_COLUMNS)
_TITLE = 6.5  # points


def confusion_matrices_figure(
    results: captions.Results, title: str = "", labels: Sequence[str] | None = None
) -> style.SuiteFigure:
    """Confusion matrices side by side: true emotions on y, predicted on x, one scale of shades.

    Each cell holds per cent of the row and count; a true emotion without utterances is marked n/a.
    Over each matrix: its name, UAR with interval, and n.

    Args:
        results: {name: (predictions, metrics.json)}, one method and rule each.
        title: above all.
        labels: the emotions, the same for all; None: all that any of them has.

    Returns:
        The figure, up to IN_A_ROW matrices in a row.

    Raises:
        ValueError: no results, or more than MOST.
        PredictionError: an empty table, or one of several methods or rules.

    Example:
        >>> confusion_matrices_figure({"EmoDB": (run.predictions, run.metrics)})
    """
    if not 0 < len(results) <= MOST:
        raise ValueError(
            f"{len(results)} confusion matrices: pass 1 to {MOST}, each with its predictions and"
            " metrics"
        )
    found = []
    for name, (predictions, metrics) in results.items():
        check_one_rule(predictions, name)
        found += metrics["labels"]
    with style.suite_style():
        labels = list(labels or dict.fromkeys(found))
        figure, cells = _drawn(results, labels)
        style.tell(
            figure,
            "confusion matrices",
            title,
            sentences=_below(results, cells),
            stamps=captions.stamps_of_all(results),
            numbers=_in_words(results, labels),
        )
    return figure


def _drawn(shown: captions.Results, labels: list[str]) -> tuple[style.SuiteFigure, str]:
    """The matrices, each under what it is; and what their cells hold."""
    rows = -(-len(shown) // IN_A_ROW)
    columns = -(-len(shown) // rows)
    width = _WIDTHS[columns - 1]
    room = (width - 1) / columns
    above = [_above(name, *result, room=room) for name, result in shown.items()]
    heads = 0.125 * max(map(len, above))  # inches
    height = matrix_height(labels, width / columns, 0.32) + heads
    figure = style.new_figure(width, rows * height)
    panels = figure.subplots(rows, columns, squeeze=False)
    every = zip(panels.flat, above, shown.values(), strict=False)
    for number, (axes, lines, result) in enumerate(every):
        cells = draw_matrix(axes, result[0], labels)
        axes.set_title("\n".join(lines), fontsize=_TITLE, linespacing=1.3)
        if number + columns >= len(shown):
            axes.set_xlabel("Predicted emotion")
        if number % columns == 0:
            axes.set_ylabel("True emotion")
        else:
            axes.tick_params(labelleft=False)
    for axes in panels.flat[len(shown) :]:
        axes.set_visible(False)
    return figure, cells


def _in_words(shown: captions.Results, labels: Sequence[str]) -> str:
    """The matrices one after the other."""
    told = []
    for name, (predictions, metrics) in shown.items():
        told.append(f"{name}: {captions.headline(metrics)}. {in_words(predictions, labels)}")
    return " ".join(told)


def _above(
    name: str, predictions: pd.DataFrame, metrics: Mapping[str, Any], room: float
) -> list[str]:
    """Name, UAR with its interval, and the size of the data, in lines that fit `room` inches."""
    inside = captions.span(metrics) or captions.counts(metrics)
    sample = f"n = {captions.sample(predictions)}"
    parts = [sample]
    if len(captions.wrap(sample, room, _TITLE)) > 1:
        parts = sample.split(", ")
    lines = []
    for text in (name, f"UAR {captions.per_cent(metrics['uar'])} ({inside})", *parts):
        lines += captions.wrap(text, room, _TITLE)
    return lines


def _below(shown: captions.Results, cells: str) -> list[str]:
    """What cells and brackets mean, how counts were pooled where all are alike, and the notes."""
    known = [metrics for _, metrics in shown.values() if captions.span(metrics)]
    units = sorted({captions.interval_unit(metrics) for metrics in known})
    pooled = {captions.repetitions(predictions) for predictions, _ in shown.values()}
    lines = [f"{cells} One scale of shades, 0 to 100 %."]
    if known:
        lines[0] += f" In brackets: 95 % interval over {' or '.join(units)}."
    if len(pooled) == 1 and any(pooled):
        lines.append(
            f"Counts are pooled over {pooled.pop()}; UAR is the mean over seeds and draws."
        )
    notes = {name: captions.notes(metrics) for name, (_, metrics) in shown.items()}
    return lines + captions.shared(notes)
