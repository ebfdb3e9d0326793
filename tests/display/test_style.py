"""The look of figures: what reads on what, and that they are saved exactly."""

import xml.etree.ElementTree

import matplotlib
import numpy as np
import pytest
from drawn import assert_nothing_is_cut_off, contrast, words
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from colab_utils.display import style


def test_contrast_has_its_known_values():
    assert contrast("white", "black") == pytest.approx(21)
    # The well-known grey just below AA.
    assert contrast("#777777", "white") == pytest.approx(4.48, abs=0.01)


@given(st.tuples(*[st.floats(0, 1)] * 3))
def test_ink_reads_on_every_background(colour):
    assert contrast(style.ink_on(colour), colour) >= 4.5


def heat_map(shade, **more):
    with style.suite_style():
        figure = style.new_figure(3, 2)
        axes = figure.subplots()
        texts = np.array([[f"{cell:.2f}" for cell in row] for row in shade])
        style.heat(axes, shade, ["a", "b"], ["c", "d", "e"], texts, **more)
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
    axes = heat_map(shade, lower=np.array([["1", "2", "3"], ["4", "5", "6"]]))
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
        style.guess(axes, 0.2, upright=upright)
    points, chance = axes.lines
    places = points.get_xydata()[:, ::-1] if upright else points.get_xydata()
    assert places.tolist() == [[50, 0], [25, 1]]
    bar = axes.collections[0].get_segments()[0]
    assert bar[:, int(upright)].tolist() == pytest.approx([40, 70])
    assert chance.get_xydata()[:, int(upright)].tolist() == [20, 20]
    assert "chance 20.0" in words(axes.figure)
    assert_nothing_is_cut_off(axes.figure)


def drawn():
    """A small figure with a title and a caption."""
    with style.suite_style():
        figure = style.new_figure(2, 1.5)
        figure.subplots().plot([1, 2], [3, 1])
        style.above(figure, "A title " * 9)
        style.caption_below(figure, ["A sentence."], ["A stamp."])
    return figure


def test_title_and_caption_are_broken_to_the_width():
    assert_nothing_is_cut_off(drawn())
    assert "A title A title" in words(drawn())
    assert "A sentence. A stamp." in words(drawn())
    with style.suite_style():
        plain = style.new_figure(2, 1.5)
        style.caption_below(plain, ["A sentence."])
    assert drawn()._supxlabel.get_color() == style.WARN
    assert plain._supxlabel.get_color() == style.QUIET


def test_save_figure_is_exact_repeatable_and_atomic(tmp_path, monkeypatch):
    figure = drawn()
    saved = style.save_figure(figure, tmp_path / "a" / "matrix.v2")
    assert [p.name for p in saved] == ["matrix.v2.png", "matrix.v2.pdf", "matrix.v2.svg"]
    with Image.open(saved[0]) as image:
        assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)
        assert image.size == (round(300 * figure.get_figwidth()), int(300 * figure.get_figheight()))
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
    assert len(list((tmp_path / "a").iterdir())) == 3


def test_a_figure_shows_itself_and_leaves_the_settings_alone():
    before = dict(matplotlib.rcParams)
    assert drawn()._repr_png_().startswith(b"\x89PNG")
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
        return figure._repr_png_()

    assert picture() == picture(parse_math=False)


def test_a_name_with_an_underscore_stands_in_a_legend():
    with style.suite_style():
        figure = style.new_figure(3, 2)
        axes = figure.subplots()
        for name in ("_mine", "yours"):
            axes.plot([0, 1], label=style.legend_label(name))
        legend = figure.legend()
    assert [text.get_text().strip() for text in legend.get_texts()] == ["_mine", "yours"]
