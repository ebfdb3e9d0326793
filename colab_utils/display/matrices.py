"""Several confusion matrices side by side: methods on one task, or one method on several corpora."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from colab_utils.display import captions, style
from colab_utils.display.figures import summary
from colab_utils.results.predictions import check_one_rule
from colab_utils.results.rates import confusion

IN_A_ROW, MOST = 4, 12  # matrices
_TITLE = 6.5  # points


def confusion_matrices_figure(
    results: Mapping[str, tuple[pd.DataFrame, Mapping[str, Any] | None]],
    title: str = "",
    labels: Sequence[str] | None = None,
) -> style.SuiteFigure:
    """Confusion matrices side by side, up to IN_A_ROW in a row: true emotions on y, predicted on x,
    per cent of the row and count in each cell.

    results: {name: (predictions, metrics.json or None: computed here)}, one method and rule each.
    labels: the same for all (default: all that any of them has, in the order of the first). Over
    each matrix its name, UAR with interval, and n. One scale of shades, 0 to 100 %. A true emotion
    without utterances is marked n/a. Raises ValueError without results or with more than MOST,
    PredictionError for an empty table.
    """
    if not 0 < len(results) <= MOST:
        raise ValueError(
            f"{len(results)} confusion matrices: pass 1 to {MOST}, each with its predictions and"
            " metrics"
        )
    for name, (predictions, _) in results.items():
        check_one_rule(predictions, name)
    shown = {
        name: (predictions, summary(predictions, labels) if metrics is None else metrics)
        for name, (predictions, metrics) in results.items()
    }
    labels = list(
        labels
        or dict.fromkeys(label for _, metrics in shown.values() for label in metrics["labels"])
    )
    rows = -(-len(shown) // IN_A_ROW)
    columns = -(-len(shown) // rows)
    width = (style.ONE_COLUMN, style.WIDE_COLUMN, style.TWO_COLUMNS, style.TWO_COLUMNS)[columns - 1]
    longest = max(map(len, labels))
    with style.suite_style():
        figure = style.new_figure(width, rows * (0.32 * len(labels) + 0.045 * longest + 0.65) + 0.4)
        panels = figure.subplots(rows, columns, squeeze=False, sharey=True)
        # inches a matrix
        room = (width - 0.45 - longest * captions.CHARACTER * 7 / 72) / columns - 0.1
        for number, (axes, (name, (predictions, metrics))) in enumerate(
            zip(panels.flat, shown.items(), strict=False)
        ):
            _matrix(axes, confusion(predictions["true"], predictions["pred"], labels), labels, room)
            axes.set_title(
                "\n".join(_above(name, predictions, metrics, room)),
                fontsize=_TITLE,
                linespacing=1.3,
            )
            axes.set(
                xlabel="Predicted emotion" if number + columns >= len(shown) else "",
                ylabel="True emotion" if number % columns == 0 else "",
            )
            axes.tick_params(labelleft=number % columns == 0)
        for axes in panels.flat[len(shown) :]:
            axes.set_visible(False)
        if title:
            figure.suptitle("\n".join(captions.wrap(title, width, 8)), fontsize=8)
        style.caption_below(figure, _below(shown), captions.stamps_of_all(shown))
    return figure


def _matrix(axes: Axes, counts: np.ndarray, labels: list[str], room: float) -> None:
    """Cells with per cent and count, their letters as large as `room` inches allow: `style.heat`
    reckons with one matrix in a figure.
    """
    support = counts.sum(axis=1, keepdims=True)
    share = np.divide(counts, support, out=np.zeros(counts.shape), where=support > 0)
    upper = [
        [f"{100 * s:.0f}" if n else "n/a" for s in row]
        for row, n in zip(share, support, strict=True)
    ]
    style.heat(axes, share, labels, labels, upper, counts)
    # points
    cell = 72 * room / len(labels)
    for number, text in enumerate(axes.texts):
        text.set_fontsize(min((7, 5)[number % 2], cell / (2.6, 4)[number % 2]))
    tilted = max(map(len, labels)) * captions.CHARACTER * 7 > 0.95 * cell
    axes.set_xticks(
        range(len(labels)),
        labels,
        **({"rotation": 40, "ha": "right", "rotation_mode": "anchor"} if tilted else {}),
    )


def _above(
    name: str, predictions: pd.DataFrame, metrics: Mapping[str, Any], room: float
) -> list[str]:
    """Name, UAR with its interval, and how much data is behind it, in lines that fit `room` inches."""
    interval = metrics.get("uar_ci95")
    inside = f"{100 * interval[0]:.1f} to {100 * interval[1]:.1f}" if interval else "no interval"
    utterances, speakers = captions.sample(predictions).split(", ")
    number = f"n = {utterances}, {speakers}"
    parts = (
        [number]
        if len(captions.wrap(number, room, _TITLE)) == 1
        else [f"n = {utterances}", speakers]
    )
    return [
        line
        for text in (name, f"UAR {captions.per_cent(metrics['uar'])} ({inside})", *parts)
        for line in captions.wrap(text, room, _TITLE)
    ]


def _below(shown: Mapping[str, tuple[pd.DataFrame, Mapping[str, Any]]]) -> list[str]:
    """What the cells and brackets mean, how counts were pooled where that is the same for all, and
    notes with the names they belong to.
    """
    units = sorted({captions.interval_unit(metrics) for _, metrics in shown.values()})
    pooled = {captions.repetitions(predictions) for predictions, _ in shown.values()}
    lines = [
        "Cells: per cent of the true emotion, and count; one scale of shades, 0 to 100 %. "
        f"In brackets: 95 % interval over {' or '.join(units)}."
    ]
    if len(pooled) == 1 and any(pooled):
        lines.append(
            f"Counts are pooled over {pooled.pop()}; UAR is the mean over seeds and draws."
        )
    noted: dict[str, list[str]] = {}
    for name, (_, metrics) in shown.items():
        for note in captions.notes(metrics):
            noted.setdefault(note, []).append(name)
    return lines + [
        note if len(names) == len(shown) else f"{', '.join(names)}: {note}"
        for note, names in noted.items()
    ]
