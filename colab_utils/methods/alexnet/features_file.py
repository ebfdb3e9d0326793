"""Features of a corpus in one file, speaker by speaker: written once, trained from without audio.

One .npz without pickle, laid out as users of the published system know its features (one entry a
speaker: samsudinng/speech_emo_recognition, extract_features.py), and whole by names and lengths:

    labels                             str (labels,): the class names, in the order of their ids
    features                           str (): the feature set, such as logspec
    <speaker>/segments                 float32 (segments, channels, bins, 300), in dB, side by side,
                                       the last of each utterance padded
    padding                            str (): with what, "floor" (silence) or "zero" (0 dB)
    <speaker>/segments_per_utterance   int64 (utterances,)
    <speaker>/segment_labels           int64 (segments,), class ids
    <speaker>/utterance_labels         int64 (utterances,), class ids
    <speaker>/utt_id                   str (utterances,), <corpus>/<name>
    <speaker>/frames                   int64 (utterances,): frames of 10 ms without the padding
    <speaker>/place                    int64 (utterances,): their order in the corpus

`segments_per_utterance` is int8 in the published file: added up under NumPy 2 it overflows at 128.

Not kept are the audio (so no noise, and no other feature set) and what a manifest knows besides
speaker and emotion (sessions, styles, texts). Frames come back bit for bit.
"""

from __future__ import annotations

import hashlib
import os
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from colab_utils import files
from colab_utils.corpora.manifest import ManifestError, empty_row, validate
from colab_utils.features.front_end import identity
from colab_utils.features.published.alexnet import (
    FEATURE_SETS,
    SEGMENT,
    AlexNetSpectrogram,
    segments,
)
from colab_utils.features.store.features import Features, Frames
from colab_utils.methods.alexnet.settings import AlexnetConfig
from colab_utils.settings import SettingError


def save_features(
    path: str | os.PathLike,
    rows: pd.DataFrame,
    store: Features,
    labels: Sequence[str],
    config: AlexnetConfig,
) -> pathlib.Path:
    """Write the features of `rows` as one file.

    Args:
        path: of the file, ending in .npz; what was there is replaced.
        rows: manifest rows of one corpus, speakers and emotions known.
        store: their frames, float32 (frames, channels * bins) each.
        labels: the emotions, in the order of the class ids.
        config: its `features`, the feature set, and `padding`.

    Returns:
        The path.

    Raises:
        ValueError: for an emotion that is not among the labels.
    """
    spec = AlexNetSpectrogram(feature_set=config.features)
    if foreign := sorted(set(rows["emotion"]) - set(labels)):
        raise ValueError(f"{foreign[0]!r} is not among the labels {', '.join(labels)}")
    content = {
        "labels": np.array(labels, dtype=str),
        "features": np.array(config.features),
        "padding": np.array(config.padding),
    }
    for speaker, places in rows.groupby("speaker").indices.items():
        part = rows.iloc[places]
        frames = [store[utt_id] for utt_id in part["utt_id"]]
        cut = [segments(one, spec, padding=config.padding)[0] for one in frames]
        counts = np.array([len(one) for one in cut])
        spoken = pd.Index(labels).get_indexer(part["emotion"])
        content[f"{speaker}/segments"] = np.concatenate(cut)
        content[f"{speaker}/segments_per_utterance"] = counts
        content[f"{speaker}/segment_labels"] = np.repeat(spoken, counts)
        content[f"{speaker}/utterance_labels"] = spoken
        content[f"{speaker}/utt_id"] = part["utt_id"].to_numpy(dtype=str)
        content[f"{speaker}/frames"] = np.array([len(one) for one in frames])
        content[f"{speaker}/place"] = places
    with files.replacing(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **content)
    return pathlib.Path(path)


class _FieldError(ValueError):
    """A field that cannot be used; the message begins with its name."""


