"""Clips as tensors: the features and labels of all utterances on the device once, taken by number.

Every method that trains a network holds its utterances this way: meta-learning gathers episodes
from them, domain generalisation batches of every corpus. What only one of them needs is with it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from colab_utils.corpora.manifest import ManifestError
from colab_utils.features.store.features import Features
from colab_utils.features.store.views import CONSTANT
from colab_utils.settings import SettingError

_BLOCK = 8192  # frames that are summed in one go
_AT_ONCE = 32  # clips of frames that are predicted together

Inputs = tuple[torch.Tensor, ...]


class Scale(NamedTuple):
    """Standardisation fitted on training utterances: (x - mean) * factor.

    Attributes:
        mean: float32 (dim,).
        factor: weight / deviation, float32 (dim,); 0 for a constant feature, which plays no part.
    """

    mean: torch.Tensor
    factor: torch.Tensor

    @classmethod
    def of(
        cls, mean: torch.Tensor, deviation: torch.Tensor, weights: np.ndarray | None = None
    ) -> Scale:
        """The scale of features with this mean and standard deviation, float64 (dim,) each.

        weights: what a feature counts once its deviation is 1, (dim,); None: all alike.
        """
        varies = deviation > CONSTANT * mean.abs()
        factor = torch.where(varies, 1 / deviation, 0.0)
        if weights is not None:
            factor = factor * torch.as_tensor(weights, device=factor.device)
        return cls(mean.float(), factor.float())

    def applied(self, values: torch.Tensor) -> torch.Tensor:
        """Scaled values (..., dim), a new tensor. Raises SettingError for other features."""
        if values.shape[-1] != len(self.mean):
            raise SettingError(
                f"the scale was fitted on {len(self.mean)} features and these "
                f"utterances have {values.shape[-1]}: fit it on these features"
            )
        mean, factor = self.mean.to(values.device), self.factor.to(values.device)
        return values.sub(mean).mul_(factor)


class Clips:
    """Features and labels of `rows`, in their order, held on `device`.

    Utterances are asked for by number: their positions in `rows`.

    Attributes:
        rows: the table of the utterances, with a fresh index.
        labels: the emotions (or other classes) in the order of the class ids.
        y: class ids, int64 (n,), on the device.
        corpus: the corpus of each utterance, numpy (n,).
        corpora: the corpora in alphabetical order.
        frames: whether an utterance is several frames (True) or one vector (False).
        values: float32 (n, dim), or the frames of all clips end to end (all frames, dim).
        lengths: how many rows of `values` each clip has (a vector: 1), numpy int64 (n,).
        starts: which is its first, likewise.
        scale: what `values` were scaled by, or None.
        weights: of the features, see `Features.weights`.

    Example:
        >>> train = Clips(store, rows[rows["role"] == "train"], labels)
        >>> test = Clips(store, rows[rows["role"] == "test"], labels, scale=train.fit_scale())
        >>> logits = network(*test.inputs(np.arange(len(test))))
    """

    def __init__(
        self,
        store: Features,
        rows: pd.DataFrame,
        labels: Sequence[str],
        *,
        device: str | torch.device = "cpu",
        scale: Scale | None = None,
    ):
        """Read the features of `rows`.

        Args:
            store: vectors or frames of at least these utterances.
            rows: manifest rows (utt_id, corpus, emotion, ...).
            labels: the emotions in the order of the class ids; one that `rows` lack is fine.
            device: where the features are held.
            scale: the scale of the training utterances, or None (as stored).

        Raises:
            ManifestError: no rows, an utterance without features, an emotion outside `labels`.
            SettingError: a scale of other features.
        """
        _check(store, rows, labels)
        self.rows = rows.reset_index(drop=True)
        self.labels = list(labels)
        self.device = torch.device(device)
        self.corpus = self.rows["corpus"].to_numpy()
        self.corpora = sorted(set(self.corpus))
        class_ids = pd.Index(self.labels).get_indexer(self.rows["emotion"])
        self.y = torch.as_tensor(class_ids, device=self.device)
        self.frames = not store.pooled
        self.weights = store.weights
        if self.frames:
            clips = [store[utt_id] for utt_id in self.rows["utt_id"]]
            self.lengths = np.array([len(clip) for clip in clips])
            vectors = np.concatenate(clips)
        else:
            self.lengths = np.ones(len(self.rows), dtype=np.int64)
            vectors = store.matrix(self.rows["utt_id"].to_list())
        self.starts = np.cumsum(self.lengths) - self.lengths
        self.values = torch.as_tensor(vectors, dtype=torch.float32).to(self.device)
        self.scale = scale
        if scale is not None:
            self.values = scale.applied(self.values)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def dim(self) -> int:
        """Numbers a frame (or a vector) has."""
        return self.values.shape[1]

    # --- scale ------------------------------------------------------------------------------------

    def fit_scale(self, numbers: np.ndarray | None = None, by_corpus: bool = False) -> Scale:
        """Mean and deviation of each feature over every frame of some utterances.

        Args:
            numbers: which utterances (default: all). Give training utterances.
            by_corpus: every corpus counts the same, however large it is; otherwise every frame.
                The variance is then the mean of the corpora's about the common mean.
        """
        numbers = np.arange(len(self)) if numbers is None else np.asarray(numbers)
        groups = [numbers]
        if by_corpus:
            owner = self.corpus[numbers]
            groups = [numbers[owner == name] for name in np.unique(owner)]
        parts = [self._places(group) for group in groups]
        mean = self._mean_power(parts, 0.0, 1)
        variance = self._mean_power(parts, mean, 2)
        return Scale.of(mean, variance.sqrt(), self.weights)

    def _mean_power(
        self, parts: Sequence[torch.Tensor], centre: torch.Tensor | float, power: int
    ) -> torch.Tensor:
        """Mean of (value - centre)**power of each feature, float64 (dim,); parts count the same.

        Args:
            parts: rows of `values`, int64 each.
            centre: float64 (dim,) or a number.
            power: 1 or 2.
        """
        means = []
        for places in parts:
            total = 0.0
            for block in places.split(_BLOCK):
                apart = self.values[block].double() - centre
                total = total + (apart**power).sum(dim=0)
            means.append(total / len(places))
        return torch.stack(means).mean(dim=0)

    def _places(self, numbers: np.ndarray) -> torch.Tensor:
        """Which rows of `values` belong to the utterances, in their order, int64."""
        lengths = self.lengths[numbers]
        before = np.cumsum(lengths) - lengths
        first = np.repeat(self.starts[numbers] - before, lengths)
        return torch.as_tensor(first + np.arange(len(first)), device=self.device)

    def scaled(self, scale: Scale) -> Clips:
        """A copy with scaled features. Raises SettingError for a scale of other features."""
        other = copy.copy(self)
        other.values = scale.applied(self.values)
        other.scale = scale
        return other

    # --- what a network is called with ------------------------------------------------------------

    def clip(self, number: int) -> torch.Tensor:
        """The frames of one clip (frames, dim), or its vector (1, dim): a view."""
        start = self.starts[number]
        return self.values[start : start + self.lengths[number]]

    def inputs(
        self,
        numbers: np.ndarray,
        begins: np.ndarray | int = 0,
        counts: np.ndarray | None = None,
        size: int | None = None,
    ) -> Inputs:
        """Whole clips, or a piece of each, padded with 0 to one length and masked.

        Args:
            numbers: which utterances, int (...), of any shape.
            begins: the first frame of each piece, int of the shape of `numbers`.
            counts: frames of each piece, likewise; they lie within the clip. None: all to its end.
            size: frames after padding; None: those of the longest piece.

        Returns:
            (values (..., dim),) of vectors; of frames values (..., size, dim) and the mask
            (..., size), True where there is speech.
        """
        numbers = np.asarray(numbers)
        if not self.frames:
            return (self.values[torch.as_tensor(numbers, device=self.device)],)
        if counts is None:
            counts = self.lengths[numbers] - begins
        if size is None:
            size = int(np.max(counts))
        first = torch.as_tensor(self.starts[numbers] + begins, device=self.device)
        frame = torch.arange(size, device=self.device)
        mask = frame < torch.as_tensor(counts, device=self.device)[..., None]
        places = torch.where(mask, first[..., None] + frame, 0)
        return self.values[places].masked_fill_(~mask[..., None], 0.0), mask

    def crops(
        self, numbers: np.ndarray, max_frames: int, generator: torch.Generator | None = None
    ) -> Inputs:
        """`inputs` with longer clips cropped to `max_frames`, at random or in the middle.

        All are as long as the longest clip that is held, or `max_frames` where that is less.

        Args:
            numbers: which utterances, int (...), of any shape.
            max_frames: the longest crop.
            generator: where a crop begins is drawn from it (of the CPU, whatever the device).
                None: each is the middle of its clip.

        Raises:
            SettingError: max_frames below 1.
        """
        if max_frames < 1:
            raise SettingError(f"max_frames = {max_frames}: a crop needs at least one frame")
        numbers = np.asarray(numbers)
        if not self.frames:
            return self.inputs(numbers)
        lengths = self.lengths[numbers]
        size = min(max_frames, int(self.lengths.max()))
        spare = np.maximum(lengths - size, 0)
        if generator is None:
            begins = spare // 2
        else:
            drawn = torch.rand(numbers.shape, generator=generator, dtype=torch.float64).numpy()
            begins = np.minimum((drawn * (spare + 1)).astype(np.int64), spare)
        return self.inputs(numbers, begins, np.minimum(lengths, size), size)


def windows(frames: int, length: int) -> list[tuple[int, int]]:
    """Half-overlapping windows of `length` frames that cover a clip, (first frame, frames) each.

    The last one ends with the clip; a shorter clip is one window.
    """
    if frames <= length:
        return [(0, frames)]
    begins = [*range(0, frames - length, max(1, length // 2)), frames - length]
    return [(begin, length) for begin in begins]


def predict_table(
    predict: Callable[[Inputs], torch.Tensor], clips: Clips, window_frames: int = 0
) -> np.ndarray:
    """`predict` of every utterance, float64 (n, outputs).

    Clips of like length go together; what a clip gives does not depend on its company where
    `predict` does not look at the batch.

    Args:
        predict: inputs -> (clips, outputs).
        clips: the utterances.
        window_frames: 0: whole clips. Otherwise the mean over half-overlapping windows of so many
            frames, weighted by their frames.

    Raises:
        SettingError: `predict` gives something else.
    """
    pieces = []
    for number, frames in enumerate(clips.lengths.tolist()):
        for begin, count in windows(frames, window_frames or frames):
            pieces.append((number, begin, count))
    pieces.sort(key=lambda piece: piece[2])
    numbers, begins, counts = np.array(pieces).T
    at_once = _AT_ONCE if clips.frames else len(pieces)
    outputs = []
    for first in range(0, len(pieces), at_once):
        now = slice(first, first + at_once)
        inputs = clips.inputs(numbers[now], begins[now], counts[now])
        found = predict(inputs)
        if not isinstance(found, torch.Tensor) or len(found) != len(numbers[now]):
            shape = tuple(getattr(found, "shape", ()))
            raise SettingError(
                f"predict gave a {type(found).__name__} of shape {shape} for {len(numbers[now])} "
                "clips: it has to give a tensor (clips, outputs)"
            )
        outputs.append(found.detach().cpu().double().numpy())
    weighted = np.concatenate(outputs) * counts[:, None]
    total = np.zeros((len(clips), weighted.shape[1]))
    np.add.at(total, numbers, weighted)
    return total / np.bincount(numbers, weights=counts)[:, None]


def _check(store: Features, rows: pd.DataFrame, labels: Sequence[str]) -> None:
    """Raise ManifestError for what cannot be held."""
    if not len(rows):
        raise ManifestError("there are no utterances: look at the split and at the chosen emotions")
    missing = rows.loc[~rows["utt_id"].isin(set(store.ids)), "utt_id"]
    if len(missing):
        raise ManifestError(
            f"{len(missing)} utterance(s) have no features, the first is {missing.iloc[0]} "
            "(store.skipped may say why): leave them out before the split is made"
        )
    if foreign := sorted(set(rows["emotion"]) - set(labels)):
        raise ManifestError(
            f"the rows hold {', '.join(map(repr, foreign))}, which the labels lack: pass them "
            "through select_emotions first"
        )
