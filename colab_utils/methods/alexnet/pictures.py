"""Spectrogram segments as pictures on the device, made once: scaled by the training utterances, resized, normalised (method_facts §3.2)."""
from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch.nn import functional

from colab_utils.features.published.alexnet import AlexNetSpectrogram, segments
from colab_utils.features.store.store import FeatureStore
from colab_utils.settings import SettingError

SEGMENT = 300                # frames: 3 s
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_AT_ONCE = 64                # segments that are resized in one go
_LARGE = 20_000              # pixels from which pictures are kept in half precision


class Range(NamedTuple):
    """Least and largest value of each bin over the training segments, float32 (channels, bins) each."""
    low: torch.Tensor
    high: torch.Tensor


class Images(NamedTuple):
    """Pictures of many utterances: values float (segments, channels, height, width), low frequencies at the bottom; valid, the share of the width
    that is speech (segments,); y, class ids of the segments; utterance, which row each belongs to; all on one device. n: utterances."""
    values: torch.Tensor
    valid: torch.Tensor
    y: torch.Tensor
    utterance: torch.Tensor
    n: int


def fit_range(store: FeatureStore, utterances: Sequence[str], spec: AlexNetSpectrogram) -> Range:
    """Least and largest value of each bin over all frames of these utterances. Give training utterances."""
    lows, highs = zip(*((frames.min(axis=0), frames.max(axis=0)) for frames in (store[utt_id] for utt_id in utterances)), strict=True)
    shape = spec.channels, spec.bins
    return Range(*(torch.from_numpy(ends).reshape(shape) for ends in (np.min(lows, axis=0), np.max(highs, axis=0))))


def make_images(store: FeatureStore, rows: pd.DataFrame, labels: Sequence[str], spec: AlexNetSpectrogram, limits: Range, *,
                size: tuple[int, int] = (256, 384), hop: int = SEGMENT, padding: str = "floor", eight_bit: bool = False,
                device: str | torch.device = "cpu") -> Images:
    """Pictures of `rows`, segment by segment in their order, in float32, or float16 from 20 000 pixels.

    Each bin is brought to [0, 1] by `limits` (values outside are clipped), turned so that low frequencies are at the bottom, resized (bilinear,
    antialiased) and normalised like ImageNet's; one channel gets the mean of the three colours' statistics. hop: 300 frames side by side, 150
    overlapping by half. padding, see `alexnet.segments`. eight_bit: rounded to 256 levels first, as the published pictures are.
    Raises SettingError for utterances without features.
    """
    missing = rows.loc[~rows["utt_id"].isin(set(store.ids)), "utt_id"]
    if len(missing):
        raise SettingError(f"{len(missing)} utterance(s) have no features, the first is {missing.iloc[0]}: leave them out before the split is made")
    low, span = limits.low[None, :, :, None], (limits.high - limits.low).clamp(min=1e-6)[None, :, :, None]
    made = [segments(store[utt_id], spec, SEGMENT, hop, padding) for utt_id in rows["utt_id"]]
    counts = np.array([len(pictures) for pictures, _ in made])
    everything = np.concatenate([pictures for pictures, _ in made])
    kept = torch.float16 if size[0] * size[1] > _LARGE else torch.float32
    values = torch.empty(len(everything), spec.channels, *size, dtype=kept, device=device)
    mean, std = _statistics(spec.channels, device)
    for first in range(0, len(everything), _AT_ONCE):
        block = torch.from_numpy(everything[first:first + _AT_ONCE]).to(device)
        block = ((block - low.to(device)) / span.to(device)).clamp(0, 1).flip(2)
        if eight_bit:
            block = (block * 255).floor() / 255
        block = functional.interpolate(block, size=size, mode="bilinear", antialias=True, align_corners=False)
        values[first:first + _AT_ONCE] = ((block - mean) / std).to(kept)
    valid = np.concatenate([one for _, one in made]) / SEGMENT
    utterance = np.repeat(np.arange(len(rows)), counts)
    y = pd.Index(labels).get_indexer(rows["emotion"])[utterance]
    return Images(values, *(torch.as_tensor(one, device=device) for one in (valid.astype(np.float32), y, utterance)), len(rows))


def _statistics(channels: int, device: str | torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and deviation to normalise by, (1, channels, 1, 1)."""
    both = [torch.tensor(one, device=device) for one in (IMAGENET_MEAN, IMAGENET_STD)]
    return tuple((one if channels == 3 else one.mean(0, keepdim=True)).reshape(1, -1, 1, 1) for one in both)


def utterance_probabilities(probabilities: torch.Tensor, images: Images, rule: str = "mean") -> np.ndarray:
    """Segments' probabilities to utterances', float64 (n, classes): the mean weighted by valid frames; "geometric": the published mean of logarithms,
    every segment alike."""
    values = probabilities.detach().cpu().double().numpy()
    owner, weight = images.utterance.cpu().numpy(), images.valid.cpu().double().numpy()
    if rule == "geometric":
        values, weight = np.log(np.maximum(values, 1e-30)), np.ones(len(values))
    total, weights = np.zeros((images.n, values.shape[1])), np.zeros(images.n)
    np.add.at(total, owner, values * weight[:, None])
    np.add.at(weights, owner, weight)
    mean = total / weights[:, None]
    if rule == "geometric":
        mean = np.exp(mean - mean.max(axis=1, keepdims=True))
    return mean / mean.sum(axis=1, keepdims=True)
