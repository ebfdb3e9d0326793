"""AESDD: `a03 (3)` = emotion and utterance, (speaker).

Vryzas, Kotsakis, Liatsou, Dimoulas & Kalliris 2018, J. Audio Eng. Soc. 66(6), 457-467. A letter
follows where a take was repeated. The owners document three women and two men without saying who is
who, and the files hold six speakers: gender is unknown.
"""

import pathlib

from colab_utils.corpora.parsers.names import read_name

NAME = "aesdd"
_STEM = r"(?P<emotion_raw>[adfhs])(?P<text_id>0[1-9]|1\d|20) \(0?(?P<speaker>[1-6])\)[ab]?"


def parse(path: pathlib.PurePosixPath) -> dict:
    """The manifest row of a file: speaker 1 ... 6 (also where the file says 01), text_id 01 ... 20.

    Raises:
        ForeignNameError: for other names.
    """
    rule = "AESDD: emotion and utterance, (speaker), such as a03 (3)"
    return read_name(path, NAME, _STEM, rule, "el")
