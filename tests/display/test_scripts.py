"""Names in any script: a font that has their letters, one sentence where there is none."""

import hashlib
import shutil
import warnings

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager
from matplotlib.text import Text
from toy_predictions import predictions

from colab_utils.display import captions, figures, scripts, style
from colab_utils.results.metrics import summarise
from colab_utils.results.runs import Run

CHINESE = ["愤怒", "悲伤"]


def write_font(path, letters, family):
    """A font in which each of these letters is a full square."""
    pen = TTGlyphPen(None)
    for number, corner in enumerate([(0, 0), (0, 900), (900, 900), (900, 0)]):
        (pen.lineTo if number else pen.moveTo)(corner)
    pen.closePath()
    names = [".notdef", *(f"u{ord(letter):X}" for letter in letters)]
    font = FontBuilder(1000, isTTF=True)
    font.setupGlyphOrder(names)
    font.setupCharacterMap({ord(one): f"u{ord(one):X}" for one in letters})
    font.setupGlyf(dict.fromkeys(names, pen.glyph()))
    font.setupHorizontalMetrics(dict.fromkeys(names, (1000, 0)))
    font.setupHorizontalHeader(ascent=900, descent=-100)
    font.setupOS2()
    font.setupPost()
    font.setupNameTable({"familyName": family, "styleName": "Regular", "psName": "Squares"})
    font.save(path)
    return str(path)


@pytest.fixture
def installed(monkeypatch):
    """The fonts of this machine: none besides those that the test puts here."""
    fonts = []
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: list(fonts))
    monkeypatch.setattr(scripts, "_found", {})
    monkeypatch.setattr(scripts, "_told", set())
    return fonts


@pytest.fixture
def chinese_font(tmp_path):
    return write_font(tmp_path / "Squares.ttf", "愤怒悲伤", "Squares of a test")


def matrix(labels):
    data = predictions(labels, n=12, n_speakers=3)
    return figures.confusion_matrix_figure(data, summarise(data, labels))


def pixels(figure):
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba()).copy()


def test_letters_are_drawn_in_a_font_that_has_them(installed, chinese_font, capsys, tmp_path):
    installed.append(chinese_font)
    figure = matrix(CHINESE)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "Glyph")
        png, pdf, svg, _ = style.save_figure(figure, tmp_path / "matrix")
    for label in (*figure.axes[0].get_xticklabels(), *figure.axes[0].get_yticklabels()):
        assert label.get_fontfamily() == [scripts.FONT, "Squares of a test"]
    assert figure.axes[0].xaxis.label.get_fontfamily() == [scripts.FONT], "it needs no other"
    for letter in "愤怒悲伤":
        assert f"Squares-{ord(letter):x}" in svg.read_text()
    assert b"Squares" in pdf.read_bytes()
    assert "No installed font" not in capsys.readouterr().out


def test_the_font_is_what_is_seen(installed, chinese_font):
    boxes = pixels(matrix(CHINESE))
    installed.append(chinese_font)
    squares = pixels(matrix(CHINESE))
    assert boxes.shape == squares.shape
    assert (squares < 100).sum() > (boxes < 100).sum(), "full squares are darker than boxes"


def test_without_a_font_one_sentence_says_what_to_install(installed, capsys, tmp_path):
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "Glyph|Matplotlib currently")
        for _ in range(2):
            style.save_figure(matrix(CHINESE), tmp_path / "matrix")
    (said,) = capsys.readouterr().out.splitlines()
    assert all(letter in said for letter in "愤怒悲伤")
    assert "apt-get -qq install fonts-noto-cjk" in said and "run the cell again" in said


