"""EmoDB: `03a01Fa` = speaker 03, sentence a01, emotion F, version a.

Burkhardt, Paeschke, Rolfes, Sendlmeier & Weiss 2005, Interspeech, 1517-1520.
"""

import pathlib

from colab_utils.corpora.parsers.names import read_name

NAME = "emodb"
_MEN = ("03", "10", "11", "12", "15")
_STEM = (
    r"(?P<speaker>03|08|09|10|11|12|13|14|15|16)(?P<text_id>a0[12457]|b0[1239]|b10)"
    r"(?P<emotion_raw>[WLEAFTN])[a-z]"
)


def parse(path: pathlib.PurePosixPath) -> dict:
    """The manifest row of a file; text_id is the sentence (a01 ... b10).

    Raises:
        ForeignNameError: for other names.
    """
    rule = "EmoDB: speaker, text, emotion letter, version, such as 03a01Fa"
    row = read_name(path, NAME, _STEM, rule, "de")
    row["gender"] = "male" if row["speaker"] in _MEN else "female"
    return row
