"""Episodes as tensors: the features of all utterances on the device once, gathered task by task, and scores back as predictions."""
from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from colab_utils.features.store.store import FeatureStore
from colab_utils.learning.tasks import Batch, Tasks
from colab_utils.protocols.episodes import Episode, EpisodeError
from colab_utils.results.predictions import validate

REGIMES = ("fixed", "permuted")
UTTERANCE = "utterance"
_CONSTANT = 1e-7             # a deviation of less than this part of the mean is what float32 rounding leaves of a constant feature
_BLOCK = 8192                # frames that are summed in one go


class Scale(NamedTuple):
    """Standardisation fitted on training utterances, (x - mean) * factor: float32 (dim,) each. factor is 1 / deviation; 0 for a constant feature."""
    mean: torch.Tensor
    factor: torch.Tensor


class EpisodeData:
    """Features and labels of `rows`, in their order, held on `device`: vectors (n, dim), or the frames of all utterances end to end.

    store: pooled features, or frames; pooled=True makes mean and deviation over time of frames (`note` says so). labels: the emotions in the
    order of the label indices; `y`: int64 (n,). max_frames: a longer clip is cropped whenever it is used. scale: None (as stored); a Scale;
    or "utterance", mean 0 and deviation 1 of each feature over an utterance's own frames (method_facts §1.7), which needs no training data.
    Row numbers are positions in `rows`: the rows that the episodes were drawn from. Raises EpisodeError.
    """

    def __init__(self, store: FeatureStore, rows: pd.DataFrame, labels: Sequence[str], *, device: str | torch.device = "cpu",
                 max_frames: int = 300, scale: Scale | str | None = None, pooled: bool = False):
        self.device, self.labels, self.note, self.max_frames = torch.device(device), list(labels), "", max_frames
        self.frames = not (store.pooled or pooled)
        _check(store, rows, self.labels, max_frames, scale, self.frames)
        self.y = torch.as_tensor(pd.Index(self.labels).get_indexer(rows["emotion"]), device=self.device)
        if self.frames:
            clips = [store[utt_id] for utt_id in rows["utt_id"]]
            lengths = np.array([len(clip) for clip in clips])
            values = np.concatenate([_normalised(clip) if scale == UTTERANCE else clip for clip in clips])
            self.lengths = torch.as_tensor(lengths, device=self.device)
            self.starts = torch.as_tensor(np.cumsum(lengths) - lengths, device=self.device)
        else:
            values, self.note = pooled_features(store, rows["utt_id"])
        self.values = torch.as_tensor(values, dtype=torch.float32).to(self.device)
        if isinstance(scale, Scale):
            self._apply(scale)

    @property
    def dim(self) -> int:
        """Numbers a frame (or a vector) has."""
        return self.values.shape[1]

    @property
    def window(self) -> int:
        """Frames of a batch: `max_frames`, or those of the longest clip where that is less."""
        return min(self.max_frames, int(self.lengths.max()))

    def fit_scale(self, numbers: np.ndarray | None = None) -> Scale:
        """Mean and deviation of each feature over the utterances `numbers` (default: all), over every frame they have. Give training rows."""
        values = self.values if numbers is None else self.values[self._positions(numbers)]
        mean = sum(block.sum(dim=0, dtype=torch.float64) for block in values.split(_BLOCK)) / len(values)
        square = sum(((block - mean) ** 2).sum(dim=0) for block in values.split(_BLOCK)) / len(values)
        deviation = square.sqrt()
        varies = deviation > _CONSTANT * mean.abs()
        return Scale(mean.float(), torch.where(varies, 1 / torch.where(varies, deviation, 1.0), 0.0).float())

    def _positions(self, numbers: np.ndarray) -> torch.Tensor:
        """Which rows of `values` belong to the utterances, int64."""
        numbers = torch.as_tensor(numbers, device=self.device)
        if not self.frames:
            return numbers
        lengths = self.lengths[numbers]
        first = torch.repeat_interleave(self.starts[numbers] - lengths.cumsum(0) + lengths, lengths)
        return first + torch.arange(len(first), device=self.device)

    def scaled(self, scale: Scale) -> EpisodeData:
        """A copy with scaled features. Raises EpisodeError for a scale of other features."""
        other = copy.copy(self)
        other.values = self.values.clone()
        other._apply(scale)
        return other

    def _apply(self, scale: Scale) -> None:
        """Scale the features in place."""
        if len(scale.mean) != self.dim:
            raise EpisodeError(f"the scale was fitted on {len(scale.mean)} features and these utterances have {self.dim}: fit it on these features")
        self.values.sub_(scale.mean.to(self.device)).mul_(scale.factor.to(self.device))

    def inputs(self, numbers: np.ndarray | torch.Tensor, crop: torch.Generator | None = None) -> tuple[torch.Tensor, ...]:
        """What a network is called with: (values (..., dim),), or for frames (values (..., frames, dim), mask (..., frames)).

        numbers: int (...). crop: where a crop of a clip longer than `max_frames` begins is drawn from this generator; None: in the middle.
        """
        numbers = torch.as_tensor(numbers, device=self.device)
        if not self.frames:
            return (self.values[numbers],)
        lengths = self.lengths[numbers]
        spare = (lengths - self.window).clamp(min=0)
        if crop is None:
            first = spare // 2
        else:                                    # drawn where the generator is: the same crops on every device
            drawn = torch.rand(numbers.shape, generator=crop, device=crop.device, dtype=torch.float64).to(self.device)
            first = torch.minimum((drawn * (spare + 1)).long(), spare)
        frame = torch.arange(self.window, device=self.device)
        mask = frame < lengths[..., None]
        at = (self.starts[numbers] + first)[..., None] + frame
        return self.values[torch.where(mask, at, 0)].masked_fill_(~mask[..., None], 0.0), mask

    def tasks(self, episodes: Sequence[Episode], regime: str, crop: torch.Generator | None = None, outputs: int | None = None) -> Tasks:
        """Episodes of one plan as Tasks with a leading dimension (tasks, ...), utterances class by class in the order of `Episode.classes`.

        regime "permuted": y is the position of the class in the episode, and of the `outputs` of the head (default: the ways) the first
        `ways` are active; "fixed": y is the label index, one output a label, the episode's classes active. Raises EpisodeError.
        """
        classes = np.stack([episode.classes for episode in episodes])
        ways, size = classes.shape[1], len(self.labels)
        if regime not in REGIMES:
            raise EpisodeError(f"regime {regime!r}: choose from {', '.join(REGIMES)}")
        if regime == "permuted" and (outputs or ways) < ways:
            raise EpisodeError(f"{ways} ways, but the head has {outputs} outputs: choose at most {outputs} ways, or train again with more")
        ids, size = (classes, size) if regime == "fixed" else (np.broadcast_to(np.arange(ways), classes.shape), outputs or ways)
        active = np.zeros((len(classes), size), dtype=bool)
        np.put_along_axis(active, ids, True, axis=1)

        def batch(numbers: np.ndarray) -> Batch:
            inputs = self.inputs(numbers.reshape(len(numbers), -1), crop)
            y = np.repeat(ids, numbers.shape[2], axis=1)
            return Batch(inputs, torch.as_tensor(y, device=self.device), torch.as_tensor(active, device=self.device))
        return Tasks(batch(np.stack([episode.support for episode in episodes])), batch(np.stack([episode.query for episode in episodes])))


