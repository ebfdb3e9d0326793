"""The look of every figure of the suite, and how it is saved.

Sizes fit the columns of a paper; colours survive colour blindness and grey print.
"""

import base64
import contextlib
import html
import io
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.transforms import Bbox

from colab_utils import files, session
from colab_utils.display.captions import wrap
from colab_utils.display.scripts import FONT, readable

# Inches: one, one and a half and two columns of an IEEE or ISCA page.
ONE_COLUMN, WIDE_COLUMN, TWO_COLUMNS = 3.5, 5.0, 7.16
HEAT = "Blues"  # light to dark: the order stays when printed in grey
INK, QUIET, ACCENT, WARN = "#1a1a1a", "#595959", "#0b4f8a", "#9c3d00"
# Blue, vermilion, green, purple, ochre (after Okabe and Ito 2008, "Color universal design"),
# darkened until words in them read on white (contrast 4.5). Each has a marker and a dash of its own
# besides, for colour-blind readers and grey print.
COLOURS = (ACCENT, "#b84a00", "#00735a", "#8d2f6b", "#7a5c00", INK)
MARKERS = "osD^vP"
DASHES = ((), (4, 1.2), (1.2, 1.2), (6, 1.2, 1.2, 1.2), (2.5, 1.2), (8, 2))
# Of lines that stand back; dots are kept for chance.
LEVEL_DASHES = ((6, 2), (9, 1.5, 2, 1.5), (3, 1.5), (6, 1.5, 2, 1.5, 2, 1.5), (12, 2), (2, 3))
TITLE = 7  # points
SMALLEST = 6  # points: of the caption, and of nothing less
LABEL = 6.3  # points, of the words at a line
_LINE = 1.35 / 72  # inches that a line of letters takes for each of their points
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
    "axes.spines.top": False,
    "axes.spines.right": False,
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

    Names in any script are drawn in a font that has their letters, where one is installed. Every
    figure that is shown is remembered in `session.shown`, and so is in the zip of *Download*.

    Attributes:
        name: what it is called as a file, such as "confusion matrix, EMOFSL, 5 shots"; one that
            is shown later under the same name takes its place in the zip.
        alt: its numbers in words, for who cannot see it.
        caption: what stands above and below it, in words.
        trim: inches that its caption takes below, and its title above.
    """

    name = ""
    alt = ""
    caption = ""
    trim = (0.0, 0.0)

    def draw(self, renderer: RendererBase) -> None:
        """Draw it, as matplotlib asks for it."""
        with readable(self):
            super().draw(renderer)

    @contextlib.contextmanager
    def for_print(self) -> Iterator[Bbox]:
        """Without title and caption inside of this; gives the box (inches) that is left."""
        aside = [text for text in (self._suptitle, self._supxlabel) if text is not None]
        for text in aside:
            text.set_visible(False)
        low, top = self.trim
        try:
            yield Bbox.from_extents(0, low, self.get_figwidth(), self.get_figheight() - top)
        finally:
            for text in aside:
                text.set_visible(True)

    def png(self) -> bytes:
        """The picture, as it is shown."""
        buffer = io.BytesIO()
        with suite_style():
            self.savefig(buffer, format="png", dpi=self.dpi)
        return buffer.getvalue()

    def html(self) -> str:
        """The picture and its alt text as `<img>`, which is then on the page."""
        session.shown[self.name or f"figure {len(session.shown) + 1}"] = self
        data = base64.b64encode(self.png()).decode()
        return (
            f'<img style="max-width:100%" alt="{html.escape(self.alt or self.name)}"'
            f' src="data:image/png;base64,{data}">'
        )

    def bundle(self) -> dict[str, str]:
        """What a notebook shows of it: by MIME type, for `display(..., raw=True)`.

        HTML, since no front end gives a bare picture its alt text.
        """
        return {"text/html": self.html(), "text/plain": self.alt or self.name}

    def _ipython_display_(self) -> None:
        # a method of another name would have the inline backend send a second picture
        from IPython.display import display

        display(self.bundle(), raw=True)


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


def save_figure(figure: SuiteFigure, path: str | pathlib.Path) -> list[pathlib.Path]:
    """Save the form for a paper as PNG (300 dpi), PDF and SVG, each atomically; its caption apart.

    Title and caption are cut off and stand in the text file; the stamps stay. Letters without an
    installed font are named in the PNG, as BOXES.

    Args:
        figure: of `new_figure`.
        path: without a suffix; a dot in its name is kept.

    Returns:
        The paths of .png, .pdf, .svg and .txt.

    Raises:
        DiskFullError: no room on the disk (`files`).
    """
    saved = []
    for kind, metadata in METADATA.items():
        target = pathlib.Path(f"{path}.{kind}")
        with suite_style(), readable(figure) as lacking, files.replacing(target) as temporary:
            if lacking and kind == "png":
                metadata = {BOXES: f"letters without a font: {lacking}"}
            with figure.for_print() as box:
                look = {"dpi": 300, "bbox_inches": box, "metadata": metadata}
                figure.savefig(temporary, format=kind, **look)
        saved.append(target)
    return [*saved, files.write_text(pathlib.Path(f"{path}.txt"), f"{figure.caption}\n")]


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


def guess(axes: Axes, chance: float) -> None:
    """A dotted line upwards at the rate of guessing, with its words.

    Args:
        axes: to draw on, with per cent to the right.
        chance: a fraction.
    """
    rate = 100 * chance
    axes.axvline(rate, color=QUIET, lw=0.8, ls=":", zorder=0)
    look = {"color": QUIET, "fontsize": LABEL, "textcoords": "offset points"}
    side = axes.get_xaxis_transform()
    axes.annotate(f"chance {rate:.1f}", (rate, 1), (2, 1), xycoords=side, **look)


def guess_level(axes: Axes, chance: float) -> list[str]:
    """A dotted line to the right at the rate of guessing, where it leaves the rest its room.

    Args:
        axes: to draw on, with per cent upwards; all else is drawn already.
        chance: a fraction.

    Returns:
        What the caption has to say: nothing, or that chance is below the axis, where the line would
        take more than a third of the height.
    """
    rate = 100 * chance
    low, high = axes.dataLim.intervaly
    if low - rate > (high - low) / 2:
        return [f"Chance, {rate:.1f}\u00a0%, is below the axis."]
    axes.axhline(rate, color=QUIET, lw=0.8, ls=":", zorder=0)
    look = {"color": QUIET, "fontsize": LABEL, "textcoords": "offset points", "ha": "right"}
    look["path_effects"] = [withStroke(linewidth=2, foreground="white")]
    side = axes.get_yaxis_transform()
    axes.annotate(f"chance {rate:.1f}", (1, rate), (0, 1.5), xycoords=side, **look)
    return []


def tell(
    figure: SuiteFigure,
    kind: str,
    title: str = "",
    facts: Sequence[str] = (),
    sentences: Sequence[str] = (),
    stamps: Sequence[str] = (),
    numbers: str = "",
) -> None:
    """Say what a figure is: above and below it, as the name of its file, and in words.

    Call it last. Title and facts stand above; below stand the stamps, in a warning colour, and the
    caption in small print. The figure becomes higher by what they and its legend need.

    Args:
        figure: of `new_figure`; a legend of its own is "outside upper center".
        kind: such as "confusion matrix".
        title: of what.
        facts: further lines above.
        sentences: the caption.
        stamps: `captions.stamps`.
        numbers: what the picture shows, in words, for the alt text.
    """
    figure.name = ", ".join(filter(None, (kind, title)))
    figure.alt = _text(figure.name, *facts, numbers, *stamps)
    figure.caption = _text(figure.name, *facts, *sentences, *stamps)
    width = figure.get_figwidth() - 0.1
    above = []
    for text in (title, *facts):
        above += _even(text, width)
    warned, told = _lines(stamps, width, SMALLEST), _lines(sentences, width, SMALLEST)
    top, low = _LINE * TITLE * len(above), _LINE * SMALLEST * len(told)
    stamped = low + _LINE * SMALLEST * len(warned)
    legend = 0.0
    for one in figure.legends:
        legend += one.get_window_extent().height / figure.dpi + 0.08
    height = figure.get_figheight() + top + stamped + legend
    figure.set_figheight(height)
    body = 1 - (top + stamped + legend) / height
    figure.get_layout_engine().set(rect=(0, stamped / height, 1, body))
    figure.trim = low, top
    for one in figure.legends:
        one.set_bbox_to_anchor((0, 0, 1, 1 - top / height), figure.transFigure)
    edge = 0.05 / figure.get_figwidth()
    look = {"va": "top", "linespacing": 1.3}
    small = look | {"ha": "left", "fontsize": SMALLEST}
    if above:
        figure.suptitle("\n".join(above), x=0.5, y=1 - 0.03 / height, fontsize=TITLE, **look)
        figure._suptitle.set_in_layout(False)
    if warned:
        figure.text(edge, stamped / height, "\n".join(warned), color=WARN, **small)
    if told:
        figure.supxlabel("\n".join(told), x=edge, y=low / height, color=QUIET, **small)
        figure._supxlabel.set_in_layout(False)


def _even(text: str, width: float) -> list[str]:
    """A line above a figure, broken into lines about as long as each other."""
    lines = found = wrap(text, width, TITLE)
    while len(lines) > 1 and len(found) == len(lines):
        lines, width = found, 0.96 * width
        found = wrap(text, width, TITLE)
    return lines


def _lines(sentences: Sequence[str], width: float, size: float) -> list[str]:
    """Sentences broken to `width` inches, each on a line of its own."""
    lines = []
    for sentence in sentences:
        lines += wrap(sentence, width, size)
    return lines


def _text(*parts: str) -> str:
    """Parts as sentences behind each other, the first letter a capital."""
    ended = [part if part.endswith(".") else f"{part}." for part in parts if part]
    text = " ".join(ended).replace("\n", " ")
    return text[:1].upper() + text[1:]
