"""The five feature sets of the AlexNet system: spectrograms in dB, some with deltas or noise."""

import functools
from dataclasses import dataclass

import librosa
import numpy as np
import scipy.signal
import torch

from colab_utils.features.acoustic.degrade import degraded, own_seed
from colab_utils.features.acoustic.spectrogram import Spectrogram
from colab_utils.features.published.sox_reverb import sox_reverb
from colab_utils.settings import setting

FEATURE_SETS = ("logspec", "logmelspec", "logmeldeltaspec", "logdeltaspec", "lognrevspec")
RATE, N_FFT, WINDOW, HOP, LOW_BINS, MELS = 16000, 800, 640, 160, 200, 128
SEGMENT = 300  # frames: 3 s
FLOOR = -80.0  # dB below the loudest value of the utterance
PREEMPHASIS, NOISE = 0.97, 0.002
_WITH_DELTAS = ("logmeldeltaspec", "logdeltaspec")


@dataclass(frozen=True)
class AlexNetSpectrogram(Spectrogram):
    """Levels in dB below the utterance's loudest value, from -80 to 0: 1 + samples // 160 frames.

    The five feature sets of samsudinng/speech_emo_recognition (a38c296), as its features_util.py
    computes them: pre-emphasis 0.97 from a sample of 0, frames of 40 ms (Hamming), 10 ms apart, the
    STFT centred and reflected at the ends, librosa's rules for dB.

    logspec: the lowest 200 bins of 20 Hz, so up to 3980 Hz.
    logmelspec: 128 mel bands of power, up to 8 kHz.
    logmeldeltaspec: logmelspec, its slope over 5 frames, and the slope of that.
    logdeltaspec: logspec, its slope over 9 frames, and its curvature over 9 frames.
    lognrevspec: logspec; logspec with noise N(0, 0.002); logspec in a room (`sox_reverb`). Noise
        and room are added after the pre-emphasis.

    `channels` of `bins` numbers each stand side by side in a frame. "Loudest" is the utterance's
    own, so absolute level is lost, as published.

    Not as published: a clip of digital silence is -80 dB throughout (librosa's rule would make it
    0, the loudest); slopes over fewer frames than their width repeat the end frames (librosa would
    refuse them); the noise follows from the clip, and not from its place in a list of files.
    condition: the recording is made worse first (`degrade.degraded`), such as "babble@5".

    Raises:
        SettingError: a feature set or a condition that does not exist.
    """

    NAME = "alexnet"
    VERSION = 2
    sample_rate = RATE
    feature_set: str = setting("logspec", "which of the five", options=FEATURE_SETS)
    condition: str = setting(
        "clean", "clean, 8khz, reverb, reverb@seconds, or a noise at so many dB, such as babble@5"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        # a condition that does not exist is refused here
        degraded(np.zeros(16, np.float32), self.condition)

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
        """What a frame that is not there is in each channel: -80 dB for levels, 0 for deltas.

        The published system pads with 0 dB, which is the loudest value there is: one sees how long
        a clip was, and no silence.
        """
        return (FLOOR, 0.0, 0.0) if self.feature_set in _WITH_DELTAS else (FLOOR,) * self.channels

    @property
    def feature_names(self) -> list[str]:
        """`level_000` ..., with 3 channels also `delta_`, `delta2_` or `noisy_`, `reverb_`."""
        kinds = ("level", "noisy", "reverb")
        if self.feature_set in _WITH_DELTAS:
            kinds = ("level", "delta", "delta2")
        return [
            f"{kind}_{number:03d}" for kind in kinds[: self.channels] for number in range(self.bins)
        ]

    def _frames(self, wave: np.ndarray, device: str) -> np.ndarray:
        wave = degraded(wave, self.condition)
        # near -80 dB float32 is off by more than 0.001 dB
        signal = wave.astype(np.float64)
        signal = np.append(signal[:1], signal[1:] - PREEMPHASIS * signal[:-1])
        level = self._level(signal, device)
        channels = [level]
        if self.feature_set == "logmeldeltaspec":
            slope = deltas(level, 5, mode="nearest")
            channels += [slope, deltas(slope, 5, mode="nearest")]
        elif self.feature_set == "logdeltaspec":
            channels += [deltas(level, 9), deltas(level, 9, order=2)]
        elif self.feature_set == "lognrevspec":
            rng = np.random.default_rng(own_seed(wave, "lognrevspec"))
            noise = rng.normal(0, NOISE, len(signal))
            channels.append(self._level(signal + noise, device))
            channels.append(self._level(sox_reverb(signal), device))
        return np.concatenate(channels, axis=1)

    def _level(self, signal: np.ndarray, device: str) -> np.ndarray:
        """DB below the loudest, float32 (frames, bins), of float64 samples."""
        signal = np.pad(signal, N_FFT // 2, mode="reflect")
        spectrum = torch.stft(
            torch.from_numpy(signal).to(device),
            N_FFT,
            HOP,
            WINDOW,
            torch.hamming_window(WINDOW, device=device, dtype=torch.float64),
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


def deltas(values: np.ndarray, width: int, order: int = 1, mode: str = "interp") -> np.ndarray:
    """A derivative a frame over `width` frames by least squares, as `librosa.feature.delta`.

    Args:
        values: (frames, columns).
        width: frames, an odd number.
        order: 1, the slope of a line; 2, the second derivative of a parabola.
        mode: the ends: "interp", of the line or parabola through the last `width` frames;
            "nearest", the end frame is repeated. So it is, too, where there are too few frames.

    Returns:
        float32 (frames, columns).
    """
    if len(values) < width:
        mode = "nearest"
    how = {"deriv": order, "axis": 0, "mode": mode}
    found = scipy.signal.savgol_filter(values, width, order, **how)
    return found.astype(np.float32)


@functools.cache
def mel_bands() -> torch.Tensor:
    """Librosa's filter bank (Slaney), float32 (128, 401)."""
    return torch.from_numpy(librosa.filters.mel(sr=RATE, n_fft=N_FFT, n_mels=MELS))


def segment_count(n_frames: int, length: int = SEGMENT, hop: int = SEGMENT) -> int:
    """How many segments `segments` makes of so many frames."""
    return max(1, 1 + -(-(n_frames - length) // hop))


def segments(
    frames: np.ndarray,
    spec: AlexNetSpectrogram,
    length: int = SEGMENT,
    hop: int = SEGMENT,
    padding: str = "floor",
) -> tuple[np.ndarray, np.ndarray]:
    """An utterance's frames as pictures.

    A segment begins every `hop` frames as long as frames are left that no other holds; the last one
    is padded with `spec.padding`.

    Args:
        frames: of the utterance, float32 (frames, channels * bins).
        spec: the front end that made them.
        length: frames of a segment.
        hop: frames from one segment to the next.
        padding: "floor", or "zero", the published way, kept to show what it does.

    Returns:
        The pictures, float32 (segments, channels, bins, length), and how many frames of each are
        its own, int64 (segments,).
    """
    count = segment_count(len(frames), length, hop)
    fill = np.zeros(spec.channels) if padding == "zero" else np.array(spec.padding)
    padded = np.empty(((count - 1) * hop + length, frames.shape[1]), dtype=np.float32)
    padded[:] = np.repeat(fill, spec.bins)
    padded[: len(frames)] = frames
    pieces = np.lib.stride_tricks.sliding_window_view(padded, length, axis=0)[::hop]
    pictures = np.ascontiguousarray(pieces).reshape(count, spec.channels, spec.bins, length)
    return pictures, np.minimum(length, len(frames) - hop * np.arange(count))
