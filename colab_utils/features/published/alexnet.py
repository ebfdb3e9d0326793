"""The five feature sets of the AlexNet system: spectrograms in dB, some with their deltas, some
noisy and reverberant (method_facts §3.2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import librosa
import numpy as np
import scipy.signal
import torch

from colab_utils.features.acoustic.degrade import degraded, own_seed
from colab_utils.features.acoustic.log_mel import one_thread
from colab_utils.features.front_end import FrontEnd, check_waveforms
from colab_utils.settings import setting

FEATURE_SETS = ("logspec", "logmelspec", "logmeldeltaspec", "logdeltaspec", "lognrevspec")
RATE, N_FFT, WINDOW, HOP, LOW_BINS, MELS = 16000, 800, 640, 160, 200, 128
FLOOR = -80.0  # dB below the loudest value of the utterance
PREEMPHASIS, NOISE = 0.97, 0.002
_WIDTHS = {"logmeldeltaspec": 5, "logdeltaspec": 9}  # frames of a delta


@dataclass(frozen=True)
class AlexNetSpectrogram(FrontEnd):
    """Frames of 40 ms (Hamming), 10 ms apart, 1 + samples // 160 of them: levels in dB below the
    utterance's loudest value, from -80 to 0.

    logspec: the lowest 200 bins of 20 Hz; logmelspec: 128 mel bands of power; logmeldeltaspec,
    logdeltaspec: these with their delta and its delta (dB a frame; widths 5 and 9); lognrevspec:
    logspec of the clip, of the clip with noise N(0, 0.002), and of the clip in a room. `channels`
    of `bins` numbers each stand side by side in a frame. "Loudest" is the utterance's own, so
    absolute level is lost, as published.

    Pre-emphasis 0.97 from a sample of 0, STFT centred and reflected at the ends (librosa's default
    when the system was made); librosa's rules for dB. A clip of digital silence is -80 dB
    throughout (librosa's rule would make it 0, the loudest). A delta over fewer frames than its
    width repeats the end frames. condition: the recording is made worse first (`degrade.degraded`),
    such as "babble@5".
    """

    NAME: ClassVar[str] = "alexnet"
    VERSION: ClassVar[int] = 1
    sample_rate: ClassVar[int] = RATE
    floor: ClassVar[float] = FLOOR
    feature_set: str = setting("logspec", "which of the five", options=FEATURE_SETS)
    condition: str = setting(
        "clean", "clean, 8khz, reverb, reverb@seconds, or a noise at so many dB, such as babble@5"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        # a condition that does not exist is refused here
        degraded(np.zeros(16, np.float32), RATE, self.condition)

    @property
    def bins(self) -> int:
        """Numbers of one channel in a frame: 200, or 128 with mel bands."""
        return MELS if "mel" in self.feature_set else LOW_BINS

    @property
    def channels(self) -> int:
        """1, or 3."""
        return 1 if self.feature_set in ("logspec", "logmelspec") else 3

    @property
    def padding(self) -> tuple[float, ...]:
        """What a frame that is not there is in each channel: silence (-80 dB) for levels, 0 for
        deltas. The published system pads with 0 dB, which is the loudest value there is
        (method_facts §3.7).
        """
        return (FLOOR, 0.0, 0.0) if self.feature_set in _WIDTHS else (FLOOR,) * self.channels

    @property
    def feature_names(self) -> list[str]:
        """`level_000` ..., and for three channels `delta_000`, `delta2_000` ... or `noisy_000`,
        `reverb_000` ....
        """
        kinds = (
            ("level", "delta", "delta2")
            if self.feature_set in _WIDTHS
            else ("level", "noisy", "reverb")
        )
        return [
            f"{kind}_{number:03d}" for kind in kinds[: self.channels] for number in range(self.bins)
        ]

    @torch.inference_mode()
    def compute(self, waveforms: list[np.ndarray], device: str = "cpu") -> list[np.ndarray]:
        """Each waveform's frames: a list of float32 (1 + samples // 160, channels * bins).

        Raises ValueError for a waveform without samples.
        """
        check_waveforms(waveforms)
        with one_thread():
            return [self._one(wave, device) for wave in waveforms]

    def _one(self, wave: np.ndarray, device: str) -> np.ndarray:
        wave = degraded(wave.astype(np.float32, copy=False), RATE, self.condition)
        level = self._level(wave, device)
        if self.feature_set in _WIDTHS:
            delta = deltas(level, _WIDTHS[self.feature_set])
            return np.concatenate([level, delta, deltas(delta, _WIDTHS[self.feature_set])], axis=1)
        if self.feature_set == "lognrevspec":
            noise = np.random.default_rng(own_seed(wave, "lognrevspec")).normal(0, NOISE, len(wave))
            others = [(wave + noise).astype(np.float32), degraded(wave, RATE, "reverb")]
            return np.concatenate(
                [level, *(self._level(other, device) for other in others)], axis=1
            )
        return level

    def _level(self, wave: np.ndarray, device: str) -> np.ndarray:
        """DB below the loudest, float32 (frames, bins)."""
        # near -80 dB float32 is off by more than 0.001 dB
        wave = wave.astype(np.float64)
        signal = np.append(wave[:1], wave[1:] - PREEMPHASIS * wave[:-1])
        signal = np.pad(signal, N_FFT // 2, mode="reflect" if len(signal) > 1 else "edge")
        window = torch.hamming_window(WINDOW, device=device, dtype=torch.float64)
        spectrum = torch.stft(
            torch.from_numpy(signal).to(device),
            N_FFT,
            HOP,
            WINDOW,
            window,
            center=False,
            return_complex=True,
        ).abs()
        if self.bins == MELS:
            strength, least, factor = mel_bands().to(spectrum) @ spectrum.square(), 1e-10, 10.0
        else:  # the loudest is that of all bins, before the upper ones are left out
            strength, least, factor = spectrum, 1e-5, 20.0
        loudest = strength.max()
        if float(loudest) <= least:
            return np.full((strength.shape[1], self.bins), FLOOR, dtype=np.float32)
        level = factor * (strength.clamp(min=least).log10() - loudest.log10())
        return level.clamp(min=FLOOR)[: self.bins].T.float().contiguous().cpu().numpy()


def deltas(values: np.ndarray, width: int) -> np.ndarray:
    """Slope over `width` frames by least squares (Savitzky-Golay), float32 (frames, columns), a
    frame; at the ends that of the end frames' line.
    """
    if len(values) >= width:
        return scipy.signal.savgol_filter(
            values, width, polyorder=1, deriv=1, axis=0, mode="interp"
        ).astype(np.float32)
    return scipy.signal.savgol_filter(
        values, width, polyorder=1, deriv=1, axis=0, mode="nearest"
    ).astype(np.float32)


def mel_bands() -> torch.Tensor:
    """Librosa's filter bank (Slaney), float32 (128, 401)."""
    return torch.from_numpy(librosa.filters.mel(sr=RATE, n_fft=N_FFT, n_mels=MELS))


def segment_count(n_frames: int, length: int = 300, hop: int = 300) -> int:
    """How many segments `segments` makes of so many frames."""
    return max(1, 1 + -(-(n_frames - length) // hop))


def segments(
    frames: np.ndarray,
    spec: AlexNetSpectrogram,
    length: int = 300,
    hop: int = 300,
    padding: str = "floor",
) -> tuple[np.ndarray, np.ndarray]:
    """An utterance's frames (frames, channels * bins) as pictures: float32 (segments, channels,
    bins, length), and how many frames of each are its own, int64 (segments,).

    A segment begins every `hop` frames as long as frames are left that no other holds; the last one
    is padded with `spec.padding`. padding "zero" is the published way, kept to show what it does.
    """
    count = segment_count(len(frames), length, hop)
    fill = np.zeros(spec.channels) if padding == "zero" else np.array(spec.padding)
    pictures = np.empty((count, spec.channels, spec.bins, length), dtype=np.float32)
    pictures[:] = fill[None, :, None, None]
    valid = np.zeros(count, dtype=np.int64)
    for number in range(count):
        piece = frames[number * hop : number * hop + length]
        pictures[number, :, :, : len(piece)] = piece.reshape(
            len(piece), spec.channels, spec.bins
        ).transpose(1, 2, 0)
        valid[number] = len(piece)
    return pictures, valid
