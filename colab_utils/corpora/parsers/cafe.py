"""CaFE (Gournay et al. 2018): `01-C-1-1` = actor, emotion, intensity, sentence (method_facts
§5.11).
"""

from __future__ import annotations

import pathlib
import re

from colab_utils.corpora.manifest import empty_row
from colab_utils.corpora.parsers.names import ForeignNameError, matched

NAME = "cafe"
_STEM = re.compile(r"(0[1-9]|1[012])-([CDJNPST])-([12])-([1-6])", re.ASCII)


def parse(path: pathlib.PurePosixPath) -> dict:
    """The manifest row of a CaFE file; intensity is mild or strong ("" for neutral), text_id the
    sentence, odd actors are male.

    Raises ForeignNameError for other names and for strong neutral (which does not exist).
    """
    match = matched(_STEM, path, "CaFE: actor, emotion, intensity, sentence, such as 01-C-1-1")
    actor, emotion, intensity, sentence = match.groups()
    if (emotion, intensity) == ("N", "2"):
        raise ForeignNameError(path, "CaFE: neutral (N) has no strong intensity (2)")
    return empty_row(
        NAME,
        path.stem,
        speaker=actor,
        gender="male" if int(actor) % 2 else "female",
        language="fr-CA",
        text_id=sentence,
        style="scripted",
        emotion_raw=emotion,
        intensity="" if emotion == "N" else {"1": "mild", "2": "strong"}[intensity],
    )
