"""MSP-IMPROV (Busso et al. 2017): `MSP-IMPROV-S01A-F01-P-FM01` = sentence and intended emotion,
speaker, recording type, direction and turn (method_facts §5.3). Labels stand in `Evaluation.txt`,
in lines `UTD-IMPROV-S01A-F01-P-FM01.avi; LABEL; A:..; V:..; D:.. ; N:..;`.
"""

from __future__ import annotations

import pathlib
import re

import pandas as pd

from colab_utils.corpora.manifest import ManifestError, empty_row
from colab_utils.corpora.parsers.names import matched

NAME = "msp_improv"
_STEM = re.compile(
    r"MSP-IMPROV-S(0[1-9]|1\d|20)[AHSN]-([FM])(0[1-6])-([PRST])-[FM]{2}\d{2}", re.ASCII
)
_STYLE = {"P": "natural", "R": "scripted", "S": "improvised", "T": "target-improvised"}
_NUMBER = r"\s*(\d+(?:\.\d+)?|NaN)\s*"
_LINE = re.compile(
    rf"UTD-IMPROV-([\w-]+)\.avi;\s*([A-Z]);\s*A:{_NUMBER};\s*V:{_NUMBER};\s*D:{_NUMBER};\s*N:{_NUMBER};?\s*",
    re.ASCII,
)


def parse(path: pathlib.PurePosixPath) -> dict:
    """The manifest row of an MSP-IMPROV turn; speaker is `F01` ...

    `M06`, session the pair's number `1` ... `6`, text_id the target sentence.

    The letter behind the sentence is the emotion that was asked for, not the label. style: natural
    (P), scripted (R, read aloud), improvised (S) and target-improvised (T, the target sentence
    within an improvisation); these meanings are recalled. Raises ForeignNameError.
    """
    match = matched(
        _STEM,
        path,
        "MSP-IMPROV: sentence and emotion, speaker, type, turn, such as MSP-IMPROV-S01A-F01-P-FM01",
    )
    sentence, gender, number, kind = match.groups()
    return empty_row(
        NAME,
        path.stem,
        speaker=gender + number,
        gender={"F": "female", "M": "male"}[gender],
        language="en-US",
        session=str(int(number)),
        text_id=sentence,
        style=_STYLE[kind],
    )


def annotations(root: pathlib.Path) -> pd.DataFrame:
    """emotion_raw (A, H, S, N, O other, X no agreement), valence, arousal, dominance (float, 1 to
    5, NaN where not rated), by utt_id.

    Raises ManifestError without Evaluation.txt below `root` (some copies call it Evalution.txt),
    for a line that cannot be read and for a turn that has two different entries.
    """
    files = sorted(
        file for name in ("Evaluation.txt", "Evalution.txt") for file in root.rglob(name)
    )
    if not files:
        raise ManifestError(
            f"{root}: no Evaluation.txt below it, and the labels of MSP-IMPROV stand there: choose"
            " the folder that holds it"
        )
    turns: dict[str, tuple] = {}
    for file in files:
        for number, line in enumerate(file.read_text(encoding="latin-1").splitlines(), 1):
            if not line.startswith("UTD-IMPROV"):
                continue  # the raters' single judgements
            match = _LINE.fullmatch(line)
            if match is None:
                raise ManifestError(
                    f"{file}, line {number}: not `UTD-IMPROV-...avi; LABEL; A:..; V:..; D:.. ;"
                    f" N:..;`: {line!r}"
                )
            # kept as text until the end: NaN differs from itself
            entry = (match[2], *(match[place] for place in (4, 3, 5)))
            if turns.setdefault(f"{NAME}/MSP-IMPROV-{match[1]}", entry) != entry:
                raise ManifestError(
                    f"{file}, line {number}: {match[1]} has another label or rating in an earlier"
                    " line"
                )
    table = pd.DataFrame.from_dict(
        turns, orient="index", columns=["emotion_raw", "valence", "arousal", "dominance"]
    )
    return table.astype({"valence": float, "arousal": float, "dominance": float})