def _check(store: FeatureStore, rows: pd.DataFrame, labels: list[str], max_frames: int, scale: Scale | str | None, frames: bool) -> None:
    """Raise EpisodeError for what cannot be held."""
    missing = rows.loc[~rows["utt_id"].isin(set(store.ids)), "utt_id"]
    if len(missing):
        raise EpisodeError(f"{len(missing)} utterance(s) have no features, the first is {missing.iloc[0]} (store.skipped may say why): "
                           "leave them out before episodes are drawn")
    if foreign := sorted(set(rows["emotion"]) - set(labels)):
        raise EpisodeError(f"the rows hold {', '.join(map(repr, foreign))}, which the labels lack: pass them through select_emotions first")
    if not len(rows) or max_frames < 1:
        raise EpisodeError(f"{len(rows)} utterances and max_frames = {max_frames}: at least one of each is needed")
    if isinstance(scale, str) and (scale != UTTERANCE or not frames):
        raise EpisodeError(f'scale = "{scale}": "{UTTERANCE}" needs frames; otherwise give a Scale fitted on training utterances, or None')


def _normalised(clip: np.ndarray) -> np.ndarray:
    """A clip (frames, dim) with mean 0 and deviation 1 of each feature over its frames; a constant feature becomes 0."""
    clip = clip.astype(np.float64)
    centred, deviation = clip - clip.mean(axis=0), clip.std(axis=0)
    varies = deviation > _CONSTANT * np.abs(clip.mean(axis=0))
    return np.where(varies, centred / np.where(varies, deviation, 1.0), 0.0).astype(np.float32)


