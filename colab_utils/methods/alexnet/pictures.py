"""Spectrogram segments as pictures on the device, made once: scaled by the training utterances,
resized, normalised (method_facts §3.2).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch.nn import functional

from colab_utils.features.published.alexnet import AlexNetSpectrogram, segments
from colab_utils.features.store.store import FeatureStore
from colab_utils.methods.alexnet.settings import AlexnetConfig
from colab_utils.settings import SettingError

SEGMENT = 300  # frames: 3 s
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_AT_ONCE = 64  # segments that are resized in one go
_LARGE = 20_000  # pixels from which pictures are kept in half precision


class Range(NamedTuple):
    """Least and largest value of each bin over the training segments, float32 (channels, bins)."""

    low: torch.Tensor
    high: torch.Tensor


class Images(NamedTuple):
    """Pictures of many utterances, all on one device.

    values: float (segments, channels, height, width), low frequencies at the bottom; valid: the
    share of the width that is speech, float32 (segments,); y: class ids, int64 (segments,);
    utterance: which row each belongs to, int64 (segments,); n: how many utterances.
    """

    values: torch.Tensor
    valid: torch.Tensor
    y: torch.Tensor
    utterance: torch.Tensor
    n: int


def check_features(store: FeatureStore, rows: pd.DataFrame) -> None:
    """Raise SettingError for utterances without features."""
    missing = rows.loc[~rows["utt_id"].isin(set(store.ids)), "utt_id"]
    if len(missing):
        raise SettingError(
            f"{len(missing)} utterance(s) have no features, the first is "
            f"{missing.iloc[0]}: leave them out before the split is made"
        )


def fit_range(store: FeatureStore, utterances: Sequence[str], spec: AlexNetSpectrogram) -> Range:
    """Least and largest value of each bin over all frames of these (training) utterances."""
    lows, highs = [], []
    for utt_id in utterances:
        frames = store[utt_id]
        lows.append(frames.min(axis=0))
        highs.append(frames.max(axis=0))
    shape = spec.channels, spec.bins
    low, high = np.min(lows, axis=0), np.max(highs, axis=0)
    return Range(torch.from_numpy(low).reshape(shape), torch.from_numpy(high).reshape(shape))


def make_images(
    store: FeatureStore,
    rows: pd.DataFrame,
    labels: Sequence[str],
    config: AlexnetConfig,
    limits: Range,
    *,
    hop: int = SEGMENT,
    device: str | torch.device = "cpu",
) -> Images:
    """Pictures of utterances, segment by segment in their order.

    Each bin is brought to [0, 1] by `limits` (values outside are clipped), turned so that low
    frequencies are at the bottom, resized (bilinear, antialiased) and normalised like ImageNet's;
    one channel gets the mean of the three colours' statistics.

    Args:
        store: their features, of the set `config.features`.
        rows: with utt_id and emotion.
        labels: the emotions, in the order of the class ids.
        config: size of the pictures, padding (see `segments`), and whether they are rounded to 256
            levels first, as the published ones are.
        limits: of the training utterances.
        hop: frames from one segment to the next: 300 side by side, 150 overlapping by half.
        device: where to keep them.

    Returns:
        Images in float32, or in float16 from 20 000 pixels.

    Raises:
        SettingError: for utterances without features.
    """
    check_features(store, rows)
    spec = AlexNetSpectrogram(feature_set=config.features)
    cut, valid = [], []
    for utt_id in rows["utt_id"]:
        pictures, frames = segments(store[utt_id], spec, SEGMENT, hop, config.padding)
        cut.append(pictures)
        valid.append(frames)
    utterance = np.repeat(np.arange(len(rows)), [len(one) for one in cut])
    y = pd.Index(labels).get_indexer(rows["emotion"])[utterance]
    share = (np.concatenate(valid) / SEGMENT).astype(np.float32)
    return Images(
        _resized(np.concatenate(cut), config, limits, device),
        torch.as_tensor(share, device=device),
        torch.as_tensor(y, device=device),
        torch.as_tensor(utterance, device=device),
        len(rows),
    )


def _resized(
    cut: np.ndarray, config: AlexnetConfig, limits: Range, device: str | torch.device
) -> torch.Tensor:
    """Segments (n, channels, bins, frames) as pictures (n, channels, height, width)."""
    size = config.image_height, config.image_width
    kind = torch.float16 if size[0] * size[1] > _LARGE else torch.float32
    values = torch.empty(len(cut), cut.shape[1], *size, dtype=kind, device=device)
    low = limits.low[None, :, :, None].to(device)
    span = (limits.high - limits.low).clamp(min=1e-6)[None, :, :, None].to(device)
    mean = _statistic(IMAGENET_MEAN, cut.shape[1], device)
    std = _statistic(IMAGENET_STD, cut.shape[1], device)
    for first in range(0, len(cut), _AT_ONCE):
        block = torch.from_numpy(cut[first : first + _AT_ONCE]).to(device)
        block = ((block - low) / span).clamp(0, 1).flip(2)
        if config.eight_bit:
            block = (block * 255).floor() / 255
        block = functional.interpolate(
            block, size=size, mode="bilinear", antialias=True, align_corners=False
        )
        values[first : first + _AT_ONCE] = ((block - mean) / std).to(kind)
    return values


def _statistic(colours: Sequence[float], channels: int, device: str | torch.device) -> torch.Tensor:
    """ImageNet's mean or deviation to normalise by, float32 (1, channels, 1, 1)."""
    values = torch.tensor(colours, device=device)
    if channels != 3:
        values = values.mean(0, keepdim=True)
    return values.reshape(1, -1, 1, 1)


def utterance_probabilities(
    probabilities: torch.Tensor, images: Images, rule: str = "mean"
) -> np.ndarray:
    """Segments' probabilities to utterances'.

    Args:
        probabilities: of each segment, float (segments, classes).
        images: whose segments they are.
        rule: "mean", weighted by valid frames; "geometric", the published mean of logarithms, every
            segment alike.

    Returns:
        float64 (utterances, classes), each row adds up to 1.
    """
    values = probabilities.detach().cpu().double().numpy()
    owner = images.utterance.cpu().numpy()
    weight = images.valid.cpu().double().numpy()
    if rule == "geometric":
        values, weight = np.log(np.maximum(values, 1e-30)), np.ones(len(values))
    total, weights = np.zeros((images.n, values.shape[1])), np.zeros(images.n)
    np.add.at(total, owner, values * weight[:, None])
    np.add.at(weights, owner, weight)
    mean = total / weights[:, None]
    if rule == "geometric":
        mean = np.exp(mean - mean.max(axis=1, keepdims=True))
    return mean / mean.sum(axis=1, keepdims=True)
