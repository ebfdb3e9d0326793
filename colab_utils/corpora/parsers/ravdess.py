"""RAVDESS speech (Livingstone & Russo 2018): `03-01-05-02-01-02-12` = modality, vocal channel,
emotion, intensity, statement, repetition, actor (method_facts §5.4).
"""

from __future__ import annotations

import pathlib
import re

from colab_utils.corpora.manifest import empty_row
from colab_utils.corpora.parsers.names import ForeignNameError, matched

NAME = "ravdess"
_STEM = re.compile(
    r"(0[123])-(0[12])-(0[1-8])-(0[12])-(0[12])-(0[12])-(0[1-9]|1\d|2[0-4])", re.ASCII
)
_MODALITY = {
    "01": "audio-visual (modality 01): the audio-only file of the same speech begins with 03",
    "02": "video without sound (modality 02)",
}


def parse(path: pathlib.PurePosixPath) -> dict:
    """The manifest row of a RAVDESS speech file; intensity is normal or strong, text_id the
    statement, odd actors are male.

    Raises ForeignNameError for other names, for song, for files with video, and for strong neutral
    (which does not exist).
    """
    match = matched(_STEM, path, "RAVDESS: seven two-digit numbers, such as 03-01-05-02-01-02-12")
    modality, channel, emotion, intensity, statement, _repetition, actor = match.groups()
    if modality in _MODALITY:
        raise ForeignNameError(path, _MODALITY[modality])
    if channel == "02":
        raise ForeignNameError(path, "song (vocal channel 02): this corpus is the speech part")
    if emotion == "01" and intensity == "02":
        raise ForeignNameError(path, "neutral (01) has no strong intensity (02)")
    return empty_row(
        NAME,
        path.stem,
        speaker=actor,
        gender="male" if int(actor) % 2 else "female",
        language="en-US",
        text_id=statement,
        style="scripted",
        emotion_raw=emotion,
        intensity={"01": "normal", "02": "strong"}[intensity],
    )
