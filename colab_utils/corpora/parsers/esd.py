"""ESD (Zhou et al. 2022): `0011_000351` = speaker, number; the number says the emotion and the
sentence (method_facts §5.10).
"""

from __future__ import annotations

import pathlib
import re

from colab_utils.corpora.manifest import empty_row
from colab_utils.corpora.parsers.names import ForeignNameError, matched

NAME = "esd"
EMOTIONS = ("Neutral", "Angry", "Happy", "Sad", "Surprise")  # 350 numbers each, from 1
MALE = frozenset({4, 5, 6, 8, 10, 11, 12, 13, 14, 20})
_STEM = re.compile(r"(00(?:0[1-9]|1\d|20))_00(\d{4})", re.ASCII)


def parse(path: pathlib.PurePosixPath) -> dict:
    """The manifest row of an ESD file; text_id is the sentence, `zh-001` ...

    `zh-350` or `en-001` ..., the same for all emotions and speakers.

    The owners' folders (speaker/emotion/train, evaluation, test) and flat copies give the same row:
    that split divides sentences, not speakers, so it is not recorded. Raises ForeignNameError, also
    where a folder names another emotion than the number does.
    """
    speaker, number = matched(
        _STEM, path, "ESD: speaker and number to 1750, such as 0011_000351"
    ).groups()
    if not 1 <= int(number) <= 350 * len(EMOTIONS):
        raise ForeignNameError(
            path, f"ESD: number {int(number)} is not between 1 and {350 * len(EMOTIONS)}"
        )
    place, sentence = divmod(int(number) - 1, 350)
    named = {folder.capitalize() for folder in path.parts[:-1]} & set(EMOTIONS)
    if named - {EMOTIONS[place]}:
        raise ForeignNameError(
            path,
            f"ESD: number {int(number)} is {EMOTIONS[place]}, but the file stands in a folder"
            f" {', '.join(sorted(named))}",
        )
    language = "zh" if int(speaker) <= 10 else "en"
    return empty_row(
        NAME,
        path.stem,
        speaker=speaker,
        gender="male" if int(speaker) in MALE else "female",
        language=language,
        text_id=f"{language}-{sentence + 1:03}",
        style="scripted",
        emotion_raw=EMOTIONS[place],
    )
