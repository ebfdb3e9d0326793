"""The container that users of the AlexNet system know: one entry a speaker, as arrays in one file (method_facts §3.2)."""
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
    """segments float32 (segments, channels, bins, frames); labels of utterances int64 (utterances,) and of segments int64 (segments,); how many
    segments each utterance has, int64 (utterances,): the published int8 overflows at 128 segments when they are added up under NumPy 2."""
    segments: np.ndarray
    utterance_labels: np.ndarray
    segment_labels: np.ndarray
    segments_per_utterance: np.ndarray


def speaker_export(rows: pd.DataFrame, store: FeatureStore, spec: AlexNetSpectrogram, labels: Sequence[str], length: int = 300,
                   hop: int = 300) -> dict[str, SpeakerArrays]:
    """{speaker: SpeakerArrays} of `rows`, utterances in their order. Raises ValueError for an emotion outside the labels."""
    codes = pd.Index(labels).get_indexer(rows["emotion"])
    if (codes < 0).any():
        raise ValueError(f"{rows['emotion'][codes < 0].iloc[0]!r} is not among the labels {', '.join(labels)}: choose emotions first")
    found = {}
    for speaker, places in sorted(rows.reset_index(drop=True).groupby("speaker").indices.items()):
        pictures = [segments(store[rows["utt_id"].iloc[place]], spec, length, hop)[0] for place in places]
        counts = np.array([len(one) for one in pictures], dtype=np.int64)
        found[speaker] = SpeakerArrays(np.concatenate(pictures), codes[places].astype(np.int64), np.repeat(codes[places], counts).astype(np.int64),
                                       counts)
    return found


def save_export(export: dict[str, SpeakerArrays], path: str | os.PathLike) -> pathlib.Path:
    """Write one .npz with the arrays `<speaker>/<field>`, without pickle; `load_export` reads it back."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:
        np.savez(file, **{f"{speaker}/{name}": value for speaker, arrays in export.items() for name, value in arrays._asdict().items()})
    return path


def load_export(path: str | os.PathLike) -> dict[str, SpeakerArrays]:
    """What `save_export` wrote; nothing is unpickled."""
    with np.load(path, allow_pickle=False) as content:
        speakers = sorted({name.rpartition("/")[0] for name in content.files})
        return {speaker: SpeakerArrays(*(content[f"{speaker}/{name}"] for name in SpeakerArrays._fields)) for speaker in speakers}
