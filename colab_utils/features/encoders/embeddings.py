"""Speech encoders as front ends: wav2vec 2.0, HuBERT, WavLM and their kin, and Whisper's."""

from __future__ import annotations

import abc
import dataclasses
import functools
import os
import pathlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from colab_utils.features.encoders.checkpoints import WHISPER, Checkpoint, find
from colab_utils.features.encoders.module import (
    SAMPLE_RATE,
    EncoderModule,
    UpperLayers,
    load_model,
    quiet,
)
from colab_utils.features.encoders.whisper import WhisperModule
from colab_utils.features.front_end import FrontEnd, check_waveforms
from colab_utils.settings import SettingError, setting

POOLINGS = ("mean", "mean-std", "frames")
_MOST_PADDING = 0.08  # share of a batch


@dataclass(frozen=True)
class Encoder(FrontEnd):
    """What encoders have in common: the crop before and the pooling after.

    A subclass adds `width` and `frames`.

    `pooling` "mean", or "mean-std" with the standard deviation (of the population) behind it, over
    the clip's own frames; "frames" keeps them.
    """

    sample_rate = SAMPLE_RATE
    pooling: str = setting(
        "mean-std",
        "one vector a clip (mean, or mean and standard deviation over its frames), or the frames",
        options=POOLINGS,
    )
    max_seconds: float = setting(
        10.0,
        "only so many seconds from the start of a clip are used; 0 uses all",
        low=0.0,
        high=600.0,
    )

    @property
    def pooled(self) -> bool:
        """Whether a clip becomes one vector."""
        return self.pooling != "frames"

    @property
    @abc.abstractmethod
    def width(self) -> int:
        """Numbers a frame has."""

    @property
    def feature_names(self) -> list[str]:
        """`unit_0000` ... of frames; `mean_0000` ..., then `std_0000` ... of pooled ones."""
        statistics = self.pooling.split("-") if self.pooled else ["unit"]
        return [f"{statistic}_{unit:04d}" for statistic in statistics for unit in range(self.width)]

    @abc.abstractmethod
    def frames(self, waveforms: list[np.ndarray], device: str) -> list[torch.Tensor]:
        """Frames of each waveform, not padded, each as if it were alone.

        float32 (frames, width), or (frames, layers, width).
        """

    @torch.inference_mode()
    def compute(self, waveforms: list[np.ndarray], device: str = "cpu") -> list[np.ndarray]:
        """Features of each waveform: a list of float32 (frames, dim), or (1, dim) where `pooled`.

        Raises:
            ValueError: an empty waveform.
        """
        check_waveforms(waveforms)
        stop = round(self.max_seconds * self.sample_rate) or None
        cropped = [wave[:stop] for wave in waveforms]
        features = []
        for clip in self.frames(cropped, device):
            features.append(self._pool(clip).cpu().numpy())
        return features

    def _pool(self, clip: torch.Tensor) -> torch.Tensor:
        """Frames (frames, ..., width) to what the store keeps: the frames, or (1, dim)."""
        if self.pooling == "frames":
            return clip
        pooled = clip.mean(0)
        if self.pooling == "mean-std":
            pooled = torch.cat([pooled, clip.std(0, correction=0)], dim=-1)
        return pooled.reshape(1, -1)


