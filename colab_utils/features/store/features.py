"""What every study reads: features of utterances by `utt_id`, wherever they come from."""

import abc
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from colab_utils.features.store.shards import StoreError


class Features(abc.ABC):
    """Features of many utterances.

    `features[utt_id]` are those of one utterance: float32 (frames, dim), one frame where `pooled`.

    Attributes:
        spec: what they were made by (name, version, settings).
        key: 12 hex digits that name spec and audio.
        pooled: whether an utterance has one vector instead of frames.
        feature_names: the columns.
        weights: what a standardised column counts, float64 (dim,), mean square 1; None: all alike.
        skipped: table (utt_id, reason) of utterances without features.
        report: what the extraction did that returned them, else None.
        note: what a reader has to know of how they were made, or "".
        front_end: what made them here, or None where that is not at hand.
    """

    spec: dict[str, Any]
    key: str
    pooled: bool
    feature_names: list[str]
    weights: np.ndarray | None = None
    skipped: pd.DataFrame
    report: Any = None
    note: str = ""
    front_end: Any = None

    @property
    @abc.abstractmethod
    def ids(self) -> list[str]:
        """The utterances that have features."""

    @abc.abstractmethod
    def __contains__(self, utt_id: object) -> bool: ...

    @abc.abstractmethod
    def __getitem__(self, utt_id: str) -> np.ndarray:
        """The features of one utterance, float32 (frames, dim), a copy.

        Raises:
            KeyError: it has none; with the reason where it was skipped.
        """

    def lengths(self, ids: Sequence[str]) -> np.ndarray:
        """Frames of each of `ids`, int64 (n,), one each where `pooled`; nothing is read."""
        return np.ones(len(ids), dtype=np.int64)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def dim(self) -> int:
        """Numbers a frame (or an utterance) has."""
        return len(self.feature_names)

    def why_missing(self, utt_id: str) -> KeyError:
        """The error that says why an utterance has no features."""
        reason = "it was not extracted"
        for row in self.skipped[self.skipped["utt_id"] == utt_id].itertuples():
            reason = f"it was skipped ({row.reason})"
        return KeyError(f"{utt_id} has no features: {reason}")

    def matrix(self, ids: Sequence[str]) -> np.ndarray:
        """Vectors of some utterances.

        Args:
            ids: the utterances; the rows are in their order.

        Returns:
            float32 (n, dim).

        Raises:
            KeyError: an utterance without features.
            StoreError: these are frames.
        """
        if not self.pooled:
            raise StoreError(
                f"{self.spec['name']} gives frames, not one vector an utterance: use padded(ids),"
                " or a pooled front end"
            )
        nothing = np.zeros((0, self.dim), np.float32)
        return np.concatenate([nothing, *(self[utt_id] for utt_id in ids)])

    def padded(self, ids: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Frames of some utterances, filled up to the longest.

        Args:
            ids: the utterances.

        Returns:
            values: float32 (n, frames, dim).
            mask: bool (n, frames), True where there is speech. Elsewhere the values are 0, which
                is no silence and must be masked.

        Raises:
            KeyError: an utterance without features.
        """
        lengths = self.lengths(ids)
        longest = lengths.max(initial=0)
        mask = np.arange(longest) < lengths[:, None]
        values = np.zeros((len(ids), longest, self.dim), dtype=np.float32)
        for row, utt_id in enumerate(ids):
            values[row][mask[row]] = self[utt_id]
        return values, mask


class Held(Features):
    """Vectors of some utterances in memory.

    Args:
        ids: the utterances.
        vectors: float32 (n, dim) in their order.
        spec: what they were made by.
        key: names spec and content.
        feature_names: the columns; default: their numbers.
    """

    pooled = True

    def __init__(
        self,
        ids: Sequence[str],
        vectors: np.ndarray,
        spec: dict[str, Any],
        key: str,
        feature_names: Sequence[str] = (),
    ):
        self.spec, self.key = spec, key
        columns = range(vectors.shape[1])
        self.feature_names = list(feature_names) or [str(number) for number in columns]
        self.skipped = pd.DataFrame(columns=["utt_id", "reason"])
        self._vectors = vectors
        rows = range(len(vectors))
        self._row = dict(zip(ids, rows, strict=True))

    @property
    def ids(self) -> list[str]:
        """The utterances that have a vector, in their order."""
        return list(self._row)

    def __contains__(self, utt_id: object) -> bool:
        return utt_id in self._row

    def __getitem__(self, utt_id: str) -> np.ndarray:
        return self.matrix([utt_id])

    def matrix(self, ids: Sequence[str]) -> np.ndarray:
        """As of `Features`."""
        for utt_id in ids:
            if utt_id not in self._row:
                raise self.why_missing(utt_id)
        return self._vectors[[self._row[utt_id] for utt_id in ids]]


class Frames(dict, Features):
    """Features in memory: an utterance's frames, float32 (frames, dim), by its utt_id.

    Args:
        frames: of each utterance.
        spec: what they were made by.
        feature_names: the columns; default: their numbers.
        pooled: whether each has one frame alone, a vector.
    """

    key = ""

    def __init__(
        self,
        frames: Mapping[str, np.ndarray],
        spec: dict[str, Any],
        feature_names: Sequence[str] = (),
        pooled: bool = False,
    ):
        super().__init__(frames)
        self.spec, self.pooled = spec, pooled
        dim = next((values.shape[1] for values in frames.values()), 0)
        self.feature_names = list(feature_names) or [str(number) for number in range(dim)]
        self.skipped = pd.DataFrame(columns=["utt_id", "reason"], dtype=str)

    @property
    def ids(self) -> list[str]:
        """As of `Features`."""
        return list(self)

    def lengths(self, ids: Sequence[str]) -> np.ndarray:
        """As of `Features`."""
        return np.array([len(self[utt_id]) for utt_id in ids], dtype=np.int64)
