"""TESS: `OAF_back_angry` = speaker, word, emotion.

Pichora-Fuller & Dupuis 2020, Toronto emotional speech set, Borealis, doi:10.5683/SP2/E8H2MF.
"""

import pathlib

from colab_utils.corpora.parsers.names import read_name

NAME = "tess"
_STEM = (
    r"(?P<speaker>OAF|YAF)_(?P<text_id>[a-z]+)"
    r"_(?P<emotion_raw>angry|disgust|fear|happy|neutral|ps|sad)"
)


def parse(path: pathlib.PurePosixPath) -> dict:
    """The manifest row of a file; text_id is the word behind "Say the word".

    The emotion `ps` is a pleasant surprise. Folders (`OAF_Pleasant_surprise`) are not read: every
    name says all. Many copies have one misspelt name, OA_bite_neutral.

    Raises:
        ForeignNameError: for other names.
    """
    stem = "OAF_bite_neutral" if path.stem == "OA_bite_neutral" else path.stem
    rule = "TESS: speaker, word, emotion, such as OAF_back_angry"
    row = read_name(path, NAME, _STEM, rule, "en-CA", stem)
    row["gender"] = "female"
    return row
