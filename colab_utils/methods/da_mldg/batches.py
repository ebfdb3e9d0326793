"""Batches of domain generalisation: what a step is fed with follows from its number alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from colab_utils.learning.clips import Clips, Inputs

# method_facts §4.2: factor on the length of a clip, share of the crop.
STRETCH, SHIFT = (0.8, 1.25), 0.1
_AT_ONCE = 32  # clips of a test batch


class DomainBatches:
    """The endless row of training batches of some clips; a domain is a corpus.

    A class that a domain lacks is fine.
    """

    def __init__(self, clips: Clips, crop_frames: int = 198, silence: float = 0.0):
        """Args:
        clips: the training utterances.
        crop_frames: length of a crop of frames.
        silence: what digital silence is in every feature as stored, see `digital_silence`.
        """
        self.clips, self.crop_frames = clips, crop_frames
        self.silence = torch.full((clips.dim,), silence, device=clips.device)
        if clips.scale is not None:
            self.silence = clips.scale.applied(self.silence)
        classes = clips.y.cpu().numpy()
        self._members = {
            (name, one): np.flatnonzero((clips.corpus == name) & (classes == one))
            for name in clips.corpora
            for one in range(len(clips.labels))
        }

    def batch(
        self,
        seed: int,
        step: int,
        per_domain: int,
        *,
        domain_balanced: bool = True,
        balance: str = "none",
        augment: bool = False,
        padding: str = "masked",
    ) -> dict[str, tuple[Inputs, torch.Tensor]]:
        """The batch of one step, {domain: (inputs, y int64 (n,))}.

        It is a pure function of (seed, step), so that a resumed training is the same one.

        Args:
            seed: of the training.
            step: number of the step, from 0 on.
            per_domain: utterances of every domain.
            domain_balanced: False: `per_domain` times the number of domains in all, drawn from the
                pool of all domains as the released code does (method_facts §4.5), but a domain that
                gets fewer than two is given two: no side is ever empty (§4.6).
            balance: "class" draws every emotion of a domain equally often; "none" takes the
                domain's utterances in turn, all once before any twice.
            augment: frames are stretched and shifted in time.
            padding: of crops longer than the clip, see `crops`.
        """
        clips = self.clips
        rng = np.random.default_rng((seed, 53, step))
        if domain_balanced:
            numbers = {
                name: self._drawn(name, seed, step, per_domain, balance, rng)
                for name in clips.corpora
            }
        else:
            everyone = np.arange(len(clips))
            pool = _in_turn(everyone, (seed, 59), step, per_domain * len(clips.corpora))
            numbers = {
                name: self._at_least_two(name, pool[clips.corpus[pool] == name], rng)
                for name in clips.corpora
            }
        batch = {}
        for name, chosen in numbers.items():
            y = clips.y[torch.as_tensor(chosen, device=clips.device)]
            batch[name] = self.crops(chosen, rng, augment, padding), y
        return batch

    def _at_least_two(self, name: str, numbers: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Row numbers, filled up to two by chance.

        A side of mldg without utterances, or a covariance of one, does not exist.
        """
        lacking = max(0, 2 - len(numbers))
        if not lacking:
            return numbers
        return np.append(numbers, rng.choice(np.flatnonzero(self.clips.corpus == name), lacking))

    def _drawn(
        self, name: str, seed: int, step: int, number: int, balance: str, rng: np.random.Generator
    ) -> np.ndarray:
        """Row numbers of one domain's batch."""
        clips = self.clips
        if balance == "none":
            members = np.flatnonzero(clips.corpus == name)
            return _in_turn(members, (seed, 61, clips.corpora.index(name)), step, number)
        present = [one for one in range(len(clips.labels)) if len(self._members[name, one])]
        rounds = -(-number // len(present))
        classes = np.concatenate([rng.permutation(present) for _ in range(rounds)])[:number]
        return np.array([rng.choice(self._members[name, one]) for one in classes])

    def crops(
        self,
        numbers: np.ndarray,
        rng: np.random.Generator,
        augment: bool = False,
        padding: str = "masked",
    ) -> Inputs:
        """Vectors (values (n, dim),), or crops of frames at random places.

        Args:
            numbers: which utterances, int (n,).
            rng: what is left to chance.
            augment: the length changes by a factor of 0.8 to 1.25 (frames are interpolated: the
                features, not the audio, are stretched), and the crop moves by up to 10 % of its
                length, with silence coming in.
            padding: "masked": a clip shorter than a crop stands at the beginning, what follows is 0
                and masked. "zeros": it stands in the middle of digital silence that counts as
                frames (the released code pads the waveform with zeros, and the network sees the
                floor).

        Returns:
            Of frames: values (n, crop_frames, dim) and mask bool (n, crop_frames).
        """
        clips, size = self.clips, self.crop_frames
        if not clips.frames:
            return clips.inputs(numbers)
        zeros = padding == "zeros"
        around = self.silence if zeros else torch.zeros_like(self.silence)
        values = around.repeat(len(numbers), size, 1)
        mask = torch.zeros(len(numbers), size, dtype=torch.bool, device=clips.device)
        for row, number in enumerate(numbers):
            clip = clips.clip(number)
            if augment:
                clip = stretched(clip, rng.uniform(*STRETCH))
            spare = len(clip) - size
            begin = int(rng.integers(spare + 1)) if spare > 0 else 0
            clip = clip[begin : begin + size]
            if augment:
                by = round(rng.uniform(-SHIFT, SHIFT) * len(clip))
                clip = shifted(clip, by, self.silence)
            at = (size - len(clip)) // 2 if zeros else 0
            values[row, at : at + len(clip)] = clip
            mask[row, at : at + len(clip)] = True
        return values, torch.ones_like(mask) if zeros else mask


def _in_turn(numbers: np.ndarray, stream: tuple[int, ...], step: int, size: int) -> np.ndarray:
    """The `step`-th piece of the endless row of permutations of `numbers`.

    Every one is taken once before any is taken twice.
    """
    places = np.arange(step * size, (step + 1) * size)
    orders = {}
    for epoch in np.unique(places // len(numbers)):
        orders[epoch] = np.random.default_rng((*stream, int(epoch))).permutation(numbers)
    return np.array([orders[place // len(numbers)][place % len(numbers)] for place in places])


def digital_silence(spec: Mapping[str, Any]) -> float:
    """What digital silence is in every feature of a store's spec.

    ln(floor) in log-mel bands that are not normalised; 0 where it is not known.
    """
    made = spec.get("settings", {})
    floor = made.get("floor") if made.get("normalise", "none") == "none" else None
    return float(np.log(floor)) if floor else 0.0


def stretched(clip: torch.Tensor, factor: float) -> torch.Tensor:
    """Frames (n, dim) interpolated to round(n * factor) frames, at least one."""
    size = max(1, round(len(clip) * factor))
    channels = clip.T[None]
    return functional.interpolate(channels, size=size, mode="linear", align_corners=False)[0].T


def shifted(values: torch.Tensor, by: int, fill: torch.Tensor | float = 0.0) -> torch.Tensor:
    """Frames (n, dim) moved `by` places to the right (left where negative); `fill` comes in."""
    moved = torch.zeros_like(values) + fill
    if by >= 0:
        moved[by:] = values[: len(values) - by]
    else:  # moved[:by] is all but the last -by
        moved[:by] = values[-by:]
    return moved


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
    """
    pieces = []
    for number, frames in enumerate(clips.lengths.tolist()):
        cuts = windows(frames, window_frames) if window_frames else [(0, frames)]
        pieces += [(number, begin, count) for begin, count in cuts]
    pieces.sort(key=lambda piece: piece[2])
    at_once = _AT_ONCE if clips.frames else len(pieces)
    total: Any = None
    weights = np.zeros(len(clips))
    for first in range(0, len(pieces), at_once):
        numbers, begins, counts = np.array(pieces[first : first + at_once]).T
        inputs = clips.inputs(numbers, begins, counts)
        found = predict(inputs).detach().cpu().double().numpy()
        if total is None:
            total = np.zeros((len(clips), found.shape[1]))
        np.add.at(total, numbers, found * counts[:, None].astype(float))
        np.add.at(weights, numbers, counts.astype(float))
    return total / weights[:, None]
