"""What all corpus parsers share: how a name is read or refused, and how labels are read."""

import pathlib
import re
from collections.abc import Iterable

import pandas as pd

from colab_utils.corpora.manifest import NUMBERS, ManifestError, empty_row

GENDER = {"F": "female", "M": "male"}


class ForeignNameError(ValueError):
    """A file name that is not one of the corpus' own utterances; `.reason` says why."""

    def __init__(self, path: pathlib.PurePosixPath, reason: str):
        super().__init__(f"{path}: {reason}")
        self.reason = reason


def read_name(
    path: pathlib.PurePosixPath,
    corpus: str,
    pattern: str,
    rule: str,
    language: str,
    stem: str = "",
) -> dict:
    """The manifest row that a file name gives, of style "scripted".

    Args:
        path: the file, with the folders that it lies in.
        corpus: name of the corpus.
        pattern: of the whole name (ASCII); its named groups are the columns that they fill.
        rule: the naming in words, for the error.
        language: BCP 47.
        stem: read in place of the name without its extension.

    Returns:
        A row as `empty_row` makes it.

    Raises:
        ForeignNameError: where the name does not follow the pattern.
    """
    stem = stem or path.stem
    match = re.fullmatch(pattern, stem, re.ASCII)
    if match is None:
        raise ForeignNameError(path, f"the name does not follow {rule}")
    row = empty_row(corpus, stem, language=language, style="scripted")
    row.update(match.groupdict())
    return row


def read_labels(
    files: Iterable[pathlib.Path], start: str, pattern: re.Pattern, form: str
) -> pd.DataFrame:
    """Labels and ratings of all turns in files of text that hold one turn a line.

    Args:
        files: Latin-1 text.
        start: how the line of a turn begins; other lines hold headers and single judgements.
        pattern: of such a line, with the groups turn, emotion_raw, valence, arousal, dominance.
        form: such a line in words, for the error.

    Returns:
        emotion_raw (str) and the three ratings (float), indexed by turn.

    Raises:
        ManifestError: for a line that cannot be read, and for a turn with two different entries.
    """
    columns = ["emotion_raw", *NUMBERS]
    turns: dict[str, tuple] = {}
    for file in files:
        for number, line in enumerate(file.read_text(encoding="latin-1").splitlines(), 1):
            if not line.startswith(start):
                continue
            match = pattern.fullmatch(line)
            if match is None:
                raise ManifestError(f"{file}, line {number}: not `{form}`: {line!r}")
            # text, not numbers: NaN differs from itself
            entry = match.group(*columns)
            if turns.setdefault(match["turn"], entry) != entry:
                raise ManifestError(
                    f"{file}, line {number}: {match['turn']} has another label or rating in an"
                    " earlier line"
                )
    table = pd.DataFrame.from_dict(turns, orient="index", columns=columns)
    return table.astype(dict.fromkeys(NUMBERS, float))
