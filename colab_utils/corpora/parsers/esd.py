"""ESD: `0011_000351` = speaker, number; the number says the emotion and the sentence.

Zhou, Sisman, Liu & Li 2022, Emotional voice conversion: theory, databases and ESD, Speech Commun.
137, 1-18.
"""

import pathlib

from colab_utils.corpora.parsers.names import ForeignNameError, read_name

NAME = "esd"
EMOTIONS = ("Neutral", "Angry", "Happy", "Sad", "Surprise")  # 350 numbers each, from 1
MALE = frozenset({4, 5, 6, 8, 10, 11, 12, 13, 14, 20})
_STEM = r"(?P<speaker>00(?:0[1-9]|1\d|20))_00(?P<text_id>\d{4})"


def parse(path: pathlib.PurePosixPath) -> dict:
    """The manifest row of a file; text_id is the sentence, zh-001 ... zh-350 or en-001 ... en-350.

    A text_id is the same for all emotions and speakers. The owners' folders (speaker, emotion,
    train, evaluation, test) and flat copies give the same row: that split divides sentences, not
    speakers, so it is not recorded.

    Raises:
        ForeignNameError: for other names, and where a folder names another emotion than the number.
    """
    rule = "ESD: speaker and number to 1750, such as 0011_000351"
    row = read_name(path, NAME, _STEM, rule, "zh")
    number, last = int(row["text_id"]), 350 * len(EMOTIONS)
    if not 1 <= number <= last:
        raise ForeignNameError(path, f"ESD: number {number} is not between 1 and {last}")
    place, sentence = divmod(number - 1, 350)
    row["emotion_raw"] = EMOTIONS[place]
    folders = {folder.capitalize() for folder in path.parts[:-1]}
    wrong = folders.intersection(EMOTIONS) - {EMOTIONS[place]}
    if wrong:
        raise ForeignNameError(
            path,
            f"ESD: number {number} is {EMOTIONS[place]}, but the file stands in a folder"
            f" {', '.join(sorted(wrong))}",
        )
    speaker = int(row["speaker"])
    row["gender"] = "male" if speaker in MALE else "female"
    if speaker > 10:
        row["language"] = "en"
    row["text_id"] = f"{row['language']}-{sentence + 1:03}"
    return row
