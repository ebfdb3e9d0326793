"""The look of figures: what reads on what, and that they are saved exactly."""

import re
import xml.etree.ElementTree

import matplotlib
import numpy as np
import pytest
from drawn import assert_nothing_is_cut_off, contrast, words
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from colab_utils.display import figures, style


def test_contrast_has_its_known_values():
    assert contrast("white", "black") == pytest.approx(21)
    # The well-known grey just below AA.
    assert contrast("#777777", "white") == pytest.approx(4.48, abs=0.01)


@given(st.tuples(*[st.floats(0, 1)] * 3))
def test_ink_reads_on_every_background(colour):
    assert contrast(style.ink_on(colour), colour) >= 4.5


def heat_map(shade, *more):
    with style.suite_style():
        figure = style.new_figure(3, 2)
        axes = figure.subplots()
        texts = np.array([[f"{cell:.2f}" for cell in row] for row in shade])
        figures.heat(axes, shade, ["a", "b"], ["c", "d", "e"], [texts, *more])
    figure.canvas.draw()
    return axes


def test_cells_get_darker_in_grey_print_and_their_text_reads():
    axes = heat_map(np.array([[0, 0.2, 0.4], [0.6, 0.8, 1]]))
    colours = axes.collections[0].get_facecolors()[:, :3]
    grey = colours @ [0.299, 0.587, 0.114]
    assert np.all(np.diff(grey) < 0)
    for text, colour in zip(axes.texts, colours, strict=True):
        assert contrast(text.get_color(), colour) >= 4.5


def test_cells_hold_their_texts_row_by_row():
    shade = np.array([[0, 0.2, 0.4], [0.6, 0.8, 1]])
    axes = heat_map(shade, np.array([["1", "2", "3"], ["4", "5", "6"]]))
    upper, lower = axes.texts[:6], axes.texts[6:]
    assert [text.get_text() for text in upper] == ["0.00", "0.20", "0.40", "0.60", "0.80", "1.00"]
    assert [text.get_text() for text in lower] == list("123456")
    for above, below in zip(upper, lower, strict=True):
        assert above.get_position()[0] == below.get_position()[0]
        assert above.get_window_extent().y0 >= below.get_window_extent().y1
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b"]
    assert axes.get_ylim() == (2, 0), "the first row is on top"
    assert_nothing_is_cut_off(axes.figure)


@pytest.mark.parametrize("upright", [False, True])
def test_points_stand_with_their_bars(upright):
    with style.suite_style():
        axes = style.new_figure(3, 2).subplots()
        style.points(axes, [0, 1], [0.5, 0.25], [0.4, np.nan], [0.7, np.nan], upright=upright)
        (style.guess_level if upright else style.guess)(axes, 0.2)
    points, chance = axes.lines
    places = points.get_xydata()[:, ::-1] if upright else points.get_xydata()
    assert places.tolist() == [[50, 0], [25, 1]]
    bar = axes.collections[0].get_segments()[0]
    assert bar[:, int(upright)].tolist() == pytest.approx([40, 70])
    assert chance.get_xydata()[:, int(upright)].tolist() == [20, 20]
    assert "chance 20.0" in words(axes.figure)
    assert_nothing_is_cut_off(axes.figure)


def drawn():
    """A small figure with a legend, a title, a caption and a stamp."""
    with style.suite_style():
        figure = style.new_figure(2, 1.5)
        figure.subplots().plot([1, 2], [3, 1], label="a line")
        figure.legend(loc="outside upper center")
        title = ("A title " * 9).strip()
        said = {"sentences": ["A sentence."], "stamps": ["A stamp."], "numbers": "From 3 to 1"}
        style.tell(figure, "a kind", title, **said)
    return figure


def test_title_legend_axes_stamp_and_caption_stand_below_each_other():
    figure = drawn()
    assert_nothing_is_cut_off(figure)
    (stamp,) = [text for text in figure.texts if text.get_text() == "A stamp."]
    parts = figure._suptitle, figure.legends[0], figure.axes[0], stamp, figure._supxlabel
    boxes = [part.get_window_extent() for part in parts]
    boxes[2] = figure.axes[0].get_tightbbox()
    for above, below in zip(boxes, boxes[1:], strict=False):
        assert above.y0 >= below.y1 - 0.5
    assert "A title A title" in words(figure)
    assert figure._supxlabel.get_text() == "A sentence."
    assert (stamp.get_color(), figure._supxlabel.get_color()) == (style.WARN, style.QUIET)


def test_the_axes_are_as_high_whatever_is_said():
    with style.suite_style():
        plain = style.new_figure(2, 1.5)
        plain.subplots().plot([1, 2], [3, 1], label="a line")
        style.tell(plain, "a kind")
    heights = []
    for figure in (plain, drawn()):
        figure.canvas.draw()
        heights.append(figure.axes[0].get_window_extent().height)
    assert heights[0] == pytest.approx(heights[1], abs=3)


