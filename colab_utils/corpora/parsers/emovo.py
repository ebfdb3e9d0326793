"""EMOVO: `dis-f1-b1` = emotion, speaker, sentence.

Costantini, Iaderola, Paoloni & Todisco 2014, EMOVO corpus: an Italian emotional speech database,
LREC, 3501-3504.
"""

import pathlib

from colab_utils.corpora.parsers.names import GENDER, read_name

NAME = "emovo"
_STEM = (
    r"(?P<emotion_raw>dis|gio|pau|rab|sor|tri|neu)-(?P<speaker>[fm][123])"
    r"-(?P<text_id>b[123]|l[1234]|n[12345]|d[12])"
)


def parse(path: pathlib.PurePosixPath) -> dict:
    """The manifest row of a file; text_id is the sentence (b1 ... d2).

    Raises:
        ForeignNameError: for other names.
    """
    rule = "EMOVO: emotion, speaker, sentence, such as dis-f1-b1"
    row = read_name(path, NAME, _STEM, rule, "it")
    row["gender"] = GENDER[row["speaker"][0].upper()]
    return row
