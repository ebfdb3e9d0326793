"""ShEMO (Mohamad Nezami et al. 2019): `F21N37` = speaker, emotion, number (method_facts §5.11)."""

from __future__ import annotations

import pathlib
import re

from colab_utils.corpora.manifest import empty_row
from colab_utils.corpora.parsers.names import matched

NAME = "shemo"
_STEM = re.compile(
    r"(F(?:0[1-9]|[12]\d|3[01])|M(?:0[1-9]|[1-4]\d|5[0-6]))([AHNSWF])(\d{2})", re.ASCII
)


def parse(path: pathlib.PurePosixPath) -> dict:
    """The manifest row of a ShEMO file; speaker is `F01` ...

    `F31` or `M01` ... `M56`, W is surprise and F fear. Raises ForeignNameError.

    The speech comes from radio plays, so no sentence is repeated by design and text_id is unknown.
    """
    speaker, emotion, _number = matched(
        _STEM, path, "ShEMO: speaker, emotion, number, such as F21N37"
    ).groups()
    return empty_row(
        NAME,
        path.stem,
        speaker=speaker,
        gender={"F": "female", "M": "male"}[speaker[0]],
        language="fa",
        style="scripted",
        emotion_raw=emotion,
    )
