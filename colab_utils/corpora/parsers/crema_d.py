"""CREMA-D: `1001_DFA_ANG_XX` = actor, sentence, intended emotion, level.

Cao, Cooper, Keutmann, Gur, Nenkova & Verma 2014, IEEE Trans. Affect. Comput. 5(4), 377-390.
"""

import pathlib

from colab_utils.corpora.parsers.names import ForeignNameError, read_name

NAME = "crema_d"
# From the owners' VideoDemographics.csv: 43 women; the other 48 of 1001 ... 1091 are men.
_WOMEN = (
    "1002 1003 1004 1006 1007 1008 1009 1010 1012 1013 1018 1020 1021 1024 1025 1028 1029 1030 1037"
    " 1043 1046 1047 1049 1052 1053 1054 1055 1056 1058 1060 1061 1063 1072 1073 1074 1075 1076"
    " 1078 1079 1082 1084 1089 1091"
)
_LEVELS = {"LO": "low", "MD": "medium", "HI": "high", "XX": ""}
_STEM = (
    r"(?P<speaker>10(?:0[1-9]|[1-8]\d|9[01]))"
    r"_(?P<text_id>DFA|IEO|ITH|ITS|IOM|IWL|IWW|MTI|TAI|TIE|TSI|WSI)"
    r"_(?P<emotion_raw>ANG|DIS|FEA|HAP|NEU|SAD)_(?P<intensity>LO|MD|HI|XX)"
)


def parse(path: pathlib.PurePosixPath) -> dict:
    """The manifest row of a clip; intensity is low, medium, high or "" (XX: unspecified).

    Only "It's eleven o'clock" (IEO) has levels, and neutral has none. The owners' audio folder has
    one name cut short, 1040_ITH_SAD_X.

    Raises:
        ForeignNameError: for other names.
    """
    rule = (
        "CREMA-D: actor, sentence, emotion, level (LO, MD, HI for IEO, otherwise XX), such as"
        " 1001_DFA_ANG_XX"
    )
    stem = "1040_ITH_SAD_XX" if path.stem == "1040_ITH_SAD_X" else path.stem
    row = read_name(path, NAME, _STEM, rule, "en-US", stem)
    has_levels = row["text_id"] == "IEO" and row["emotion_raw"] != "NEU"
    if has_levels == (row["intensity"] == "XX"):
        raise ForeignNameError(path, f"the name does not follow {rule}")
    row["gender"] = "female" if row["speaker"] in _WOMEN else "male"
    row["intensity"] = _LEVELS[row["intensity"]]
    return row
