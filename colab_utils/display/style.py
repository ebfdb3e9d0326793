"""The look of every figure of the suite, and how it is saved.

Sizes fit the columns of a paper; colours survive colour blindness and grey print.
"""

import contextlib
import io
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import matplotlib
import numpy as np
import seaborn
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from colab_utils import files
from colab_utils.display.captions import CHARACTER, longest, wrap
from colab_utils.display.scripts import FONT, readable

# Inches: one, one and a half and two columns of an IEEE or ISCA page.
ONE_COLUMN, WIDE_COLUMN, TWO_COLUMNS = 3.5, 5.0, 7.16
HEAT = "Blues"  # light to dark: the order stays when printed in grey
_DARKEST = 0.62  # of HEAT: darker blues swallow ink in print
INK, QUIET, ACCENT, WARN = "#1a1a1a", "#595959", "#0b4f8a", "#9c3d00"
_SMALL = 5.6  # points, of the caption below a figure
LABEL = 6.3  # points, of the words at a line
STYLE = {
    "font.family": FONT,
    "font.size": 7,
    "axes.titlesize": 8,
    "axes.labelsize": 7.5,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 6.5,
    "legend.frameon": False,
    # a dollar in a name is a dollar, not the beginning of a formula
    "text.parse_math": False,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": QUIET,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "pdf.fonttype": 42,
    "svg.fonttype": "path",
    "svg.hashsalt": "colab_utils",
}
# Without dates equal figures are equal files.
METADATA = {"png": {}, "pdf": {"CreationDate": None, "ModDate": None}, "svg": {"Date": None}}
BOXES = "Comment"  # what the PNG calls its letters without a font


class SuiteFigure(Figure):
    """A figure outside pyplot's registry, which a notebook shows whatever the backend.

    Names in any script are drawn in a font that has their letters, where one is installed.
    """

    def draw(self, renderer: RendererBase) -> None:
        """Draw it, as matplotlib asks for it."""
        with readable(self):
            super().draw(renderer)

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        with suite_style():
            self.savefig(buffer, format="png", dpi=self.dpi)
        return buffer.getvalue()


@contextlib.contextmanager
def suite_style() -> Iterator[None]:
    """The suite's matplotlib settings for the time of a `with` block; the user's own stay."""
    with matplotlib.rc_context(STYLE):
        yield


def new_figure(width: float, height: float) -> SuiteFigure:
    """An empty figure with constrained layout, shown at 160 dpi.

    Call it inside `suite_style()`.

    Args:
        width: inches.
        height: inches.

    Returns:
        The figure.
    """
    figure = SuiteFigure(figsize=(width, height), dpi=160, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def ink_on(background: Any) -> str:
    """Black or white, whichever reads better on a matplotlib colour.

    Black has the higher contrast ratio (WCAG 2.1) from a relative luminance of 0.179 upwards.
    """
    colour = np.array(to_rgb(background))
    linear = np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)
    luminance = linear @ [0.2126, 0.7152, 0.0722]
    return "black" if luminance > 0.179 else "white"


def legend_label(name: str) -> str:
    """`name` for a legend: with a hair space before an underscore, which would hide it there."""
    return f"\u200a{name}" if name.startswith("_") else name


def save_figure(figure: Figure, path: str | pathlib.Path) -> list[pathlib.Path]:
    """Save as PNG (300 dpi), PDF and SVG, each atomically and at the figure's exact size.

    Letters without an installed font are named in the PNG, as BOXES.

    Args:
        figure: any.
        path: without a suffix; a dot in its name is kept.

    Returns:
        The three paths.

    Raises:
        DiskFullError: no room on the disk (`files`).
    """
    saved = []
    for kind, metadata in METADATA.items():
        target = pathlib.Path(f"{path}.{kind}")
        with suite_style(), readable(figure) as lacking, files.replacing(target) as temporary:
            if lacking and kind == "png":
                metadata = {BOXES: f"letters without a font: {lacking}"}
            figure.savefig(temporary, format=kind, dpi=300, metadata=metadata)
        saved.append(target)
    return saved


