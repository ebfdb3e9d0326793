"""What a long recording says over time: the probability of each emotion in each window."""

from collections.abc import Sequence

import matplotlib.patheffects
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from colab_utils.display import style
from colab_utils.display.style import COLOURS

_AROUND = matplotlib.patheffects.withStroke(linewidth=3.4, foreground="white")
# the line through the likeliest emotion
_SURE = {"color": COLOURS[1], "lw": 2.2, "path_effects": [_AROUND]}
_UNSURE = {"color": COLOURS[1], "lw": 0.8}
_SILENT = "#e3e3e3"


def timeline_figure(
    table: pd.DataFrame, threshold: float, marks: Sequence[str] = ()
) -> style.SuiteFigure:
    """The windows of one recording: a row for each emotion, darker where it is more probable.

    The likeliest emotion is marked by a line: thick where it is certain, thin where it is not. At
    the right stands how much of the time each emotion is the likeliest, over the windows with a
    signal.

    Args:
        table: windows side by side, in order: file, start and end (s), emotion ("": no signal),
            uncertain (bool), and a column p_<label> (0 to 1) for each label.
        threshold: below which an emotion is uncertain, for the caption.
        marks: stamps (`captions.stamps_of_rows`).

    Returns:
        The figure.

    Raises:
        ValueError: an empty table.
    """
    if table.empty:
        raise ValueError("no windows: there is nothing to draw; label a recording first")
    columns = [name for name in table if name.startswith("p_")]
    labels = [name.removeprefix("p_") for name in columns]
    edges = [*table["start"], table["end"].iloc[-1]]
    seconds = (table["end"] - table["start"]).groupby(table["emotion"]).sum()
    shares = seconds.reindex(labels, fill_value=0.0)
    shares /= max(shares.sum(), 1e-9)
    with style.suite_style():
        figure = style.new_figure(style.TWO_COLUMNS, 0.19 * len(labels) + 0.5)
        axes = figure.subplots()
        axes.set_facecolor(_SILENT)
        values = np.ma.masked_invalid(table[columns].to_numpy(dtype=float).T)
        look = {"cmap": style.HEAT, "vmin": 0, "vmax": 1, "rasterized": True}
        mesh = axes.pcolormesh(edges, np.arange(len(labels) + 1) - 0.5, values, **look)
        _answers(axes, table, labels)
        axes.set(xlabel="Time (min:s)", ylim=(len(labels) - 0.5, -0.5))
        axes.set_yticks(range(len(labels)), labels)
        axes.tick_params(axis="y", length=0)
        axes.xaxis.set_major_locator(MaxNLocator(10, steps=[1, 1.5, 3, 6, 10]))
        axes.xaxis.set_major_formatter(FuncFormatter(clock))
        beside = {"transform": axes.get_yaxis_transform(), "va": "center"}
        for row, share in enumerate(shares):
            axes.text(1.01, row, f"{100 * share:.0f} %", fontsize=style.LABEL, **beside)
        bar = figure.colorbar(mesh, ax=axes, pad=0.06, aspect=12)
        bar.set_label("Probability")
        bar.outline.set_visible(False)
        told = [f"{name} {100 * share:.0f} %" for name, share in shares.items()]
        style.tell(
            figure,
            "timeline",
            str(table["file"].iloc[0]),
            sentences=_below(table, threshold),
            stamps=marks,
            numbers=f"{clock(edges[-1])} min; share of the time: {', '.join(told)}.",
        )
    return figure


def clock(seconds: float, _place: int = 0) -> str:
    """Seconds as 1:05 or 1:02:05, as matplotlib asks for the words at a tick."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _answers(axes: Axes, table: pd.DataFrame, labels: Sequence[str]) -> None:
    """A line through the row of the likeliest emotion, as long as it stays so."""
    runs = _runs(table)
    for uncertain, look in ((False, _SURE), (True, _UNSURE)):
        part = runs[runs["uncertain"] == uncertain]
        rows = pd.Index(labels).get_indexer(part["emotion"])
        begins, ends = part["start"], part["end"]
        axes.hlines(rows, begins, ends, **look)


def _runs(table: pd.DataFrame) -> pd.DataFrame:
    """Windows with a signal, those of one answer that follow upon each other as one."""
    answers = table[["emotion", "uncertain"]]
    differs = answers != answers.shift()
    run = differs.any(axis=1).cumsum()
    ends = {"emotion": "first", "uncertain": "first", "start": "first", "end": "last"}
    runs = table.groupby(run).agg(ends)
    return runs[runs["emotion"] != ""]


def _below(table: pd.DataFrame, threshold: float) -> list[str]:
    """The caption."""
    middle = (table["end"] - table["start"]).median()
    heard = table[table["emotion"] != ""]
    told = [
        f"Shade: probability of each emotion in windows of {middle:.3g} s. Line: the likeliest one,"
        f" thin where its probability is below {100 * threshold:.0f} % (uncertain, "
        f"{int(heard['uncertain'].sum()):,} of {len(heard):,} windows). Right: its share of the"
        " time."
    ]
    if len(heard) < len(table):
        told.append("Grey: no signal.")
    return told
