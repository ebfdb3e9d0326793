"""Spectrogram segments as pictures on the device, made once: scaled, resized, normalised.

The steps are those of the published system (samsudinng/speech_emo_recognition, data_utils.py).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.special
import torch
from torch.nn.functional import interpolate
from torchvision.transforms.functional import normalize

from colab_utils.features.published.alexnet import SEGMENT, AlexNetSpectrogram, segments
from colab_utils.features.store.features import Features
from colab_utils.features.store.views import Normalised
from colab_utils.methods.alexnet.network import IMAGENET_MEAN, IMAGENET_STD
from colab_utils.methods.alexnet.settings import AlexnetConfig
from colab_utils.settings import SettingError

_AT_ONCE = 64  # segments that are resized in one go
_LARGE = 20_000  # pixels from which pictures are kept in half precision


class Range(NamedTuple):
    """Least and largest value of each bin over the training segments, float32 (channels, bins)."""

    low: torch.Tensor
    high: torch.Tensor


class Images(NamedTuple):
    """Pictures of many utterances, all on one device.

    values: float (segments, channels, height, width), low frequencies at the bottom.
    valid: the share of the width that is speech, float32 (segments,).
    utterance: which utterance each belongs to, counted from 0 in their order, int64 (segments,).
    """

    values: torch.Tensor
    valid: torch.Tensor
    utterance: torch.Tensor


def fit_range(store: Features, utterances: Sequence[str], config: AlexnetConfig) -> Range:
    """Least and largest value of each bin over all frames of these (training) utterances.

    The released code looks at padded segments: padding of 0 dB then is the largest value.

    Raises:
        SettingError: for utterances without features.
    """
    _check_features(store, utterances)
    spec = AlexNetSpectrogram(feature_set=config.features)
    lows, highs = [], []
    for utt_id in utterances:
        frames = store[utt_id]
        lows.append(frames.min(axis=0))
        highs.append(frames.max(axis=0))
        if config.padding == "zero" and len(frames) % SEGMENT:
            lows.append(_normalised(store, utt_id, np.zeros_like(lows[-1])))
            highs.append(lows[-1])
    shape = spec.channels, spec.bins
    low = torch.from_numpy(np.min(lows, axis=0)).reshape(shape)
    high = torch.from_numpy(np.max(highs, axis=0)).reshape(shape)
    return Range(low, high)


def make_images(
    store: Features,
    utterances: Sequence[str],
    config: AlexnetConfig,
    limits: Range,
    *,
    hop: int = SEGMENT,
    device: str = "cpu",
) -> Images:
    """Pictures of utterances, segment by segment in their order.

    Each bin is brought to [0, 1] by `limits` (values outside are clipped), turned so that low
    frequencies are at the bottom, resized (bilinear, antialiased) and normalised like ImageNet's;
    one channel gets the mean of the three colours' statistics (`network.convolved` gives each its
    own).

    Args:
        store: their features, of the set `config.features`; where they are `Normalised`, padding
            is normalised as the utterance is.
        utterances: their utt_ids.
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
    _check_features(store, utterances)
    cut, valid, owner = [], [], []
    for number, utt_id in enumerate(utterances):
        pictures, own_frames = _cut(store, utt_id, config, hop)
        cut.append(pictures)
        valid.append(own_frames)
        owner += [number] * len(pictures)
    share = torch.from_numpy(np.concatenate(valid) / SEGMENT)
    return Images(
        _resized(np.concatenate(cut), config, limits, device),
        share.float().to(device),
        torch.tensor(owner, device=device),
    )


def _cut(
    store: Features, utt_id: str, config: AlexnetConfig, hop: int
) -> tuple[np.ndarray, np.ndarray]:
    """The segments of an utterance, as `segments` gives them, and their own frames."""
    spec = AlexNetSpectrogram(feature_set=config.features)
    frames = store.base[utt_id] if isinstance(store, Normalised) else store[utt_id]
    pictures, own_frames = segments(frames, spec, SEGMENT, hop, config.padding)
    in_time = pictures.reshape(len(pictures), spec.dim, SEGMENT).swapaxes(1, 2)
    normalised = _normalised(store, utt_id, in_time)
    return normalised.swapaxes(1, 2).reshape(pictures.shape), own_frames


def _normalised(store: Features, utt_id: str, levels: np.ndarray) -> np.ndarray:
    """Levels (..., dim) as the store has those of an utterance."""
    return store.applied(utt_id, levels) if isinstance(store, Normalised) else levels


def _check_features(store: Features, utterances: Sequence[str]) -> None:
    """Raise SettingError for utterances without features."""
    missing = [utt_id for utt_id in utterances if utt_id not in store]
    if missing:
        raise SettingError(
            f"{len(missing)} utterance(s) have no features, the first is {missing[0]}: "
            "leave them out before the split is made"
        )


def _resized(cut: np.ndarray, config: AlexnetConfig, limits: Range, device: str) -> torch.Tensor:
    """Segments (n, channels, bins, frames) as pictures (n, channels, height, width)."""
    n, channels = cut.shape[:2]
    size = config.image_size
    kind = torch.float16 if size[0] * size[1] > _LARGE else torch.float32
    low = limits.low[..., None].to(device)
    span = (limits.high - limits.low).clamp(min=1e-6)[..., None].to(device)
    mean, std = IMAGENET_MEAN, IMAGENET_STD
    if channels == 1:
        mean, std = [np.mean(mean)], [np.mean(std)]
    values = torch.empty(n, channels, *size, dtype=kind, device=device)
    for first in range(0, n, _AT_ONCE):
        part = slice(first, first + _AT_ONCE)
        block = (torch.from_numpy(cut[part]).to(device) - low) / span
        block = block.clamp(0, 1).flip(2)
        if config.eight_bit:
            block = (block * 255).floor() / 255
        block = interpolate(block, size, mode="bilinear", antialias=True, align_corners=False)
        values[part] = normalize(block, mean, std)
    return values


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
    values = probabilities.cpu().double().numpy()
    weight = images.valid.cpu().double().numpy()
    owner = images.utterance.cpu().numpy()
    if rule == "geometric":
        values = np.log(np.maximum(values, 1e-30))
        weight = np.ones(len(values))
    weights = np.bincount(owner, weight)
    total = np.zeros((len(weights), values.shape[1]))
    np.add.at(total, owner, values * weight[:, None])
    mean = total / weights[:, None]
    if rule == "geometric":
        return scipy.special.softmax(mean, axis=1)
    return mean / mean.sum(axis=1, keepdims=True)
