"""EmoDB (Burkhardt et al. 2005): `03a01Fa` = speaker 03, text a01, emotion F, version a
(method_facts §5.5).
"""

from __future__ import annotations

import pathlib
import re

from colab_utils.corpora.manifest import empty_row
from colab_utils.corpora.parsers.names import matched

NAME = "emodb"
GENDER = {
    **dict.fromkeys(("03", "10", "11", "12", "15"), "male"),
    **dict.fromkeys(("08", "09", "13", "14", "16"), "female"),
}
_STEM = re.compile(
    r"(03|08|09|10|11|12|13|14|15|16)(a0[12457]|b0[1239]|b10)([WLEAFTN])([a-z])", re.ASCII
)


def parse(path: pathlib.PurePosixPath) -> dict:
    """The manifest row of an EmoDB file; text_id is the sentence (a01 ... b10).

    Raises ForeignNameError.
    """
    match = matched(_STEM, path, "EmoDB: speaker, text, emotion letter, version, such as 03a01Fa")
    speaker, text, emotion, _version = match.groups()
    return empty_row(
        NAME,
        path.stem,
        speaker=speaker,
        gender=GENDER[speaker],
        language="de",
        text_id=text,
        style="scripted",
        emotion_raw=emotion,
    )
