"""MSP-IMPROV: `MSP-IMPROV-S01A-F01-P-FM01` = sentence and intended emotion, speaker, type, turn.

Busso, Parthasarathy, Burmania, AbdelWahab, Sadoughi & Mower Provost 2017, IEEE Trans. Affect.
Comput. 8(1), 67-80. Labels stand in `Evaluation.txt`, in lines
`UTD-IMPROV-S01A-F01-P-FM01.avi; LABEL; A:..; V:..; D:.. ; N:..;`.
"""

import pathlib
import re

import pandas as pd

from colab_utils.corpora.manifest import ManifestError
from colab_utils.corpora.parsers.names import GENDER, read_labels, read_name

NAME = "msp_improv"
_STEM = (
    r"MSP-IMPROV-S(?P<text_id>0[1-9]|1\d|20)[AHSN]-(?P<speaker>[FM]0[1-6])-(?P<style>[PRST])"
    r"-[FM]{2}\d{2}"
)
_STYLES = {"P": "natural", "R": "scripted", "S": "improvised", "T": "target-improvised"}
_LINE = re.compile(
    r"UTD-IMPROV-(?P<turn>[\w-]+)\.avi;\s*(?P<emotion_raw>[A-Z]);"
    r"\s*A:\s*(?P<arousal>\d+(?:\.\d+)?|NaN)\s*;\s*V:\s*(?P<valence>\d+(?:\.\d+)?|NaN)\s*;"
    r"\s*D:\s*(?P<dominance>\d+(?:\.\d+)?|NaN)\s*;\s*N:\s*(?:\d+(?:\.\d+)?|NaN)\s*;?\s*",
    re.ASCII,
)


def parse(path: pathlib.PurePosixPath) -> dict:
    """The manifest row of a turn: speaker F01 ... M06, session (the pair) 1 ... 6.

    text_id is the target sentence. The letter behind it is the emotion that was asked for, not the
    label. style: natural (P), scripted (R, read aloud), improvised (S) and target-improvised (T,
    the target sentence within an improvisation); these meanings are recalled.

    Raises:
        ForeignNameError: for other names.
    """
    rule = (
        "MSP-IMPROV: sentence and emotion, speaker, type, turn, such as MSP-IMPROV-S01A-F01-P-FM01"
    )
    row = read_name(path, NAME, _STEM, rule, "en-US")
    row["gender"] = GENDER[row["speaker"][0]]
    row["session"] = row["speaker"][-1]
    row["style"] = _STYLES[row["style"]]
    return row


def annotations(root: pathlib.Path) -> pd.DataFrame:
    """Labels (A, H, S, N, O other, X no agreement) and ratings of all turns, by utt_id.

    Returns:
        emotion_raw (str), valence, arousal, dominance (float, 1 to 5, NaN where not rated).

    Raises:
        ManifestError: without Evaluation.txt below `root` (some copies call it Evalution.txt), and
            as `read_labels`.
    """
    files = sorted([*root.rglob("Evaluation.txt"), *root.rglob("Evalution.txt")])
    if not files:
        raise ManifestError(
            f"{root}: no Evaluation.txt below it, and the labels of MSP-IMPROV stand there: choose"
            " the folder that holds it"
        )
    form = "UTD-IMPROV-...avi; LABEL; A:..; V:..; D:.. ; N:..;"
    table = read_labels(files, "UTD-IMPROV", _LINE, form)
    return table.rename(index=lambda turn: f"{NAME}/MSP-IMPROV-{turn}")
