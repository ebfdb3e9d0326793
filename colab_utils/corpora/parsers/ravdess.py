"""RAVDESS speech: seven numbers, such as `03-01-05-02-01-02-12`.

They are modality, vocal channel, emotion, intensity, statement, repetition and actor; actors with
odd numbers are men. Livingstone & Russo 2018, PLoS ONE 13(5), e0196391.
"""

import pathlib

from colab_utils.corpora.parsers.names import ForeignNameError, read_name

NAME = "ravdess"
_STEM = (
    r"0[123]-0[12]-(?P<emotion_raw>0[1-8])-(?P<intensity>0[12])-(?P<text_id>0[12])-0[12]"
    r"-(?P<speaker>0[1-9]|1\d|2[0-4])"
)
# what else the release holds, by how its names begin and why it is left out
_OTHER = {
    "01": "audio-visual (modality 01): the audio-only file of the same speech begins with 03",
    "02": "video without sound (modality 02)",
    "03-02": "song (vocal channel 02): this corpus is the speech part",
}


def parse(path: pathlib.PurePosixPath) -> dict:
    """The manifest row of a speech file; intensity is normal or strong, text_id the statement.

    Raises:
        ForeignNameError: for other names, for song, for files with video, and for strong neutral,
            which does not exist.
    """
    rule = "RAVDESS: seven two-digit numbers, such as 03-01-05-02-01-02-12"
    row = read_name(path, NAME, _STEM, rule, "en-US")
    for start, reason in _OTHER.items():
        if path.stem.startswith(start):
            raise ForeignNameError(path, reason)
    if row["emotion_raw"] == "01" and row["intensity"] == "02":
        raise ForeignNameError(path, "neutral (01) has no strong intensity (02)")
    row["gender"] = "male" if int(row["speaker"]) % 2 else "female"
    row["intensity"] = {"01": "normal", "02": "strong"}[row["intensity"]]
    return row
