"""From the bytes of a table to its text: never garbled in silence."""

import codecs
import re
from collections.abc import Collection

# UTF-32 before UTF-16, with whose mark it begins
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_WESTERN = "cp1252"
_ASIAN = ("gb18030", "big5", "cp932", "euc_jp", "cp949")
_EUROPEAN = ("cp1251", "koi8_r", "cp1250", "cp1254", "cp1253", "cp1256", "mac_roman", "cp850")
_FEW = 1000  # lines that are looked at to tell an encoding
_BETWEEN_CELLS = re.compile(r'[,;\t|\r\n"]+')
# In Western text a foreign letter stands alone beside a plain one (here without those in whose
# place Turkish has others), in other scripts such bytes stand in runs.
_LETTER = rb"[\xc0-\xcf\xd1-\xd6\xd8-\xdc\xdf-\xef\xf1-\xf6\xf8-\xfc\xff]"
_ALONE = re.compile(
    rb"(?:[\x00-\x7f]|(?<![\x80-\xff])(?:[\x85\x91-\x97\xab\xbb]|(?<=[A-Za-z])%b|%b(?=[A-Za-z]))"
    rb"(?![\x80-\xff]))*" % (_LETTER, _LETTER)
)


class TextError(ValueError):
    """Bytes that are no text; names the line."""


def text_of(data: bytes, words: Collection[str] = ()) -> tuple[str, str]:
    """The text of a table, and what it was taken for.

    UTF-8, and UTF-16 and UTF-32, are certain. Of older encodings one is taken in which most of the
    words that may be expected are found, or cp1252 where foreign letters stand as in Western text.

    Args:
        data: of the file.
        words: what may be expected in cells, such as names of columns and of emotions, folded.

    Returns:
        The text, and "" where it is certain, an older encoding's name, or "?" where none can be
        told: then each foreign byte is a lone surrogate (PEP 383).

    Raises:
        TextError: for a damaged file, or one with NUL.
    """
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), _unmarked(data))
    told = ""
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        if encoding != "utf-8":
            line = line_of(data[: error.start].decode(encoding, "ignore"))
            raise TextError(f"line {line}: not {encoding} text; save it as CSV UTF-8") from error
        told = _older(data, words)
        text = data.decode("ascii", "surrogateescape") if told == "?" else data.decode(told)
    before, nul, _ = text.partition("\0")
    if nul:
        raise TextError(f"line {line_of(before)}: holds a NUL byte; save it as CSV UTF-8")
    return text, told


def line_of(before: str) -> int:
    """The number of the line, from 1, behind some text; a carriage return alone ends one, too."""
    return 1 + before.replace("\r\n", "\n").replace("\r", "\n").count("\n")


def _unmarked(data: bytes) -> str:
    """What a file without a mark may be: UTF-16 where every other byte tends to be 0."""
    start = data[:4096]
    even, odd = start[::2].count(0), start[1::2].count(0)
    if 8 * odd > len(start) and not even:
        return "utf-16-le"
    return "utf-16-be" if 8 * even > len(start) and not odd else "utf-8"


def _older(data: bytes, words: Collection[str]) -> str:
    """The encoding of a text that is not UTF-8; "?" where that cannot be told."""
    lines = dict.fromkeys(line for line in data.splitlines() if not line.isascii())
    foreign = b"\n".join(list(lines)[:_FEW])
    expected = {word for word in words if not word.isascii()}
    readings, hits = {}, {}
    for name in (_WESTERN, *_ASIAN, *_EUROPEAN):
        try:
            data.decode(name)
        except UnicodeDecodeError:
            continue
        readings[name] = foreign.decode(name, "replace")
        cells = _BETWEEN_CELLS.split(readings[name].casefold())
        hits[name] = len(expected.intersection(cell.strip() for cell in cells))
    most = max(hits.values(), default=0)
    best = [name for name in hits if hits[name] == most]
    if most and len({readings[name] for name in best}) == 1:
        return best[0]
    return _WESTERN if _WESTERN in best and _ALONE.fullmatch(foreign) else "?"
