"""IEMOCAP (Busso et al. 2008): `Ses01F_impro01_M003` = session and who wears the markers, dialogue,
speaker and turn (method_facts §5.2).

Labels and ratings stand in `Session*/dialog/EmoEvaluation/*.txt`, in lines `[t0 - t1] <tab> turn
<tab> label <tab> [V, A, D]`.
"""

from __future__ import annotations

import pathlib
import re

import pandas as pd

from colab_utils.corpora.manifest import ManifestError, empty_row
from colab_utils.corpora.parsers.names import ForeignNameError, matched

NAME = "iemocap"
_DIALOGUE = r"Ses0([1-5])[FM]_(impro0[1-8][ab]?|script0[123]_[123]b?)"
_STEM = re.compile(_DIALOGUE + r"_([FM])\d{3}", re.ASCII)
_NUMBER = r"\s*(\d+(?:\.\d+)?)\s*"
_LINE = re.compile(
    rf"\[[\d.]+ - [\d.]+\]\t(\w+)\t(\w+)\t\[{_NUMBER},{_NUMBER},{_NUMBER}\]\s*", re.ASCII
)


def parse(path: pathlib.PurePosixPath) -> dict:
    """The manifest row of an IEMOCAP turn; speaker is `1F` ...

    `5M`, session `1` ... `5`, text_id the dialogue, style improvised or scripted.

    The speaker is the letter before the turn number: the one behind `Ses01` only says who wore the
    markers, and both actors speak in each dialogue. Raises ForeignNameError, also for whole
    dialogues.
    """
    if re.fullmatch(_DIALOGUE, path.stem, re.ASCII):
        raise ForeignNameError(path, "a whole dialogue of IEMOCAP: its turns are in sentences/wav")
    session, dialogue, speaker = matched(
        _STEM, path, "IEMOCAP: session, dialogue, speaker and turn, such as Ses01F_impro01_M003"
    ).groups()
    return empty_row(
        NAME,
        path.stem,
        speaker=session + speaker,
        gender={"F": "female", "M": "male"}[speaker],
        language="en-US",
        session=session,
        text_id=dialogue,
        style="improvised" if dialogue.startswith("impro") else "scripted",
    )


def annotations(root: pathlib.Path) -> pd.DataFrame:
    """emotion_raw (str; `xxx`: the raters did not agree), valence, arousal, dominance (float, 1 to
    5) of all turns, by utt_id.

    Raises ManifestError without EmoEvaluation files below `root`, for a line that cannot be read
    and for a turn with two different entries.
    """
    files = [
        file for file in sorted(root.rglob("EmoEvaluation/*.txt")) if not file.name.startswith(".")
    ]
    if not files:
        raise ManifestError(
            f"{root}: no Session*/dialog/EmoEvaluation/*.txt below it, and the labels of IEMOCAP"
            " stand there: choose the folder that holds Session1 to Session5"
        )
    turns: dict[str, tuple] = {}
    for file in files:
        for number, line in enumerate(file.read_text(encoding="latin-1").splitlines(), 1):
            if not line.startswith("["):
                # the header, and the raters' single judgements
                continue
            match = _LINE.fullmatch(line)
            if match is None:
                raise ManifestError(
                    f"{file}, line {number}: not `[start - end] turn label [V, A, D]` with tabs"
                    f" between: {line!r}"
                )
            entry = (match[2], *map(float, match.groups()[2:]))
            if turns.setdefault(f"{NAME}/{match[1]}", entry) != entry:
                raise ManifestError(
                    f"{file}, line {number}: {match[1]} has another label or rating in an earlier"
                    " line"
                )
    return pd.DataFrame.from_dict(
        turns, orient="index", columns=["emotion_raw", "valence", "arousal", "dominance"]
    )
