"""EMOVO (Costantini et al. 2014): `dis-f1-b1` = emotion, speaker, sentence (method_facts §5.9)."""

from __future__ import annotations

import pathlib
import re

from colab_utils.corpora.manifest import empty_row
from colab_utils.corpora.parsers.names import matched

NAME = "emovo"
_STEM = re.compile(
    r"(dis|gio|pau|rab|sor|tri|neu)-([fm][123])-(b[123]|l[1234]|n[12345]|d[12])", re.ASCII
)


def parse(path: pathlib.PurePosixPath) -> dict:
    """The manifest row of an EMOVO file; text_id is the sentence (b1 ... d2).

    Raises ForeignNameError.
    """
    match = matched(_STEM, path, "EMOVO: emotion, speaker, sentence, such as dis-f1-b1")
    emotion, speaker, sentence = match.groups()
    return empty_row(
        NAME,
        path.stem,
        speaker=speaker,
        gender={"f": "female", "m": "male"}[speaker[0]],
        language="it",
        text_id=sentence,
        style="scripted",
        emotion_raw=emotion,
    )
