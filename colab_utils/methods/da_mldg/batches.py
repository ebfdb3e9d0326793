"""Features of several corpora on the device, and the batches of domain generalisation: what a step is fed with follows from its number alone."""
from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch.nn import functional

from colab_utils.corpora.manifest import ManifestError
from colab_utils.features.store.store import FeatureStore
from colab_utils.learning.clips import Scale
from colab_utils.settings import SettingError

STRETCH, SHIFT = (0.8, 1.25), 0.1         # method_facts §4.2: factor on the length, share of the crop
_BLOCK = 8192                             # frames summed in one go
_AT_ONCE = 32                             # clips of a test batch
_CONSTANT = 1e-7
Inputs = tuple[torch.Tensor, ...]


class DomainData:
    """Features, classes and corpora of `rows`, in their order, held on `device`: vectors (n, dim), or the frames of all clips end to end.

    store: pooled features or frames; labels: the emotions in the order of the class ids; scale: standardisation of another DomainData
    (`fit_scale` of the training utterances), or None. crop_frames: length of a training crop of frames.
    `domains`: the corpora in alphabetical order; `corpus`: of each row; `y`: int64 (n,). A class that a domain lacks is fine.
    Raises ManifestError for no utterances, an utterance without features and an emotion outside the labels.
    """

    def __init__(self, store: FeatureStore, rows: pd.DataFrame, labels: Sequence[str], *, device: str | torch.device = "cpu",
                 scale: Scale | None = None, crop_frames: int = 198):
        self.rows, self.labels, self.device, self.crop_frames = rows.reset_index(drop=True), list(labels), torch.device(device), crop_frames
        _check(store, self.rows, self.labels)
        self.pooled, self.scale = store.pooled, None
        self.corpus = self.rows["corpus"].to_numpy()
        self.domains = sorted(set(self.corpus))
        self.classes = pd.Index(self.labels).get_indexer(self.rows["emotion"])
        self.y = torch.as_tensor(self.classes, device=self.device)
        clips = [store[utt_id] for utt_id in self.rows["utt_id"]]
        self.lengths = np.array([len(clip) for clip in clips])
        self.starts = np.cumsum(self.lengths) - self.lengths
        self.values = torch.as_tensor(np.concatenate(clips), dtype=torch.float32).to(self.device)
        made = store.spec.get("settings", {})            # digital silence is ln(floor) in log-mel bands that are not normalised
        floor = made.get("floor") if made.get("normalise", "none") == "none" else None
        self.silence = torch.full((self.dim,), np.log(floor) if floor else 0.0, device=self.device)
        self._members = {(name, one): np.flatnonzero((self.corpus == name) & (self.classes == one)) for name in self.domains
                         for one in range(len(self.labels))}
        if scale is not None:
            self._apply(scale)

    @property
    def dim(self) -> int:
        """Numbers a frame (or a vector) has."""
        return self.values.shape[1]

    # --- scale ---------------------------------------------------------------------------------------------------------------------------

    def fit_scale(self) -> Scale:
        """Mean and deviation of each feature over all frames, every domain counting the same however large it is. Give training data."""
        owner = np.repeat(self.corpus, self.lengths)
        moments = [self._moments(torch.as_tensor(np.flatnonzero(owner == name), device=self.device)) for name in self.domains]
        mean = torch.stack([first for first, _ in moments]).mean(dim=0)
        deviation = (torch.stack([second for _, second in moments]).mean(dim=0) - mean.square()).clamp(min=0).sqrt()
        varies = deviation > _CONSTANT * mean.abs()
        return Scale(mean.float(), torch.where(varies, 1 / torch.where(varies, deviation, 1.0), 0.0).float())

    def _moments(self, frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean of the values and of their squares, float64 (dim,) each."""
        first = sum(self.values[block].sum(dim=0, dtype=torch.float64) for block in frames.split(_BLOCK))
        second = sum(self.values[block].double().square().sum(dim=0) for block in frames.split(_BLOCK))
        return first / len(frames), second / len(frames)

    def scaled(self, scale: Scale) -> DomainData:
        """A copy with scaled features, which keeps the scale as `.scale`."""
        other = copy.copy(self)
        other.values, other.silence = self.values.clone(), self.silence.clone()
        other._apply(scale)
        return other

    def _apply(self, scale: Scale) -> None:
        if len(scale.mean) != self.dim:
            raise SettingError(f"the scale was fitted on {len(scale.mean)} features and these utterances have {self.dim}: fit it on these features")
        for values in (self.values, self.silence):
            values.sub_(scale.mean.to(self.device)).mul_(scale.factor.to(self.device))
        self.scale = scale

    # --- training batches ----------------------------------------------------------------------------------------------------------------

    def batches(self, seed: int, step: int, per_domain: int, *, domain_balanced: bool = True, balance: str = "none", augment: bool = False,
                padding: str = "masked") -> dict[str, tuple[Inputs, torch.Tensor]]:
        """The batch of one step, {domain: (inputs, y int64 (n,))}: a pure function of (seed, step), so that a resumed training is the same one.

        domain_balanced: `per_domain` utterances of every domain; otherwise as many in all, drawn from the pool of all domains as the released code
        does (method_facts §4.5), but a domain that gets fewer than two is given two: no side is ever empty (§4.6). balance: "class" draws
        every emotion of a domain equally often, "none" takes the domain's utterances in turn, all once before any twice. augment: frames are
        stretched and shifted in time; padding: of crops longer than the clip, see `crops`.
        """
        rng = np.random.default_rng((seed, 53, step))
        if domain_balanced:
            numbers = {name: self._drawn(name, seed, step, per_domain, balance, rng) for name in self.domains}
        else:
            pool = self._in_turn(np.arange(len(self.corpus)), (seed, 59), step, per_domain * len(self.domains))
            numbers = {name: self._at_least_two(name, pool[self.corpus[pool] == name], rng) for name in self.domains}
        return {name: (self.crops(chosen, rng, augment, padding), self.y[torch.as_tensor(chosen, device=self.device)])
                for name, chosen in numbers.items()}

    def _at_least_two(self, name: str, numbers: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Row numbers, filled up to two by chance: a side of mldg without utterances, or a covariance of one, does not exist."""
        lacking = max(0, 2 - len(numbers))
        return np.append(numbers, rng.choice(np.flatnonzero(self.corpus == name), lacking)) if lacking else numbers

    def _drawn(self, name: str, seed: int, step: int, number: int, balance: str, rng: np.random.Generator) -> np.ndarray:
        """Row numbers of one domain's batch."""
        if balance == "none":
            return self._in_turn(np.flatnonzero(self.corpus == name), (seed, 61, self.domains.index(name)), step, number)
        present = [one for one in range(len(self.labels)) if len(self._members[name, one])]
        classes = np.concatenate([rng.permutation(present) for _ in range(-(-number // len(present)))])[:number]
        return np.array([rng.choice(self._members[name, one]) for one in classes])

    @staticmethod
    def _in_turn(numbers: np.ndarray, stream: tuple[int, ...], step: int, size: int) -> np.ndarray:
        """The `step`-th piece of the endless row of permutations of `numbers`: every one is taken once before any is taken twice."""
        places = np.arange(step * size, (step + 1) * size)
        epochs = np.unique(places // len(numbers))
        orders = {epoch: np.random.default_rng((*stream, int(epoch))).permutation(numbers) for epoch in epochs}
        return np.array([orders[place // len(numbers)][place % len(numbers)] for place in places])

    def crops(self, numbers: np.ndarray, rng: np.random.Generator, augment: bool = False, padding: str = "masked") -> Inputs:
        """Vectors (values (n, dim),), or crops of frames: values (n, crop_frames, dim) and mask bool (n, crop_frames).

        A longer clip is cropped at a random place. A shorter one stands at the beginning, what follows is 0 and masked; padding "zeros": in the
        middle of digital silence that counts as frames (the released code pads the waveform with zeros, and the network sees the floor).
        augment: the length changes by a factor of 0.8 to 1.25 (frames are interpolated: the features, not the audio, are stretched), and the
        crop moves by up to 10 % of its length, with silence coming in.
        """
        if self.pooled:
            return (self.values[torch.as_tensor(numbers, device=self.device)],)
        size = self.crop_frames
        silence = self.silence if padding == "zeros" else torch.zeros_like(self.silence)
        values = silence.repeat(len(numbers), size, 1)
        mask = torch.zeros(len(numbers), size, dtype=torch.bool, device=self.device)
        for row, number in enumerate(numbers):
            clip = self._clip(number)
            if augment:
                clip = stretched(clip, rng.uniform(*STRETCH))
            spare = len(clip) - size
            begin = int(rng.integers(spare + 1)) if spare > 0 else 0
            clip = clip[begin:begin + size]
            if augment:
                clip = shifted(clip, round(rng.uniform(-SHIFT, SHIFT) * len(clip)), self.silence)
            at = (size - len(clip)) // 2 if padding == "zeros" else 0
            values[row, at:at + len(clip)], mask[row, at:at + len(clip)] = clip, True
        return values, torch.ones_like(mask) if padding == "zeros" else mask

    def _clip(self, number: int) -> torch.Tensor:
        """The frames of one clip (frames, dim)."""
        return self.values[self.starts[number]:self.starts[number] + self.lengths[number]]

    # --- whole clips ---------------------------------------------------------------------------------------------------------------------

    def inputs_of(self, numbers: np.ndarray, pieces: Sequence[slice] | None = None) -> Inputs:
        """Whole clips, or a piece of each, padded to the longest and masked: (values,), or (values (n, frames, dim), mask (n, frames))."""
        if self.pooled:
            return (self.values[torch.as_tensor(numbers, device=self.device)],)
        clips = [self._clip(number)[piece] for number, piece in zip(numbers, pieces or [slice(None)] * len(numbers), strict=True)]
        longest = max(map(len, clips))
        values = torch.stack([functional.pad(clip, (0, 0, 0, longest - len(clip))) for clip in clips])
        counts = torch.tensor([len(clip) for clip in clips], device=self.device)
        return values, torch.arange(longest, device=self.device) < counts[:, None]

    def windows(self, number: int, length: int) -> list[slice]:
        """Half-overlapping windows of `length` frames that cover a clip; the last one ends with the clip, a shorter clip is one window."""
        frames = int(self.lengths[number])
        if self.pooled or frames <= length:
            return [slice(0, frames)]
        begins = [*range(0, frames - length, max(1, length // 2)), frames - length]
        return [slice(begin, begin + length) for begin in begins]


def stretched(clip: torch.Tensor, factor: float) -> torch.Tensor:
    """Frames (n, dim) interpolated to round(n * factor) frames, at least one."""
    size = max(1, round(len(clip) * factor))
    return functional.interpolate(clip.T[None], size=size, mode="linear", align_corners=False)[0].T


def shifted(values: torch.Tensor, by: int, fill: torch.Tensor | float = 0.0) -> torch.Tensor:
    """Frames (n, dim) moved by `by` places to the right (left where negative); `fill` comes in."""
    moved = torch.zeros_like(values) + fill
    if by >= 0:
        moved[by:] = values[:len(values) - by]
    else:                                  # moved[:by] is all but the last -by
        moved[:by] = values[-by:]
    return moved


def predict_table(predict: Callable[[Inputs], torch.Tensor], data: DomainData, window_frames: int = 0) -> np.ndarray:
    """`predict` of every utterance, float64 (n, outputs): on whole clips, or the mean over half-overlapping windows, weighted by their frames.

    Clips of like length go together; what a clip gives does not depend on its company where `predict` does not look at the batch.
    """
    pieces = [(number, piece) for number in range(len(data.rows)) for piece in
              (data.windows(number, window_frames) if window_frames else [slice(0, int(data.lengths[number]))])]
    pieces.sort(key=lambda one: one[1].stop - one[1].start)
    at_once = len(pieces) if data.pooled else _AT_ONCE
    total: Any = None
    weights = np.zeros(len(data.rows))
    for first in range(0, len(pieces), at_once):
        numbers, cuts = zip(*pieces[first:first + at_once], strict=True)
        rows = np.array(numbers)
        found = predict(data.inputs_of(rows, cuts)).detach().cpu().double().numpy()
        total = np.zeros((len(data.rows), found.shape[1])) if total is None else total
        frames = np.array([cut.stop - cut.start for cut in cuts], dtype=float)
        np.add.at(total, rows, found * frames[:, None])
        np.add.at(weights, rows, frames)
    return total / weights[:, None]


def _check(store: FeatureStore, rows: pd.DataFrame, labels: list[str]) -> None:
    """Raise for what cannot be held."""
    if not len(rows):
        raise ManifestError("there are no utterances: every domain needs some")
    missing = rows.loc[~rows["utt_id"].isin(set(store.ids)), "utt_id"]
    if len(missing):
        raise ManifestError(f"{len(missing)} utterance(s) have no features, the first is {missing.iloc[0]} (store.skipped may say why): "
                            "leave them out before the split is made")
    if foreign := sorted(set(rows["emotion"]) - set(labels)):
        raise ManifestError(f"the rows hold {', '.join(map(repr, foreign))}, which the labels lack: pass them through select_emotions first")