def test_a_figure_has_a_name_its_numbers_in_words_and_its_caption_apart(tmp_path):
    figure = drawn()
    title = ("A title " * 9).strip()
    assert figure.name == f"a kind, {title}"
    assert figure.alt == f"A kind, {title}. From 3 to 1. A stamp."
    caption = style.save_figure(figure, tmp_path / "a")[-1].read_text()
    assert caption == f"A kind, {title}. A sentence. A stamp.\n"


def test_for_a_paper_title_and_caption_are_cut_off_and_the_stamp_stays(tmp_path):
    figure = drawn()
    figure.png()  # the layout moves by a hair when it is made again
    shown = figure.png()
    svg = style.save_figure(figure, tmp_path / "a")[2].read_text()
    low, top = figure.trim
    height = 72 * (figure.get_figheight() - low - top)
    assert float(re.search(r'height="([0-9.]+)pt"', svg)[1]) == pytest.approx(height, abs=0.1)
    with style.suite_style():
        bare = style.new_figure(2, 1.5)
        bare.subplots().plot([1, 2], [3, 1], label="a line")
        bare.legend(loc="outside upper center")
        style.tell(bare, "a kind", stamps=["A stamp."])
    pictures = []
    for one in (figure, bare):
        with Image.open(style.save_figure(one, tmp_path / "b")[0]) as picture:
            pictures.append(np.asarray(picture.convert("L").resize((300, 300))).astype(float))
    assert np.abs(pictures[0] - pictures[1]).mean() < 3, "as a figure without title and caption"
    assert figure.png() == shown, "shown as before"


@pytest.mark.parametrize(("lowest", "is_drawn"), [(21, True), (60, False)])
def test_chance_is_drawn_where_it_leaves_the_lines_their_room_and_said_where_not(lowest, is_drawn):
    with style.suite_style():
        axes = style.new_figure(3, 2).subplots()
        axes.plot([0, 1], [lowest, 80])
        told = style.guess_level(axes, 0.2)
    assert told == ([] if is_drawn else ["Chance, 20.0\xa0%, is below the axis."])
    assert ([20, 20] in [list(one.get_ydata()) for one in axes.lines]) == is_drawn
    assert ("chance 20.0" in words(axes.figure)) == is_drawn


def test_save_figure_is_exact_repeatable_and_atomic(tmp_path, monkeypatch):
    figure = drawn()
    saved = style.save_figure(figure, tmp_path / "a" / "matrix.v2")
    names = [f"matrix.v2.{kind}" for kind in ("png", "pdf", "svg", "txt")]
    assert [p.name for p in saved] == names
    with Image.open(saved[0]) as image:
        assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)
        height = figure.get_figheight() - sum(figure.trim)
        assert image.size == pytest.approx((300 * figure.get_figwidth(), 300 * height), abs=1)
    assert saved[1].read_bytes().startswith(b"%PDF")
    assert xml.etree.ElementTree.parse(saved[2]).getroot().tag.endswith("svg")
    before = [p.read_bytes() for p in saved]
    assert [p.read_bytes() for p in style.save_figure(drawn(), tmp_path / "b")] == before

    def half(path, **_):
        path.write_bytes(b"half")
        raise OSError("gone")

    monkeypatch.setattr(figure, "savefig", half)
    with pytest.raises(OSError, match="gone"):
        style.save_figure(figure, tmp_path / "a" / "matrix.v2")
    assert [p.read_bytes() for p in saved] == before
    assert len(list((tmp_path / "a").iterdir())) == 4


def test_a_figure_shows_itself_and_leaves_the_settings_alone():
    before = dict(matplotlib.rcParams)
    assert drawn().png().startswith(b"\x89PNG")
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize("name", [r"$\frac{x$", "cost $5 and $6", "a^b_c\\", "%s{0}", "<b>&\"'"])
def test_a_name_is_drawn_as_it_is(name):
    """No formula, which would be drawn as another text or raise."""

    def picture(**look):
        with style.suite_style():
            figure = style.new_figure(3, 2)
            axes = figure.subplots()
            axes.set_xticks([0], [name], **look)
            axes.set_title(name, **look)
            axes.text(0.1, 0.5, name, **look)
        return figure.png()

    assert picture() == picture(parse_math=False)


def test_a_name_with_an_underscore_stands_in_a_legend():
    with style.suite_style():
        figure = style.new_figure(3, 2)
        axes = figure.subplots()
        for name in ("_mine", "yours"):
            axes.plot([0, 1], label=style.legend_label(name))
        legend = figure.legend()
    assert [text.get_text().strip() for text in legend.get_texts()] == ["_mine", "yours"]