@pytest.mark.parametrize(
    ("name", "package"),
    [
        ("うれしい", "fonts-noto-cjk"),
        ("화남", "fonts-noto-cjk"),
        ("गुस्सा", "fonts-noto-core"),
        ("โกรธ", "fonts-noto-core"),
        ("🤬", "fonts-symbola"),
    ],
)
def test_each_script_has_its_package(installed, capsys, name, package):
    with scripts.readable(matrix([name, "neutral"])) as lacking:
        assert set(lacking) == set(name)
    said = capsys.readouterr().out
    assert said.count("fonts-") == 1 and package in said


def test_a_matrix_with_boxes_is_drawn_again_once_there_is_a_font(installed, chinese_font, tmp_path):
    data = predictions(CHINESE, n=12, n_speakers=3)
    figure = matrix(CHINESE)
    run = Run(tmp_path, {}, data)
    (tmp_path / "confusion_matrix.csv").touch()
    assert not figures.is_drawn(run)
    style.save_figure(figure, tmp_path / "confusion_matrix")
    assert not figures.is_drawn(run)
    installed.append(chinese_font)
    style.save_figure(matrix(CHINESE), tmp_path / "confusion_matrix")
    assert figures.is_drawn(run)


def test_figures_of_latin_names_ask_for_no_font(installed, monkeypatch, tmp_path):
    def searched():
        raise AssertionError("fonts were looked for")

    monkeypatch.setattr(font_manager, "findSystemFonts", searched)
    saved = []
    for hook in (scripts.readable, None):
        if hook is None:
            monkeypatch.delattr(style.SuiteFigure, "draw")
        paths = style.save_figure(matrix(["Ärger", "θυμός", "$x$"]), tmp_path / "matrix")
        saved.append([hashlib.sha256(path.read_bytes()).hexdigest() for path in paths])
    assert saved[0] == saved[1]


def test_a_file_that_is_no_font_is_passed_over(installed, chinese_font, tmp_path, capsys):
    broken = tmp_path / "A-Regular.ttf"
    broken.write_bytes(b"no font")
    shutil.copy(chinese_font, tmp_path / "cut.ttf")
    (tmp_path / "cut.ttf").write_bytes((tmp_path / "cut.ttf").read_bytes()[:100])
    installed.extend([str(broken), str(tmp_path / "cut.ttf"), chinese_font])
    matrix(CHINESE).canvas.draw()
    assert not capsys.readouterr().out


# in the order in which they are drawn, letter by letter; forms as Unicode's charts name them
TURNED = {
    "anger": "anger",
    "שמחה": "החמש",
    "כעס 2": "2 סעכ",
    "(שמחה)": "(החמש)",
    "EmoDB, שמחה: 12 clips": "EmoDB, החמש: 12 clips",
    # initial ghain, medial dad, final beh
    "غضب": "\ufe90\ufec0\ufecf",
    # initial hah, final zain (which joins nothing after it), isolated noon
    "حزن": "\ufee5\ufeb0\ufea3",
    # lam and alef are one sign
    "لا": "\ufefb",
    "سلام 12": "12 \ufee1\ufefc\ufeb3",
    # marks stay behind their letter and join nothing
    "بَب": "\ufe90\ufe91\u064e",
}


@pytest.mark.parametrize("text", TURNED)
def test_words_from_right_to_left(text):
    found = scripts.turned(text)
    assert found.removeprefix("\u202d") == TURNED[text]
    assert scripts.turned(found) == found, "a figure is drawn several times"


def test_labels_are_turned_once_however_often_a_figure_is_drawn(installed):
    figure = matrix(["שמחה", "כעס"])
    for _ in range(3):
        figure.canvas.draw()
    named = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert named == [scripts.turned("שמחה"), scripts.turned("כעס")]
    texts = [text.get_text() for text in figure.findobj(Text)]
    assert "Predicted emotion" in texts


def test_wide_signs_count_as_two():
    assert captions.longest(["abc", "愤怒", "화남!"]) == 5
    assert captions.wrap("愤愤愤愤 怒怒怒怒", 10 * 0.58 * 8 / 72, 8) == ["愤愤愤愤", "怒怒怒怒"]
