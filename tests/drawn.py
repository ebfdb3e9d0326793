"""What tests of figures ask of a figure: its words, its lines, and that nothing is cut off."""

import matplotlib
import matplotlib.pyplot as plt
from matplotlib.colors import to_rgb

from colab_utils.display import style


def words(figure):
    """All text of a figure, line breaks and hard spaces as spaces."""
    return (
        " ".join(t.get_text() for t in figure.findobj(matplotlib.text.Text))
        .replace("\n", " ")
        .replace("\xa0", " ")
    )


def line(axes, label):
    return next(one for one in axes.lines if one.get_label() == label)


def assert_nothing_is_cut_off(figure):
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()
    beyond = {
        tick.label1
        for axes in figure.axes
        for axis in (axes.xaxis, axes.yaxis)
        for tick in axis.get_major_ticks()
        # made, but never drawn
        if not min(axis.get_view_interval()) <= tick.get_loc() <= max(axis.get_view_interval())
    }
    for text in figure.findobj(matplotlib.text.Text):
        if text.get_text() and text.get_visible() and text not in beyond:
            box = text.get_window_extent(renderer)
            assert (
                box.x0 >= 0
                and box.y0 >= 0
                and box.x1 <= figure.bbox.width + 0.5
                and box.y1 <= figure.bbox.height + 0.5
            ), text.get_text()


def assert_saved_exactly(make, folder):
    """Two figures that `make` gives are equal files, and pyplot knows nothing of them."""
    before, opened = dict(matplotlib.rcParams), plt.get_fignums()
    files = [folder / "a.svg", folder / "b.svg"]
    for file in files:
        with style.suite_style():
            make().savefig(file, metadata=style.METADATA["svg"])
    assert files[0].read_bytes() == files[1].read_bytes()
    assert (dict(matplotlib.rcParams), plt.get_fignums()) == (before, opened)


def contrast(one, other):
    """Contrast ratio of two colours, 1 to 21 (WCAG 2.1, relative luminance of sRGB)."""
    lights = []
    for colour in (one, other):
        linear = [
            c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)
        ]
        lights.append(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2])
    return (max(lights) + 0.05) / (min(lights) + 0.05)
