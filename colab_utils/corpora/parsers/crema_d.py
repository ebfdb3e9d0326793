"""CREMA-D (Cao et al. 2014): `1001_DFA_ANG_XX` = actor, sentence, intended emotion, level
(method_facts §5.6).
"""

from __future__ import annotations

import pathlib
import re

from colab_utils.corpora.manifest import empty_row
from colab_utils.corpora.parsers.names import matched

NAME = "crema_d"
# From the owners' VideoDemographics.csv: 43 women; the other 48 of 1001 ... 1091 are men.
_WOMEN = (
    "1002 1003 1004 1006 1007 1008 1009 1010 1012 1013 1018 1020 1021 1024 1025 1028 1029 1030 1037"
    " 1043 1046 1047 1049 1052 1053 1054 1055 1056 1058 1060 1061 1063 1072 1073 1074 1075 1076"
    " 1078 1079 1082 1084 1089 1091"
)
FEMALE = frozenset(_WOMEN.split())
_STEM = re.compile(
    r"(10(?:0[1-9]|[1-8]\d|9[01]))_(?:(IEO)_(ANG|DIS|FEA|HAP|SAD)_(LO|MD|HI)|(IEO)_(NEU)_(XX)|"
    r"(DFA|ITH|ITS|IOM|IWL|IWW|MTI|TAI|TIE|TSI|WSI)_(ANG|DIS|FEA|HAP|NEU|SAD)_(XX))",
    re.ASCII,
)


def parse(path: pathlib.PurePosixPath) -> dict:
    """The manifest row of a CREMA-D clip; text_id is the sentence, intensity low, medium, high or
    "" (XX: unspecified).

    Only "It's eleven o'clock" (IEO) has levels, and neutral has none. The owners' audio folder has
    one name cut short, 1040_ITH_SAD_X. Raises ForeignNameError.
    """
    full = path.with_name("1040_ITH_SAD_XX.wav") if path.stem == "1040_ITH_SAD_X" else path
    match = matched(
        _STEM,
        full,
        "CREMA-D: actor, sentence, emotion, level (LO, MD, HI for IEO, otherwise XX), such as"
        " 1001_DFA_ANG_XX",
    )
    actor, sentence, emotion, level = (place for place in match.groups() if place)
    return empty_row(
        NAME,
        full.stem,
        speaker=actor,
        gender="female" if actor in FEMALE else "male",
        language="en-US",
        text_id=sentence,
        style="scripted",
        emotion_raw=emotion,
        intensity={"LO": "low", "MD": "medium", "HI": "high", "XX": ""}[level],
    )
