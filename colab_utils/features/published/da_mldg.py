"""The log-mel spectrogram of DA-MLDG, as its report and its released code have it (method_facts
§4.2).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from colab_utils.features.acoustic.log_mel import one_thread
from colab_utils.features.front_end import FrontEnd, check_waveforms
from colab_utils.settings import setting

RATE, WINDOW, HOP, N_FFT, BANDS, LOW_HZ, HIGH_HZ = 16000, 400, 160, 1024, 64, 60.0, 7800.0


@dataclass(frozen=True)
class DaMldgLogMel(FrontEnd):
    """ln(floor + mel amplitude) of 25 ms frames, 10 ms apart, 64 bands on the HTK scale from 60 to
    7800 Hz: 1 + (samples - 400) // 160 frames.

    Frames lie wholly inside the clip (one of fewer than 400 samples is filled with zeros to one
    frame), the FFT has 1024 points, the window is a periodic Hann window as in the code, or the
    Hamming window of the report's pretraining. Bands are triangles over the mel scale and not
    normalised, as `tf.signal.linear_to_mel_weight_matrix` makes them; the bin of 0 Hz belongs to
    none.
    normalise: "none" keeps the gain of each corpus, as published; "utterance" gives each band mean
    0 and deviation 1 over the clip's own frames, so that gain and colour of a channel are gone.
    """

    NAME: ClassVar[str] = "da-mldg"
    VERSION: ClassVar[int] = 1
    sample_rate: ClassVar[int] = RATE
    window: str = setting("hann", "window of the frames", options=("hann", "hamming"))
    normalise: str = setting(
        "none",
        "each band over the clip's frames: none (as published) or utterance (mean 0, deviation 1)",
        options=("none", "utterance"),
    )
    floor: float = setting(
        1e-6,
        "added to the amplitude before the logarithm; full scale is 1",
        low=1e-12,
        high=1.0,
        step=1e-6,
        more=True,
    )

    @property
    def feature_names(self) -> list[str]:
        """`mel_00` ... from low to high."""
        return [f"mel_{band:02d}" for band in range(BANDS)]

    @torch.inference_mode()
    def compute(self, waveforms: list[np.ndarray], device: str = "cpu") -> list[np.ndarray]:
        """Log-mel frames of each waveform: a list of float32 (frames, 64).

        Raises ValueError for a waveform without samples.
        """
        check_waveforms(waveforms)
        with one_thread():
            return [self._one(wave, device) for wave in waveforms]

    def _one(self, wave: np.ndarray, device: str) -> np.ndarray:
        signal = torch.from_numpy(
            np.pad(wave.astype(np.float32, copy=False), (0, max(0, WINDOW - len(wave))))
        ).to(device)
        window = {"hann": torch.hann_window, "hamming": torch.hamming_window}[self.window](
            WINDOW, device=device
        )
        amplitude = torch.fft.rfft(signal.unfold(0, WINDOW, HOP) * window, N_FFT).abs()
        values = (amplitude @ mel_bands().to(device) + self.floor).log()
        if self.normalise == "utterance":
            deviation, mean = torch.std_mean(values, dim=0, correction=0)
            values = (values - mean) / deviation.clamp(min=1e-5)
        return values.cpu().numpy()


@functools.lru_cache(maxsize=1)
def mel_bands() -> torch.Tensor:
    """The filter bank: float32 (513, 64)."""

    def mel(hertz: np.ndarray) -> np.ndarray:
        return 1127.0 * np.log1p(hertz / 700.0)

    bins = mel(np.linspace(0.0, RATE / 2, N_FFT // 2 + 1))[:, None]
    edges = np.linspace(mel(np.float64(LOW_HZ)), mel(np.float64(HIGH_HZ)), BANDS + 2)
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    bands = np.maximum(
        0.0, np.minimum((bins - low) / (centre - low), (high - bins) / (high - centre))
    )
    bands[0] = 0.0
    return torch.from_numpy(bands.astype(np.float32))
