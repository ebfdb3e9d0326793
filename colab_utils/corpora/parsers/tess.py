"""TESS (Pichora-Fuller & Dupuis 2020): `OAF_back_angry` = speaker, word, emotion (method_facts
§5.8).
"""

from __future__ import annotations

import pathlib
import re

from colab_utils.corpora.manifest import empty_row
from colab_utils.corpora.parsers.names import matched

NAME = "tess"
_STEM = re.compile(r"(OAF|YAF)_([a-z]+)_(angry|disgust|fear|happy|neutral|ps|sad)", re.ASCII)


def parse(path: pathlib.PurePosixPath) -> dict:
    """The manifest row of a TESS file; text_id is the word behind "Say the word", `ps` a pleasant
    surprise. Raises ForeignNameError.

    Folders (`OAF_Pleasant_surprise`, `YAF_pleasant_surprised`) are not read: every name says all.
    Many copies have one misspelt name, OA_bite_neutral.
    """
    full = path.with_name("OAF_bite_neutral.wav") if path.stem == "OA_bite_neutral" else path
    speaker, word, emotion = matched(
        _STEM, full, "TESS: speaker, word, emotion, such as OAF_back_angry"
    ).groups()
    return empty_row(
        NAME,
        full.stem,
        speaker=speaker,
        gender="female",
        language="en-CA",
        text_id=word,
        style="scripted",
        emotion_raw=emotion,
    )
