"""Batches of domain generalisation: what a step is fed with follows from its number alone."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from colab_utils.learning.clips import Clips, Inputs
from colab_utils.methods.da_mldg.settings import DomainConfig

# Factor on the length of a clip, share of the crop: augmentation of King Gandhi et al. (2023).
STRETCH, SHIFT = (0.8, 1.25), 0.1


class DomainBatches:
    """The endless row of training batches of some clips; a domain is a corpus.

    A class that a domain lacks is fine. Of a `batch` that the sources cannot share alike, the
    first ones by name have one utterance more.

    Args:
        clips: the training utterances.
        config: how batches are drawn and cropped.
        silence: what digital silence is in every feature before `clips` were scaled, see
            `digital_silence`; or float (n, dim), what it is for each clip.
    """

    def __init__(self, clips: Clips, config: DomainConfig, silence: float | np.ndarray = 0.0):
        self.clips = clips
        self.config = config
        silence = torch.as_tensor(silence, dtype=torch.float32, device=clips.device)
        self.silence = silence.expand(len(clips), clips.dim)
        if clips.scale is not None:
            self.silence = clips.scale.applied(self.silence)
        sources = len(clips.corpora)
        self.size = config.batch or config.per_domain * sources
        least, more = divmod(self.size, sources)
        self._shares = {name: least + (i < more) for i, name in enumerate(clips.corpora)}
        classes = clips.y.cpu().numpy()
        self._members = clips.rows.groupby(["corpus", classes]).indices

    def batch(self, step: int) -> dict[str, tuple[Inputs, torch.Tensor]]:
        """The batch of one step, {domain: (inputs, y int64 (n,))}.

        It is a pure function of (config.seed, step), so that a resumed training is the same one.

        Args:
            step: number of the step, from 0 on.
        """
        clips = self.clips
        rng = np.random.default_rng((self.config.seed, 53, step))
        if self.config.batches == "balanced":
            numbers = {name: self._of_domain(name, step, rng) for name in clips.corpora}
        else:
            numbers = self._of_pool(step, rng)
        batch = {}
        for name, chosen in numbers.items():
            y = clips.y[torch.as_tensor(chosen, device=clips.device)]
            batch[name] = self.crops(chosen, rng), y
        return batch

    def _of_domain(self, name: str, step: int, rng: np.random.Generator) -> np.ndarray:
        """Row numbers of one domain's batch.

        In turn, all once before any twice; with `classes` = "class" every emotion equally often.
        """
        clips, number = self.clips, self._shares[name]
        if self.config.classes == "none":
            members = np.flatnonzero(clips.corpus == name)
            stream = self.config.seed, 61, clips.corpora.index(name)
            return _in_turn(members, stream, step, number)
        present = sorted(one for domain, one in self._members if domain == name)
        drawn = []
        while len(drawn) < number:
            drawn += list(rng.permutation(present))
        return np.array([rng.choice(self._members[name, one]) for one in drawn[:number]])

    def _of_pool(self, step: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Row numbers by domain, drawn in turn from the pool of all domains.

        As the released code of DA-MLDG draws; but a domain that gets fewer than two is given two by
        chance: a side of mldg without utterances, or a covariance of one, does not exist.
        """
        clips = self.clips
        everyone = np.arange(len(clips))
        pool = _in_turn(everyone, (self.config.seed, 59), step, self.size)
        found = {}
        for name in clips.corpora:
            found[name] = pool[clips.corpus[pool] == name]
            lacking = 2 - len(found[name])
            if lacking > 0:
                more = rng.choice(np.flatnonzero(clips.corpus == name), lacking)
                found[name] = np.append(found[name], more)
        return found

    def crops(self, numbers: np.ndarray, rng: np.random.Generator) -> Inputs:
        """Vectors (values (n, dim),), or crops of frames at random places.

        With `augment` the length changes by a factor of 0.8 to 1.25 (frames are interpolated: the
        features, not the audio, are stretched), and the crop moves by up to 10 % of its length,
        with silence coming in.

        `padding` "masked": a clip shorter than a crop stands at the beginning, what follows is 0
        and masked. "zeros": it stands in the middle of digital silence that counts as frames (the
        released code pads the waveform with zeros, and the network sees the floor).

        Args:
            numbers: which utterances, int (n,).
            rng: what is left to chance.

        Returns:
            Of frames: values (n, crop_frames, dim) and mask bool (n, crop_frames).
        """
        clips, size = self.clips, self.config.crop_frames
        if not clips.frames:
            return clips.inputs(numbers)
        zeros = self.config.padding == "zeros"
        around = self.silence[torch.as_tensor(numbers, device=clips.device)]
        if not zeros:
            around = torch.zeros_like(around)
        values = around[:, None].repeat(1, size, 1)
        mask = torch.full((len(numbers), size), zeros, device=clips.device)
        for row, number in enumerate(numbers):
            clip = self._crop(number, rng)
            begin = (size - len(clip)) // 2 if zeros else 0
            values[row, begin : begin + len(clip)] = clip
            mask[row, begin : begin + len(clip)] = True
        return values, mask

    def _crop(self, number: int, rng: np.random.Generator) -> torch.Tensor:
        """At most `crop_frames` frames of a clip, (frames, dim), from a random place on."""
        clip = self.clips.clip(number)
        size, augment = self.config.crop_frames, self.config.augment
        if augment:
            clip = stretched(clip, rng.uniform(*STRETCH))
        spare = len(clip) - size
        begin = rng.integers(spare + 1) if spare > 0 else 0
        clip = clip[begin : begin + size]
        if augment:
            by = round(rng.uniform(-SHIFT, SHIFT) * len(clip))
            clip = shifted(clip, by, self.silence[number])
        return clip


def _in_turn(numbers: np.ndarray, stream: tuple[int, ...], step: int, size: int) -> np.ndarray:
    """The `step`-th piece of the endless row of permutations of `numbers`.

    Every one is taken once before any is taken twice.
    """
    row = np.arange(step * size, (step + 1) * size)
    epochs, places = np.divmod(row, len(numbers))
    taken = np.empty(size, dtype=int)
    for epoch in np.unique(epochs):
        rng = np.random.default_rng((*stream, epoch))
        order = rng.permutation(numbers)
        now = epochs == epoch
        taken[now] = order[places[now]]
    return taken


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


def shifted(clip: torch.Tensor, by: int, fill: torch.Tensor) -> torch.Tensor:
    """Frames (n, dim) moved `by` places to the right (left where negative); `fill` comes in."""
    moved = clip.roll(by, dims=0)
    if by > 0:
        moved[:by] = fill
    elif by < 0:
        moved[by:] = fill
    return moved
