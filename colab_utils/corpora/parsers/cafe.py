"""CaFE: `01-C-1-1` = actor, emotion, intensity, sentence.

Gournay, Lahaie & Lefebvre 2018, A Canadian French emotional speech dataset, ACM MMSys, 399-402.
Actors with odd numbers are men.
"""

import pathlib

from colab_utils.corpora.parsers.names import ForeignNameError, read_name

NAME = "cafe"
_STEM = (
    r"(?P<speaker>0[1-9]|1[012])-(?P<emotion_raw>[CDJNPST])-(?P<intensity>[12])-(?P<text_id>[1-6])"
)


def parse(path: pathlib.PurePosixPath) -> dict:
    """The manifest row of a file; intensity is mild, strong or "" for neutral.

    Raises:
        ForeignNameError: for other names and for strong neutral, which does not exist.
    """
    rule = "CaFE: actor, emotion, intensity, sentence, such as 01-C-1-1"
    row = read_name(path, NAME, _STEM, rule, "fr-CA")
    row["gender"] = "male" if int(row["speaker"]) % 2 else "female"
    row["intensity"] = {"1": "mild", "2": "strong"}[row["intensity"]]
    if row["emotion_raw"] == "N":
        if row["intensity"] == "strong":
            raise ForeignNameError(path, "CaFE: neutral (N) has no strong intensity (2)")
        row["intensity"] = ""
    return row
