"""Features made of others while they are read.

Vectors of frames, several front ends side by side, features normalised by corpus or by speaker.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from colab_utils.corpora.manifest import speaker_keys
from colab_utils.features.store.features import Features
from colab_utils.features.store.shards import StoreError
from colab_utils.files import short_hash

# A deviation of less than this part of the mean is what rounding leaves of a constant feature.
CONSTANT = 1e-7
NORMALISATIONS = ("none", "corpus", "speaker")


class View(Features):
    """Features made of those of `base`, utterance by utterance.

    Args:
        base: what is looked at.
    """

    def __init__(self, base: Features):
        self.base = base
        self.spec, self.key = base.spec, base.key
        self.pooled, self.note = base.pooled, base.note
        self.feature_names = base.feature_names
        self.weights = base.weights
        self.skipped = base.skipped
        self.report = base.report

    @property
    def ids(self) -> list[str]:
        """As of `base`."""
        return list(self.base.ids)

    def __contains__(self, utt_id: object) -> bool:
        return utt_id in self.base

    def lengths(self, ids: Sequence[str]) -> np.ndarray:
        """As of `Features`."""
        return super().lengths(ids) if self.pooled else self.base.lengths(ids)


class Pooled(View):
    """Frames as one vector an utterance: their mean and standard deviation over time side by side.

    Args:
        base: frames; vectors stay as they are.
    """

    def __init__(self, base: Features):
        super().__init__(base)
        if base.pooled:
            return
        self.pooled = True
        names = base.feature_names
        self.feature_names = [f"{name}_mean" for name in names] + [f"{name}_std" for name in names]
        self.note = "frames pooled to mean and standard deviation over time"

    def __getitem__(self, utt_id: str) -> np.ndarray:
        frames = self.base[utt_id]
        return frames if self.base.pooled else pooled_vector(frames)


def pooled_vector(frames: np.ndarray) -> np.ndarray:
    """Mean and standard deviation of (frames, dim) over time side by side, (1, 2 dim)."""
    return np.concatenate([frames.mean(axis=0), frames.std(axis=0)])[None]


class Joined(View):
    """Vectors of several front ends side by side, each with the same weight in all.

    Once a study has standardised the columns, part p with d_p of all d columns counts
    sqrt(d / (parts * d_p)) a column: its squared distances are on average those of any other.

    Args:
        parts: of the same utterances; frames are pooled. An utterance that a part lacks is skipped.
    """

    def __init__(self, parts: Sequence[Features]):
        self.parts = [Pooled(part) for part in parts]
        first = self.parts[0]
        super().__init__(first)
        name = "+".join(part.spec["name"] for part in self.parts)
        specs = [part.spec for part in self.parts]
        self.spec = {"name": name, "version": 1, "settings": {}, "parts": specs}
        keys = [part.key for part in self.parts]
        self.key = short_hash(keys)
        self.pooled = True
        dim = sum(part.dim for part in self.parts)
        self.feature_names, weights = [], []
        for part in self.parts:
            front_end = part.spec["name"]
            self.feature_names += [f"{front_end}: {one}" for one in part.feature_names]
            weight = np.sqrt(dim / (len(self.parts) * part.dim))
            weights.append(np.full(part.dim, weight))
        self.weights = np.concatenate(weights)
        skipped = pd.concat([part.skipped for part in self.parts])
        self.skipped = skipped.drop_duplicates("utt_id", ignore_index=True)
        notes = [part.note for part in self.parts]
        self.note = "; ".join(note for note in dict.fromkeys(notes) if note)

    @property
    def ids(self) -> list[str]:
        """The utterances that all parts have."""
        return [utt_id for utt_id in self.parts[0].ids if utt_id in self]

    def __contains__(self, utt_id: object) -> bool:
        return all(utt_id in part for part in self.parts)

    def __getitem__(self, utt_id: str) -> np.ndarray:
        return np.concatenate([part[utt_id] for part in self.parts], axis=1)

    def matrix(self, ids: Sequence[str]) -> np.ndarray:
        """As of `Features`."""
        return np.concatenate([part.matrix(ids) for part in self.parts], axis=1)


class Statistics(NamedTuple):
    """Mean and variance of the features of some clips.

    Attributes:
        n: clips.
        mean: float64 (dim,).
        variance: float64 (dim,).
    """

    n: int
    mean: np.ndarray
    variance: np.ndarray

    def factor(self) -> np.ndarray:
        """1 / deviation, float64 (dim,); 0 where a feature does not vary."""
        deviation = np.sqrt(self.variance)
        varies = deviation > CONSTANT * np.abs(self.mean)
        return np.divide(1.0, deviation, out=np.zeros_like(deviation), where=varies)


def statistics(base: Features, ids: Sequence[str]) -> Statistics:
    """Mean and variance of some utterances' features; of frames, over all of them.

    Clip by clip: those of all follow from those of each.
    """
    if not len(ids):
        return Statistics(0, np.zeros(base.dim), np.zeros(base.dim))
    if base.pooled:
        values = base.matrix(ids).astype(np.float64)
        return Statistics(len(ids), values.mean(axis=0), values.var(axis=0))
    frames, means, variances = [], [], []
    for utt_id in ids:
        values = base[utt_id].astype(np.float64)
        frames.append(len(values))
        means.append(values.mean(axis=0))
        variances.append(values.var(axis=0))
    mean = np.average(means, axis=0, weights=frames)
    within = np.average(variances, axis=0, weights=frames)
    between = np.average((np.array(means) - mean) ** 2, axis=0, weights=frames)
    return Statistics(len(ids), mean, within + between)


class Normalised(View):
    """Features less the mean, over the deviation, of their corpus or speaker; no label is read.

    The deviation is that of the corpus. Its mean, or by speaker w times the speaker's mean and
    1 - w times that of the corpus, with w = n / (n + prior_clips) for n clips of the speaker: a
    speaker of few clips has few emotions, which the own mean would take away. A clip whose speaker
    is not known is normalised by its corpus. A feature that does not vary becomes 0.

    Args:
        base: vectors, or frames, all of which count the same.
        rows: manifest rows of all utterances that are asked for.
        unit: "corpus" or "speaker".
        prior_clips: how many clips of the speaker the mean of the corpus is worth.
        heard: the utterances that statistics are made of; None: all of `rows`.
        known: statistics of corpora ("emodb") and speakers ("emodb/03") that are taken as they
            are, whatever is heard of them.

    Raises:
        StoreError: on use where fewer than two clips of a corpus are heard.
    """

    def __init__(
        self,
        base: Features,
        rows: pd.DataFrame,
        unit: str,
        prior_clips: float = 0.0,
        heard: Collection[str] | None = None,
        known: Mapping[str, Statistics] | None = None,
    ):
        super().__init__(base)
        self.prior_clips = prior_clips
        rows = rows[rows["utt_id"].isin(set(base.ids))]
        corpus = rows["corpus"].to_numpy(dtype=object)
        group = corpus
        if unit == "speaker":
            speaker = speaker_keys(rows).to_numpy(dtype=object)
            group = np.where(speaker == "", corpus, speaker)
        ids = rows["utt_id"]
        self._group = dict(zip(ids, group, strict=True))
        self._corpus = dict(zip(group, corpus, strict=True))
        if heard is not None:
            ids = ids[ids.isin(set(heard))]
        self._heard: dict[str, list[str]] = {}  # of each speaker and of each corpus
        for utt_id in ids:
            name = self._group[utt_id]
            for whose in {name, self._corpus[name]}:
                self._heard.setdefault(whose, []).append(utt_id)
        self._statistics = dict(known or {})
        self._scales: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def __getitem__(self, utt_id: str) -> np.ndarray:
        return self.applied(utt_id, self.base[utt_id])

    def applied(self, utt_id: str, values: np.ndarray) -> np.ndarray:
        """Any values (..., dim) normalised as those of an utterance are, float32."""
        mean, factor = self._scale(self._group_of(utt_id))
        return ((values - mean) * factor).astype(np.float32)

    def matrix(self, ids: Sequence[str]) -> np.ndarray:
        """As of `Features`."""
        values = self.base.matrix(ids)
        for row, utt_id in enumerate(ids):
            mean, factor = self._scale(self._group_of(utt_id))
            values[row] = (values[row] - mean) * factor
        return values

    def _group_of(self, utt_id: str) -> int:
        """Whose statistics it is normalised by. Raises KeyError."""
        if utt_id not in self._group:
            raise self.why_missing(utt_id)
        return self._group[utt_id]

    def _scale(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """What is taken off a group's features, and their factor, float64 (dim,) each."""
        if name not in self._scales:
            corpus = self.statistics_of(self._corpus[name])
            if corpus.n < 2:
                raise StoreError(
                    f"{self._corpus[name]} is to be normalised by {corpus.n} clip(s), which have "
                    "no deviation: raise enrolment, or set it to 0 (all clips)"
                )
            mean = corpus.mean
            own = self.statistics_of(name)
            if name != self._corpus[name] and own.n:
                share = own.n / (own.n + self.prior_clips)
                mean = share * own.mean + (1 - share) * corpus.mean
            self._scales[name] = mean, corpus.factor()
        return self._scales[name]

    def statistics_of(self, name: str) -> Statistics:
        """The statistics of all that is heard of a speaker ("emodb/03") or corpus; n may be 0."""
        if name not in self._statistics:
            self._statistics[name] = statistics(self.base, self._heard.get(name, []))
        return self._statistics[name]
