"""SAVEE: `DC_a01`, or `a01` in a folder `DC` (as the owners lay it out) = speaker, emotion, number.

Haq & Jackson 2010, Multimodal emotion recognition, in: Machine Audition, IGI Global, 398-423.
"""

import pathlib

from colab_utils.corpora.parsers.names import read_name

NAME = "savee"
_STEM = (
    r"(?P<speaker>DC|JE|JK|KL)_"
    r"(?P<text_id>(?P<emotion_raw>(?:a|d|f|h|sa|su)(?=0[1-9]|1[0-5])|n)(?:0[1-9]|[12]\d|30))"
)


def parse(path: pathlib.PurePosixPath) -> dict:
    """The manifest row of a file: utt_id is `savee/DC_a01` in both layouts.

    text_id is the place in the emotion's own list of sentences (a01); which of them emotions share
    does not stand in the name.

    Raises:
        ForeignNameError: for other names.
    """
    rule = (
        "SAVEE: speaker, emotion, number, such as DC_a01, or a01 in a folder DC (neutral to n30,"
        " others to 15)"
    )
    stem = path.stem if "_" in path.stem else f"{path.parent.name}_{path.stem}"
    row = read_name(path, NAME, _STEM, rule, "en-GB", stem)
    row["gender"] = "male"
    return row
