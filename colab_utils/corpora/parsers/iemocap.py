"""IEMOCAP: `Ses01F_impro01_M003` = session and who wears the markers, dialogue, speaker and turn.

Busso, Bulut, Lee, Kazemzadeh, Mower, Kim, Chang, Lee & Narayanan 2008, Lang. Resour. Eval. 42(4),
335-359. Labels and ratings stand in `Session*/dialog/EmoEvaluation/*.txt`, in lines
`[t0 - t1] <tab> turn <tab> label <tab> [V, A, D]`.
"""

import pathlib
import re

import pandas as pd

from colab_utils.corpora.manifest import ManifestError
from colab_utils.corpora.parsers.names import GENDER, ForeignNameError, read_labels, read_name

NAME = "iemocap"
_DIALOGUE = r"Ses0(?P<session>[1-5])[FM]_(?P<text_id>impro0[1-8][ab]?|script0[123]_[123]b?)"
_STEM = _DIALOGUE + r"_(?P<speaker>[FM])\d{3}"
_LINE = re.compile(
    r"\[[\d.]+ - [\d.]+\]\t(?P<turn>\w+)\t(?P<emotion_raw>\w+)\t"
    r"\[\s*(?P<valence>\d+(?:\.\d+)?)\s*,\s*(?P<arousal>\d+(?:\.\d+)?)\s*,"
    r"\s*(?P<dominance>\d+(?:\.\d+)?)\s*\]\s*",
    re.ASCII,
)


def parse(path: pathlib.PurePosixPath) -> dict:
    """The manifest row of a turn: speaker 1F ... 5M, session 1 ... 5, text_id the dialogue.

    The speaker is the letter before the turn number: the one behind `Ses01` only says who wore the
    markers, and both actors speak in each dialogue. style is improvised or scripted.

    Raises:
        ForeignNameError: for other names, and for whole dialogues.
    """
    if re.fullmatch(_DIALOGUE, path.stem, re.ASCII):
        raise ForeignNameError(path, "a whole dialogue of IEMOCAP: its turns are in sentences/wav")
    rule = "IEMOCAP: session, dialogue, speaker and turn, such as Ses01F_impro01_M003"
    row = read_name(path, NAME, _STEM, rule, "en-US")
    row["gender"] = GENDER[row["speaker"]]
    row["speaker"] = row["session"] + row["speaker"]
    if row["text_id"].startswith("impro"):
        row["style"] = "improvised"
    return row


def annotations(root: pathlib.Path) -> pd.DataFrame:
    """Labels (`xxx`: the raters did not agree) and ratings (1 to 5) of all turns, by utt_id.

    Returns:
        emotion_raw (str), valence, arousal, dominance (float).

    Raises:
        ManifestError: without EmoEvaluation files below `root`, and as `read_labels`.
    """
    files = sorted(root.rglob("EmoEvaluation/*.txt"))
    # macOS leaves hidden copies in the release
    files = [file for file in files if not file.name.startswith(".")]
    if not files:
        raise ManifestError(
            f"{root}: no Session*/dialog/EmoEvaluation/*.txt below it, and the labels of IEMOCAP"
            " stand there: choose the folder that holds Session1 to Session5"
        )
    form = "[start - end] turn label [V, A, D] with tabs between"
    return read_labels(files, "[", _LINE, form).rename(index=lambda turn: f"{NAME}/{turn}")
