"""SAVEE (Haq & Jackson): `DC_a01`, or `a01` in a folder `DC` (as the owners lay it out) = speaker,
emotion, number (method_facts §5.7).
"""

from __future__ import annotations

import pathlib
import re

from colab_utils.corpora.manifest import empty_row
from colab_utils.corpora.parsers.names import matched

NAME = "savee"
_STEM = re.compile(
    r"(DC|JE|JK|KL)_((?:a|d|f|h|sa|su)(?=0[1-9]|1[0-5])|n)(0[1-9]|[12]\d|30)", re.ASCII
)


def parse(path: pathlib.PurePosixPath) -> dict:
    """The manifest row of a SAVEE file: utt_id is `savee/DC_a01` in both layouts.

    Raises ForeignNameError.

    text_id is the place in the emotion's own list of sentences (a01); which of them emotions share
    does not stand in the name.
    """
    stem = path.stem if "_" in path.stem else f"{path.parent.name}_{path.stem}"
    match = matched(
        _STEM,
        path,
        "SAVEE: speaker, emotion, number, such as DC_a01, or a01 in a folder DC (neutral to n30,"
        " others to 15)",
        stem,
    )
    speaker, emotion, number = match.groups()
    return empty_row(
        NAME,
        stem,
        speaker=speaker,
        gender="male",
        language="en-GB",
        text_id=emotion + number,
        style="scripted",
        emotion_raw=emotion,
    )
