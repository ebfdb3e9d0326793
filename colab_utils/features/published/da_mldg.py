"""The log-mel spectrogram of DA-MLDG (King Gandhi et al. 2023), as its released code has it."""

import functools
from dataclasses import dataclass

import numpy as np
import torch

from colab_utils.features.acoustic.spectrogram import Spectrogram
from colab_utils.features.front_end import standardised
from colab_utils.settings import setting

RATE, WINDOW, HOP, N_FFT, BANDS, LOW_HZ, HIGH_HZ = 16000, 400, 160, 1024, 64, 60.0, 7800.0
_CONSTANT = 1e-5  # a band that moves less than this over an utterance does not move


@dataclass(frozen=True)
class DaMldgLogMel(Spectrogram):
    """ln(floor + mel amplitude) of 25 ms frames, 10 ms apart: 1 + (samples - 400) // 160 frames.

    64 bands on the HTK scale from 60 to 7800 Hz. Frames lie wholly inside the clip (one of fewer
    than 400 samples is filled with zeros to one frame), the FFT has 1024 points, the window is a
    periodic Hann window as in the code, or the Hamming window of the paper's pretraining. Bands are
    triangles over the mel scale and not normalised, as `tf.signal.linear_to_mel_weight_matrix`
    makes them; the bin of 0 Hz belongs to none.

    normalise: "none" keeps the gain of each corpus, as published; "utterance" gives each band mean
    0 and deviation 1 over the clip's own frames, so that gain and colour of a channel are gone.
    """

    NAME = "da-mldg"
    VERSION = 1
    sample_rate = RATE
    window: str = setting("hann", "window of the frames", options=("hann", "hamming"))
    normalise: str = setting(
        "none",
        "each band over the clip's frames: none (as published) or utterance (mean 0, deviation 1)",
        options=("none", "utterance"),
    )
    floor: float = setting(
        1e-6, "added to the amplitude before the logarithm; full scale is 1", low=1e-12, high=1.0
    )

    @property
    def feature_names(self) -> list[str]:
        """`mel_00` ... from low to high."""
        return [f"mel_{band:02d}" for band in range(BANDS)]

    def _frames(self, wave: np.ndarray, device: str) -> np.ndarray:
        filled = np.pad(wave, (0, max(0, WINDOW - len(wave))))
        signal = torch.from_numpy(filled).to(device)
        frames = signal.unfold(0, WINDOW, HOP)
        window = torch.hann_window if self.window == "hann" else torch.hamming_window
        frames = frames * window(WINDOW, device=device)
        amplitude = torch.fft.rfft(frames, N_FFT).abs()
        mel = amplitude @ mel_bands().to(device)
        values = torch.log(mel + self.floor).cpu().numpy()
        if self.normalise == "utterance":
            return standardised(values, _CONSTANT)
        return values


@functools.cache
def mel_bands() -> torch.Tensor:
    """The filter bank: float32 (513, 64)."""

    def mel(hertz: np.ndarray) -> np.ndarray:
        return 1127.0 * np.log1p(hertz / 700.0)

    hertz = np.linspace(0.0, RATE / 2, N_FFT // 2 + 1)
    bins = mel(hertz)[:, None]
    edges = np.linspace(mel(LOW_HZ), mel(HIGH_HZ), BANDS + 2)
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    rising = (bins - low) / (centre - low)
    falling = (high - bins) / (high - centre)
    bands = np.maximum(0.0, np.minimum(rising, falling))
    bands[0] = 0.0
    return torch.from_numpy(bands.astype(np.float32))
