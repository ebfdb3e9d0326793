"""AESDD (Vryzas et al. 2018): `a03 (3)` = emotion and utterance, (speaker), and a letter where a
take was repeated (method_facts §5.11).
"""

from __future__ import annotations

import pathlib
import re

from colab_utils.corpora.manifest import empty_row
from colab_utils.corpora.parsers.names import matched

NAME = "aesdd"
_STEM = re.compile(r"([adfhs])(0[1-9]|1\d|20) \(0?([1-6])\)[ab]?", re.ASCII)


def parse(path: pathlib.PurePosixPath) -> dict:
    """The manifest row of an AESDD file; speaker is `1` ...

    `6` (also where the file says 01), text_id the utterance. Raises ForeignNameError.

    gender is unknown: the owners document three women and two men without saying who is who, and
    the files hold six speakers.
    """
    emotion, utterance, speaker = matched(
        _STEM, path, "AESDD: emotion and utterance, (speaker), such as a03 (3)"
    ).groups()
    return empty_row(
        NAME,
        path.stem,
        speaker=speaker,
        language="el",
        text_id=utterance,
        style="scripted",
        emotion_raw=emotion,
    )
