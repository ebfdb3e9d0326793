"""The look of every figure of the suite: paper-column sizes, colours that survive colour blindness
and grey print, exact saving.
"""

from __future__ import annotations

import contextlib
import io
import pathlib
from collections.abc import Iterator, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from colab_utils import files
from colab_utils.display.captions import CHARACTER, wrap

# inches: one, one and a half and two columns of an IEEE or ISCA page
ONE_COLUMN, WIDE_COLUMN, TWO_COLUMNS = 3.5, 5.0, 7.16
# light to dark: the order stays when printed in grey
HEAT = "Blues"
INK, QUIET, ACCENT, WARN = "#1a1a1a", "#595959", "#0b4f8a", "#9c3d00"
_SMALL = 5.6  # points, of the caption below a figure
FORMATS = ("png", "pdf", "svg")
STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 7,
    "axes.titlesize": 8,
    "axes.labelsize": 7.5,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 6.5,
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


class SuiteFigure(Figure):
    """A matplotlib figure outside pyplot's registry (nothing leaks) that a notebook shows whatever
    backend is set.
    """

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        with suite_style():
            self.savefig(buffer, format="png", dpi=self.dpi)
        return buffer.getvalue()


@contextlib.contextmanager
def suite_style() -> Iterator[None]:
    """The suite's matplotlib settings for the time of a `with` block; the user's own settings are
    untouched.
    """
    with matplotlib.rc_context(STYLE):
        yield


def new_figure(width: float, height: float) -> SuiteFigure:
    """An empty figure of `width` x `height` inches with constrained layout, shown at 160 dpi.

    Call it inside `suite_style()`.
    """
    figure = SuiteFigure(figsize=(width, height), dpi=160, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def contrast(one: object, other: object) -> float:
    """Contrast ratio of two matplotlib colours, 1 to 21 (WCAG 2.1, relative luminance of sRGB; text
    needs 4.5).
    """

    def luminance(colour: object) -> float:
        linear = [
            c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)
        ]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def ink_on(background: object) -> str:
    """Black or white: whichever reads better on `background` (a matplotlib colour)."""
    return max(("black", "white"), key=lambda ink: contrast(ink, background))


def save_figure(figure: Figure, path: str | pathlib.Path) -> list[pathlib.Path]:
    """Save as `path`.png (300 dpi), .pdf and .svg, each atomically and at the figure's exact size;
    returns the three paths.

    Dates are left out of the files, so that equal figures are equal files. `path` has no suffix; a
    dot in its name is kept. Raises files.DiskFullError.
    """
    saved = []
    for kind in FORMATS:
        target = pathlib.Path(f"{path}.{kind}")
        metadata = {"pdf": {"CreationDate": None, "ModDate": None}, "svg": {"Date": None}}.get(kind)
        with suite_style(), files.replacing(target) as temporary:
            figure.savefig(temporary, format=kind, dpi=300, metadata=metadata)
        saved.append(target)
    return saved


def heat(
    axes: Axes,
    shade: np.ndarray,
    rows: Sequence[str],
    columns: Sequence[str],
    upper: Sequence[Sequence[str]],
    lower: np.ndarray | None = None,
) -> None:
    """Draw cells shaded by `shade` (rows, columns), 0 to 1, each with its text `upper` and beneath
    it the whole number `lower`.

    Text is black or white, whichever reads better on its shade (contrast at least 4.5). Column
    names are tilted where they would touch.
    """
    # darker blues swallow ink in print
    colours = matplotlib.colormaps[HEAT](0.62 * np.clip(shade, 0, 1))
    axes.imshow(colours, aspect="auto", interpolation="nearest")
    # points
    cell = (
        72
        * (axes.figure.get_figwidth() - 0.45 - max(map(len, rows)) * CHARACTER * 7 / 72)
        / len(columns)
    )
    for row, column in np.ndindex(shade.shape):
        place = {"ha": "center", "va": "center", "color": ink_on(colours[row, column])}
        axes.text(
            column,
            row - 0.15 * (lower is not None),
            upper[row][column],
            fontsize=min(7, cell / 3),
            **place,
        )
        if lower is not None:
            axes.text(
                column, row + 0.25, f"{lower[row, column]:,}", fontsize=min(5.5, cell / 4), **place
            )
    tilted = max(map(len, columns)) * CHARACTER * 7 > 0.95 * cell
    axes.set_xticks(
        range(len(columns)),
        columns,
        **({"rotation": 40, "ha": "right", "rotation_mode": "anchor"} if tilted else {}),
    )
    axes.set_yticks(range(len(rows)), rows)
    axes.set_xticks(np.arange(len(columns) - 1) + 0.5, minor=True)
    axes.set_yticks(np.arange(len(rows) - 1) + 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=0.8)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)


def caption_below(figure: Figure, sentences: Sequence[str], marks: Sequence[str] = ()) -> None:
    """Write `sentences` and, after them, the stamps `marks` in small print below a figure, broken
    to its width; higher by what they need.

    With stamps the whole caption stands in a warning colour.
    """
    lines = [
        line
        for sentence in (*sentences, *marks)
        for line in wrap(sentence, figure.get_figwidth() - 0.15, _SMALL)
    ]
    if lines:
        figure.set_figheight(figure.get_figheight() + 1.35 * _SMALL / 72 * len(lines))
        figure.supxlabel(
            "\n".join(lines),
            fontsize=_SMALL,
            x=0.02,
            ha="left",
            color=WARN if marks else QUIET,
            linespacing=1.3,
        )
