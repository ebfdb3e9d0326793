"""Names in any script: a font for what the suite's font lacks, and letters from right to left.

Matplotlib draws letters one by one from left to right. Arabic letters are joined here, Hebrew and
Arabic words turned round; what else needs shaping (the conjuncts of Devanagari) stays unjoined.
"""

import contextlib
import functools
import pathlib
import re
import unicodedata
import warnings
from collections.abc import Iterator

from matplotlib import font_manager, ft2font
from matplotlib.figure import Figure
from matplotlib.text import Text

FONT = "DejaVu Sans"  # comes with matplotlib
_TURNED = (
    "\u202d"  # "from left to right, whatever these letters are": stands before what was turned
)
_RIGHT = "[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]"  # Hebrew, Arabic and their neighbours
# from the first of such letters to the last, and a number behind
_RUN = re.compile(rf"{_RIGHT}(?:(?:(?!\n)[\W\d_])*{_RIGHT})*(?:[ _-]?\d+)?")
_MARKS = "\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06ed"
_PIECE = re.compile(rf"\d+(?:[.,:]\d+)*|.[{_MARKS}]*")  # what keeps its order
_LETTER = re.compile("\u0644[\u0622\u0623\u0625\u0627]|.")  # lam and alef are one sign
# of a letter that joins the one before it, and the one after
_FORMS = {
    (False, False): "isolated",
    (False, True): "initial",
    (True, True): "medial",
    (True, False): "final",
}
_MIRRORED = str.maketrans("()[]{}<>«»", ")(][}{><»«")
_found: dict[str, str] = {}  # the font of a character
_told: set[str] = set()  # characters that nothing was found for


@contextlib.contextmanager
def readable(figure: Figure) -> Iterator[str]:
    """Draw a figure inside of this: all its letters have a font, where one is installed.

    Letters without a font are drawn as boxes; one sentence says once what to install.

    Args:
        figure: its texts get the fonts, and are turned where they run from right to left.

    Yields:
        The letters without a font.
    """
    _turn(figure)
    texts = figure.findobj(Text)
    strange = _unknown("".join(text.get_text() for text in texts))
    fonts = {one: font for one in strange if (font := _font_with(one))}
    for text in texts:
        needed = {fonts[one] for one in text.get_text() if one in fonts}
        given = text.get_fontfamily()
        if more := sorted(needed.difference(given)):
            text.set_fontfamily([*given, *more])
    lacking = "".join(one for one in strange if one not in fonts)
    _tell(lacking)
    with warnings.catch_warnings():
        if lacking:
            warnings.filterwarnings(
                "ignore", "(Glyph .* missing from|Matplotlib currently does not support)"
            )
        yield lacking


def turned(text: str) -> str:
    """`text` in the order and the forms in which it is drawn letter by letter.

    Hebrew and Arabic words (with their numbers and brackets) stand from right to left, Arabic
    letters are joined; a text without such letters, or one that was turned before, is as it was.
    """
    if not re.search(_RIGHT, text) or _TURNED in text or hasattr(ft2font, "__libraqm_version__"):
        return text
    lines = []
    for line in text.split("\n"):
        alone = not any(unicodedata.bidirectional(letter) == "L" for letter in line)
        lines.append(_reversed(line) if alone else _RUN.sub(lambda run: _reversed(run[0]), line))
    return _TURNED + "\n".join(lines)


def _reversed(run: str) -> str:
    """Letters from right to left in the order from left to right; numbers stay as they are."""
    return "".join(reversed(_PIECE.findall(_joined(run)))).translate(_MIRRORED)


def _joined(run: str) -> str:
    """Arabic letters in the form that their neighbours ask for, marks left out of account."""
    pieces = _LETTER.findall(run)
    letters = []
    for place, piece in enumerate(pieces):
        if not unicodedata.combining(piece[0]):
            letters.append(place)
    forms = [_forms().get(pieces[place], {}) for place in letters]
    around = [{}, *forms, {}]
    for number, place in enumerate(letters):
        before, mine, after = around[number : number + 3]
        back = "initial" in before and "final" in mine
        on = "initial" in mine and "final" in after
        form = _FORMS[back, on]
        if form in mine:
            pieces[place] = mine[form]
    return "".join(pieces)


@functools.cache
def _forms() -> dict[str, dict[str, str]]:
    """The forms of each Arabic letter, from Unicode's own table of them."""
    found: dict[str, dict[str, str]] = {}
    for code in (*range(0xFB50, 0xFDFC), *range(0xFE80, 0xFEFD)):
        sign = chr(code)
        made_of = unicodedata.decomposition(sign)  # such as "<initial> 0628"
        if not made_of or not _is_known(sign):
            continue
        form, *codes = made_of.split()
        letters = [chr(int(one, 16)) for one in codes]
        forms = found.setdefault("".join(letters), {})
        forms[form.strip("<>")] = sign
    return found


def _turn(figure: Figure) -> None:
    """Turn the texts of a figure, those at the ticks of its axes as well."""
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            names = [label.get_text() for label in axis.get_ticklabels()]
            if any(turned(name) != name for name in names):
                axis.set_ticks(axis.get_ticklocs(), [turned(name) for name in names])
    for text in figure.findobj(Text):
        if turned(text.get_text()) != text.get_text():
            text.set_text(turned(text.get_text()))


def _unknown(text: str) -> str:
    """The characters of `text` that the suite's font lacks, each once, in order."""
    return "".join(one for one in dict.fromkeys(text) if not _is_known(one))


@functools.cache
def _is_known(character: str) -> bool:
    """Whether the suite's font has a character, or nothing is drawn for it."""
    place = font_manager.findfont(font_manager.FontProperties(family=[FONT]))
    known = font_manager.get_font(place).get_char_index(ord(character))
    return bool(known) or character.isspace()


def _font_with(character: str) -> str | None:
    """The name of an installed font that has a character; matplotlib then knows of it."""
    if character not in _found:
        for path in sorted(font_manager.findSystemFonts(), key=_plainness):
            with contextlib.suppress(OSError, RuntimeError):  # no font that can be read
                font = ft2font.FT2Font(path)
                if font.scalable and font.get_char_index(ord(character)):
                    font_manager.fontManager.addfont(path)
                    _found[character] = font.family_name
                    break
    return _found.get(character)


def _plainness(path: str) -> tuple:
    """Sorts fonts: sans serif and regular ones first; those that hold nothing but boxes last."""
    name = pathlib.Path(path).stem.lower()
    boxes = "lastresort" in name or "blank" in name
    return boxes, "serif" in name or "mono" in name, "regular" not in name, name


def _tell(lacking: str) -> None:
    """Say, once for each letter, that it has no font, and what to install."""
    new = "".join(one for one in lacking if one not in _told)
    if not new:
        return
    _told.update(new)
    packages = " ".join(sorted({_package(one) for one in new}))
    print(
        f"No installed font has {' '.join(new[:10])}{' ...' * (len(new) > 10)}, so figures show"
        f" boxes: install one (on Colab: !apt-get -qq install {packages}; elsewhere Noto from"
        " fonts.google.com/noto) and run the cell again"
    )


def _package(character: str) -> str:
    """The package of Debian, Ubuntu and Colab that has a font for a character."""
    if unicodedata.category(character) == "So":
        return "fonts-symbola"
    wide = unicodedata.east_asian_width(character) in "WF"
    return "fonts-noto-cjk" if wide else "fonts-noto-core"