class FeaturesFile(Frames):
    """What `save_features` wrote: frames by utt_id, all in memory, and who says what.

    Args:
        path: of the file.

    Attributes:
        rows: its utterances as a manifest.
        labels: the emotions, in the order of the class ids.
        features: the feature set.
        corpus: the name of the corpus.
        key: names the file's content.

    Raises:
        SettingError: for a file that is none, and for a field that is missing or wrong, by its
            name.

    Example:
        store = FeaturesFile("out/exports/emodb-5-folds-logspec.npz")
    """

    def __init__(self, path: str | os.PathLike):
        self.path = pathlib.Path(path).expanduser()
        try:
            with np.load(self.path, allow_pickle=False) as content:
                self._read(content)
            self.key = files.file_sha256(self.path)[:12]
        except Exception as error:  # torn files fail in many ways
            named = isinstance(error, (_FieldError, ManifestError))
            why = error if named else files.unreadable(self.path, error)
            raise SettingError(
                f"'{self.path}' is no features file of notebook 05: {why}"
            ) from error

    def _read(self, content: Mapping[str, np.ndarray]) -> None:
        """Take over the whole file. Raises _FieldError."""
        self.labels = _field(content, "labels", np.str_).tolist()
        different = len(set(self.labels))
        _need("labels", different == len(self.labels) > 1, "two different emotions or more")
        self.features = str(_field(content, "features", np.str_))
        known = ", ".join(FEATURE_SETS)
        _need("features", self.features in FEATURE_SETS, f"one of {known}")
        spec = AlexNetSpectrogram(feature_set=self.features)
        super().__init__({}, identity(spec), spec.feature_names)
        speakers = {name.rpartition("/")[0] for name in content} - {""}
        _need("<speaker>/segments", len(speakers) > 0, "one speaker or more")
        tables = [self._speaker(content, speaker, spec) for speaker in sorted(speakers)]
        self.rows = validate(pd.concat(tables).sort_index(), "all speakers")
        corpora = set(self.rows["corpus"])
        _need("utt_id", len(corpora) == 1, f"one corpus, not {', '.join(sorted(corpora))}")
        self.corpus = corpora.pop()

    def _speaker(
        self, content: Mapping[str, np.ndarray], speaker: str, spec: AlexNetSpectrogram
    ) -> pd.DataFrame:
        """Keep the frames of one speaker; returns the rows, their places as the index."""

        def field(name: str, kind: type, *shape: int) -> np.ndarray:
            return _field(content, f"{speaker}/{name}", kind, shape)

        counts = field("segments_per_utterance", np.integer).ravel()
        n, total = len(counts), int(counts.sum())
        frames = field("frames", np.integer, n)
        filled = (counts > 0).all() and np.array_equal(counts, np.ceil(frames / SEGMENT))
        _need(f"{speaker}/frames", filled, "as many as fill `segments_per_utterance`")
        spoken = field("utterance_labels", np.integer, n)
        known = np.isin(spoken, range(len(self.labels))).all()
        _need(f"{speaker}/utterance_labels", known, f"class ids below {len(self.labels)}")
        expected = np.repeat(spoken, counts)
        alike = np.array_equal(field("segment_labels", np.integer), expected)
        _need(f"{speaker}/segment_labels", alike, "the class id of the utterance for each segment")
        cut = field("segments", np.floating, total, spec.channels, spec.bins, SEGMENT)
        whole = np.isfinite(cut).all(axis=(1, 2, 3))
        ids = field("utt_id", np.str_, n)
        _need(f"{speaker}/utt_id", (np.char.find(ids, "/") > 0).all(), "<corpus>/<name>")
        spoilt = np.repeat(ids, counts)[~whole]
        named = ", ".join(np.unique(spoilt)[:3])
        _need(f"{speaker}/segments", whole.all(), f"finite values, which lack {named}")
        cut = cut.astype(np.float32, copy=False).transpose(0, 3, 1, 2)
        in_time = cut.reshape(-1, spec.dim)
        begins = SEGMENT * (np.cumsum(counts) - counts)
        rows = []
        for number, utt_id in enumerate(ids.tolist()):
            begin = begins[number]
            self[utt_id] = in_time[begin : begin + frames[number]]
            corpus, _, stem = utt_id.partition("/")
            emotion = self.labels[spoken[number]]
            row = empty_row(corpus, stem, speaker=speaker, emotion=emotion, emotion_raw=emotion)
            # equal recordings have equal frames
            row["audio_sha256"] = hashlib.sha256(self[utt_id]).hexdigest()
            rows.append(row)
        return pd.DataFrame(rows, index=field("place", np.integer, n))

    def of(self, features: str, condition: str) -> FeaturesFile:
        """Itself, where it holds these features in this condition.

        Raises:
            SettingError: where only the audio could give them.
        """
        if features != self.features:
            raise SettingError(
                f"features = {features!r}: {self.path} holds {self.features}, and other pictures "
                f"need the audio; set FEATURES = {self.features!r}"
            )
        if condition != "clean":
            raise SettingError(
                f"condition {condition}: {self.path} holds clean features, and noise needs the "
                "audio; test on clean, without stability training"
            )
        return self


def _field(
    content: Mapping[str, np.ndarray], name: str, kind: type, shape: tuple[int, ...] = ()
) -> np.ndarray:
    """One array. Raises _FieldError for one that is missing, pickled, or not as it has to be."""
    _need(name, name in content, "such an array")
    try:
        values = content[name]
    except ValueError as error:
        raise _FieldError(f"{name}: needed are numbers or texts, not Python objects") from error
    _need(name, np.issubdtype(values.dtype, kind), f"{kind.__name__}, not {values.dtype}")
    _need(name, not shape or values.shape == shape, f"shape {shape}, not {values.shape}")
    return values


def _need(name: str, good: bool, needed: str) -> None:
    """Raise _FieldError for a field that is not good."""
    if not good:
        raise _FieldError(f"{name}: needed is {needed}")