def heat(
    axes: Axes,
    shade: np.ndarray,
    rows: Sequence[str],
    columns: Sequence[str],
    upper: np.ndarray,
    lower: np.ndarray | None = None,
) -> None:
    """Draw a heat map with text in its cells.

    Letters are as large as the cells allow where the axes share the width of the figure with
    others of their row; column names are tilted where they would touch.

    Args:
        axes: of a figure of `new_figure`.
        shade: (rows, columns), 0 (white) to 1.
        rows: names of the rows.
        columns: names of the columns.
        upper: text of each cell.
        lower: text beneath it, in smaller letters.
    """
    inches = axes.figure.get_figwidth() - 0.45 - longest(rows) * CHARACTER * 7 / 72
    beside = axes.get_subplotspec().get_gridspec().ncols
    cell = 72 * (inches / beside - 0.1 * (beside > 1)) / len(columns)
    seaborn.heatmap(
        shade,
        vmin=0,
        vmax=1 / _DARKEST,
        cmap=HEAT,
        cbar=False,
        linewidths=0.8,
        annot=upper,
        fmt="",
        annot_kws={
            "color": "black",
            "fontsize": _fitting(upper, cell, 7),
            "va": "center" if lower is None else "bottom",
        },
        ax=axes,
    )
    if lower is not None:
        size = _fitting(lower, cell, 5.5)
        for (row, column), text in np.ndenumerate(lower):
            axes.text(column + 0.5, row + 0.58, text, ha="center", va="top", fontsize=size)
    tilted = longest(columns) * CHARACTER * 7 > 0.95 * cell
    look = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"} if tilted else {"rotation": 0}
    axes.set_xticks(np.arange(len(columns)) + 0.5, columns, **look)
    axes.set_yticks(np.arange(len(rows)) + 0.5, rows, rotation=0)
    axes.tick_params(length=0)


def _fitting(texts: np.ndarray, cell: float, most: float) -> float:
    """The size, up to `most` points, at which the longest text fits a cell `cell` points wide."""
    longest = max(map(len, np.ravel(texts)))
    return min(most, 0.9 * cell / (0.66 * longest))


def points(
    axes: Axes,
    at: Any,
    rate: Any,
    low: Any,
    high: Any,
    *,
    upright: bool = False,
    color: str = INK,
    lw: float = 0.9,
    **look: Any,
) -> None:
    """Draw rates as points in per cent, each with its interval as a bar.

    Args:
        axes: to draw on.
        at: the row of each point; with `upright` its place on x.
        rate: fractions.
        low: lower ends of the intervals; NaN: no bar.
        high: upper ends.
        upright: whether rates go up instead of to the right.
        color: of points and bars.
        lw: width of the bars, in points.
        **look: of the points, as of `Axes.plot`; `ls` joins them.
    """
    at, rate, low, high = (np.atleast_1d(values) for values in (at, rate, low, high))
    draw_bars = axes.vlines if upright else axes.hlines
    draw_bars(at, 100 * low, 100 * high, color=color, lw=lw)
    x, y = (at, 100 * rate) if upright else (100 * rate, at)
    axes.plot(x, y, color=color, **({"marker": "o", "ms": 4, "ls": "none"} | look))


def guess(axes: Axes, chance: float, upright: bool = False) -> None:
    """A dotted line at the rate of guessing, with its words.

    Args:
        axes: to draw on, in per cent.
        chance: a fraction.
        upright: whether rates go up instead of to the right.
    """
    rate = 100 * chance
    look = {"color": QUIET, "fontsize": LABEL, "textcoords": "offset points"}
    if upright:
        axes.axhline(rate, color=QUIET, lw=0.8, ls=":", zorder=0)
        place, side = (1, rate), axes.get_yaxis_transform()
        axes.annotate(f"chance {rate:.1f}", place, (0, 1.5), xycoords=side, ha="right", **look)
    else:
        axes.axvline(rate, color=QUIET, lw=0.8, ls=":", zorder=0)
        place, side = (rate, 1), axes.get_xaxis_transform()
        axes.annotate(f"chance {rate:.1f}", place, (2, 1), xycoords=side, **look)


def above(figure: Figure, title: str) -> None:
    """Write `title` above a figure, broken to its width."""
    if title:
        figure.suptitle("\n".join(wrap(title, figure.get_figwidth(), 8)), fontsize=8)


def caption_below(figure: Figure, sentences: Sequence[str], marks: Sequence[str] = ()) -> None:
    """Write a caption in small print below a figure, which becomes higher by what it needs.

    Args:
        figure: of `new_figure`.
        sentences: what a reader has to know; broken to the width of the figure.
        marks: stamps that stand after them (`captions.stamps`); with them the whole caption stands
            in a warning colour.
    """
    lines = []
    for sentence in (*sentences, *marks):
        lines += wrap(sentence, figure.get_figwidth() - 0.15, _SMALL)
    if not lines:
        return
    figure.set_figheight(figure.get_figheight() + 1.35 * _SMALL / 72 * len(lines))
    figure.supxlabel(
        "\n".join(lines),
        fontsize=_SMALL,
        x=0.02,
        ha="left",
        color=WARN if marks else QUIET,
        linespacing=1.3,
    )