def label_scores(probabilities: torch.Tensor | np.ndarray, episodes: Sequence[Episode], regime: str, n_labels: int) -> np.ndarray:
    """Query probabilities (tasks, queries, outputs) with a column a label, float64 (tasks, queries, n_labels): permuted ids become emotions."""
    values = torch.as_tensor(probabilities).detach().cpu().double().numpy()
    if regime == "fixed":
        return values
    classes = np.stack([episode.classes for episode in episodes])[:, None, :]
    scores = np.zeros((*values.shape[:2], n_labels))
    np.put_along_axis(scores, classes, values[..., :classes.shape[2]], axis=2)
    return scores


def episode_predictions(scores: np.ndarray, episodes: Sequence[Episode], rows: pd.DataFrame, labels: Sequence[str], *, method: str, rule: str,
                        seed: int, fold: str, draw: int = 0) -> pd.DataFrame:
    """The predictions of all queries as a table (results.predictions), `task` the number of the episode.

    scores: (tasks, queries, labels) from `label_scores`; rows: what the episodes were drawn from. Raises PredictionError, EpisodeError.
    """
    numbers = np.stack([episode.query.ravel() for episode in episodes])
    if scores.shape != (*numbers.shape, len(labels)):
        raise EpisodeError(f"scores have shape {scores.shape}: {(*numbers.shape, len(labels))} is needed, tasks, queries and labels")
    table = rows.iloc[numbers.ravel()][["utt_id", "corpus", "speaker", "emotion"]].rename(columns={"emotion": "true"}).reset_index(drop=True)
    task = np.repeat([episode.task for episode in episodes], numbers.shape[1])
    pred = np.array(labels, dtype=object)[scores.argmax(axis=2).ravel()]
    table = table.assign(method=method, rule=rule, seed=seed, fold=str(fold), draw=draw, task=task, pred=pred)
    probabilities = pd.DataFrame(scores.reshape(-1, len(labels)), columns=[f"p_{label}" for label in labels])
    return validate(pd.concat([table, probabilities], axis=1), labels)


def pooled_features(store: FeatureStore, ids: Sequence[str]) -> tuple[np.ndarray, str]:
    """One vector per utterance, float32 (utterances, dim), and how it was made: "" as stored, or the note for frames pooled over time.

    Frames become the mean and the standard deviation of their valid frames, side by side (utterances, 2 dim).
    """
    if store.pooled:
        return store.matrix(list(ids)), ""
    frames = (store[utt_id] for utt_id in ids)
    pooled = np.stack([np.concatenate([values.mean(axis=0), values.std(axis=0)]) for values in frames])
    return pooled, "frames pooled to mean and standard deviation over time"
