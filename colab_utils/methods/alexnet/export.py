"""The container that users of the AlexNet system know: one entry a speaker, as arrays in one file
(method_facts §3.2).
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from colab_utils.features.published.alexnet import AlexNetSpectrogram, segments
from colab_utils.features.store.store import FeatureStore


class SpeakerArrays(NamedTuple):
    """All segments of one speaker.

    segments: float32 (segments, channels, bins, frames); utterance_labels: int64 (utterances,);
    segment_labels: int64 (segments,); segments_per_utterance: int64 (utterances,). The published
    type of the last is int8, which overflows at 128 segments when they are added up under NumPy 2.
    """

    segments: np.ndarray
    utterance_labels: np.ndarray
    segment_labels: np.ndarray
    segments_per_utterance: np.ndarray


def speaker_export(
    rows: pd.DataFrame,
    store: FeatureStore,
    spec: AlexNetSpectrogram,
    labels: Sequence[str],
    length: int = 300,
    hop: int = 300,
) -> dict[str, SpeakerArrays]:
    """{speaker: SpeakerArrays} of `rows`, utterances in their order.

    Raises ValueError for an emotion outside the labels.
    """
    codes = pd.Index(labels).get_indexer(rows["emotion"])
    if (codes < 0).any():
        foreign = rows["emotion"][codes < 0].iloc[0]
        raise ValueError(
            f"{foreign!r} is not among the labels {', '.join(labels)}: choose emotions first"
        )
    by_speaker = rows.reset_index(drop=True).groupby("speaker").indices
    found = {}
    for speaker in sorted(by_speaker):
        places = by_speaker[speaker]
        pictures = []
        for utt_id in rows["utt_id"].iloc[places]:
            pictures.append(segments(store[utt_id], spec, length, hop)[0])
        counts = np.array([len(one) for one in pictures], dtype=np.int64)
        spoken = codes[places].astype(np.int64)
        found[speaker] = SpeakerArrays(
            np.concatenate(pictures), spoken, np.repeat(spoken, counts), counts
        )
    return found


def save_export(export: dict[str, SpeakerArrays], path: str | os.PathLike) -> pathlib.Path:
    """Write one .npz with the arrays `<speaker>/<field>`, without pickle."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    named = {}
    for speaker, arrays in export.items():
        for field, values in arrays._asdict().items():
            named[f"{speaker}/{field}"] = values
    with open(path, "wb") as file:
        np.savez(file, **named)
    return path
