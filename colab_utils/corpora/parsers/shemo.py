"""ShEMO: `F21N37` = speaker, emotion, number.

Mohamad Nezami, Jamshid Lou & Karami 2019, ShEMO: a large-scale validated database for Persian
speech emotion detection, Lang. Resour. Eval. 53(1), 1-16.
"""

import pathlib

from colab_utils.corpora.parsers.names import GENDER, read_name

NAME = "shemo"
_STEM = (
    r"(?P<speaker>F(?:0[1-9]|[12]\d|3[01])|M(?:0[1-9]|[1-4]\d|5[0-6]))"
    r"(?P<emotion_raw>[AHNSWF])\d{2}"
)


def parse(path: pathlib.PurePosixPath) -> dict:
    """The manifest row of a file; speaker is F01 ... F31 or M01 ... M56, W is surprise and F fear.

    The speech comes from radio plays, so no sentence is repeated by design and text_id is unknown.

    Raises:
        ForeignNameError: for other names.
    """
    row = read_name(path, NAME, _STEM, "ShEMO: speaker, emotion, number, such as F21N37", "fa")
    row["gender"] = GENDER[row["speaker"][0]]
    return row