@dataclass(frozen=True)
class SpeechEncoder(Encoder):
    """A speech encoder of the Hugging Face Hub, or from a folder.

    wav2vec 2.0 (Baevski et al. 2020), HuBERT (Hsu et al. 2021), WavLM (Chen et al. 2022), data2vec
    (Baevski et al. 2022), and the encoder of Whisper (Radford et al. 2023), which is slow for its
    size: every clip is computed as 30 s. `layer` k is the output of the k-th transformer layer (0:
    the input of the first), "last" that of the last; layers above are not computed. "mean" averages
    over 0 ... last; "all" keeps them apart, layer after layer in one vector (`values.reshape(n,
    layers, -1)`), so that a head can weigh them (SUPERB, Yang et al. 2021). Waveforms are brought
    to zero mean and unit variance where the checkpoint's preprocessor says so.

    A store's key holds the checkpoint's version: the Hub's commit, or a hash of a local folder.

    Raises:
        EncoderError: on use where the checkpoint cannot be had or is damaged.
        SettingError: a `layer` that cannot be.

    Example:
        >>> encoder = SpeechEncoder(checkpoint="facebook/wav2vec2-base", layer=9)
        >>> (vector,) = encoder.compute([np.zeros(16000, np.float32)])
        >>> vector.shape
        (1, 1536)
    """

    NAME = "ssl"
    VERSION = 1
    checkpoint: str = setting(
        "facebook/wav2vec2-base",
        "a model of the Hugging Face Hub (owner/name), or a folder in its format",
    )
    revision: str = setting("main", "branch, tag or commit of the Hub's model; a folder has none")
    layer: int | str = setting(
        "last", "transformer layer: 0, 1, ..., last, mean (over all), or all (kept apart)"
    )
    half: bool = setting(
        False,
        "compute in float16 on a GPU (a CPU always computes in float32)",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        number = type(self.layer) is int and self.layer >= 0
        if not number and self.layer not in ("last", "mean", "all"):
            raise SettingError(
                f"layer = {self.layer!r}: a whole number from 0, 'last', 'mean' or 'all' is needed"
            )
        if self.layer == "all" and not self.pooled:
            raise SettingError(
                "layer = 'all' with pooling = 'frames' would store every layer's frames: choose one"
                " layer, or a pooling"
            )

    def source(self) -> Checkpoint:
        """Where the checkpoint is. Raises EncoderError."""
        return find(self.checkpoint, self.revision)

    def resolved(self) -> dict:
        """Checkpoint and revision by what they are now. Raises EncoderError."""
        return self.source().identity()

    @property
    def depth(self) -> int:
        """Transformer layers that the checkpoint has. Raises EncoderError."""
        return self.source().config().num_hidden_layers

    @property
    def width(self) -> int:
        """Numbers a frame has in one layer. Raises EncoderError."""
        return self.source().config().hidden_size

    @property
    def feature_names(self) -> list[str]:
        """As every encoder's, with `layer_00_` ... before them where `layer` is "all"."""
        names = super().feature_names
        if self.layer != "all":
            return names
        return [f"layer_{layer:02d}_{name}" for layer in range(self.depth + 1) for name in names]

    def frames(self, waveforms: list[np.ndarray], device: str) -> list[torch.Tensor]:
        """Frames of each waveform, computed in batches of like length."""
        version = tuple(self.resolved().values())
        module = _loaded(self, version, device)
        lengths = [len(wave) for wave in waveforms]
        at_most = seconds_at_once(device) * self.sample_rate
        clips: dict[int, torch.Tensor] = {}
        for batch in buckets(lengths, at_most):
            values, mask = module([waveforms[number] for number in batch])
            for row, number in enumerate(batch):
                clips[number] = values[row][mask[row]]
        return [clips[number] for number in range(len(waveforms))]

    def below(self, n_layers: int) -> SpeechEncoder:
        """The front end of the frames that go into the last `n_layers` layers.

        `load_upper_layers` gives those layers, to be tuned.

        Raises:
            SettingError: there are not so many, `layer` is not one layer, or it is Whisper.
        """
        if self.source().config().model_type == WHISPER:
            raise SettingError(
                f"{n_layers} layers of {self.checkpoint}: those of Whisper do not learn here, for"
                " each clip would be trained as 30 s; choose wav2vec 2.0, WavLM or HuBERT, or 0"
                " layers"
            )
        top = self.depth if self.layer == "last" else self.layer
        if isinstance(top, str) or not 1 <= n_layers <= top:
            raise SettingError(
                f"{n_layers} layers below layer = {self.layer!r}: 1 to {self.depth} of one layer (a"
                " number, or 'last') are possible"
            )
        return dataclasses.replace(self, layer=top - n_layers, pooling="frames")


def load_encoder(spec: SpeechEncoder, device: str = "cpu") -> EncoderModule | WhisperModule:
    """A new torch module of `spec`, to be tuned; the convolutions are frozen.

    Returns:
        `module(waveforms) -> (frames, mask)`, see `EncoderModule`.

    Raises:
        EncoderError: the checkpoint cannot be had or is damaged.
    """
    model, extractor = load_model(spec.source())
    kind = WhisperModule if model.config.model_type == WHISPER else EncoderModule
    return kind(model, extractor, spec.layer, spec.half).to(device)


def load_upper_layers(spec: SpeechEncoder, n_layers: int, device: str = "cpu") -> UpperLayers:
    """The last `n_layers` layers of `spec`, to be tuned on the frames of `spec.below(n_layers)`.

    Raises:
        EncoderError: the checkpoint cannot be had or is damaged.
        SettingError: there are not so many layers.
    """
    spec.below(n_layers)
    return UpperLayers(load_encoder(spec, device).encoder, n_layers)


def save_encoder(
    spec: SpeechEncoder, upper: UpperLayers, folder: str | os.PathLike
) -> pathlib.Path:
    """Write an encoder whose last layers were tuned, in the Hub's format.

    Args:
        spec: the encoder that they were taken from.
        upper: the layers, of `load_upper_layers`.
        folder: where to; `SpeechEncoder(checkpoint=<folder>)` reads it like any other.

    Returns:
        The folder.

    Raises:
        EncoderError: the checkpoint cannot be had or is damaged.
    """
    model, extractor = load_model(spec.source())
    tuned = upper.encoder.layers
    top = spec.layer if isinstance(spec.layer, int) else spec.depth
    # load_state_dict copies between devices; WavLM's first tuned layer holds more
    for mine, other in zip(model.encoder.layers[top - len(tuned) : top], tuned, strict=True):
        mine.load_state_dict(other.state_dict(), strict=False)
    # stands behind the last layer
    if getattr(model.config, "do_stable_layer_norm", False) and top == spec.depth:
        model.encoder.layer_norm.load_state_dict(upper.encoder.layer_norm.state_dict())
    with quiet():
        model.save_pretrained(folder)
    extractor.save_pretrained(folder)
    return pathlib.Path(folder)


@functools.lru_cache(maxsize=1)
def _loaded(spec: SpeechEncoder, version: tuple, device: str) -> EncoderModule | WhisperModule:
    """The module that extraction uses, kept until another is asked for.

    `version` tells a folder whose content changed.
    """
    return load_encoder(spec, device)


def seconds_at_once(device: str) -> int:
    """Speech in a batch, padding included: a core's cache is soon full, a GPU soon idle."""
    return 16 if torch.device(device).type == "cpu" else 240


def buckets(lengths: Sequence[int], at_most: float) -> list[list[int]]:
    """Positions of `lengths` in batches of like length, the longest first.

    Filled up to its longest, a batch has at most `at_most` in all (a longer clip stands alone), and
    at most 8 % of it is padding.
    """
    batches: list[list[int]] = []
    longest = total = 0
    for position in sorted(range(len(lengths)), key=lambda position: -lengths[position]):
        length = lengths[position]
        padded = longest * (len(batches[-1]) + 1) if batches else 0
        padding = padded - total - length
        if batches and padded <= at_most and padding <= _MOST_PADDING * padded:
            batches[-1].append(position)
            total += length
        else:
            batches.append([position])
            longest = total = length
    return batches
