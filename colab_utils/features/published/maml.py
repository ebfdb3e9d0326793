"""The front ends of Few-Shot_SER (system 1): its log-mel and its MFCC, as published or repaired
(method_facts §1.2, §1.7).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import scipy.fft
import torch

from colab_utils.features.acoustic.log_mel import LogMel
from colab_utils.settings import setting

# the level u = (dB - REF_DB - MIN_DB) / -MIN_DB is 0 at -80 dB and 1 at +20 dB
MIN_DB, REF_DB, MAX_NORM = -100.0, 20.0, 4.0
# a coefficient that moves less than this over an utterance does not move
_CONSTANT = 1e-3


@dataclass(frozen=True)
class PaperLogMel(LogMel):
    """Level of mel amplitudes, dB = 20 log10(max(floor, mel)), scaled as Tacotron's front ends do
    and clipped.

    With u = (dB - 20 + 100) / 100: `symmetric` gives 2 * 4 u - 4, clipped to [-4, 4], which the
    original meant; without, 4 u clipped to [0, 4], which it computed because the argument was
    misspelt (§1.2). Both are clipped at the same levels, -80 and +20 dB, so the one is twice the
    other less 4: nothing but the range differs. Amplitude (not power) mel, Slaney's scale and
    area-normalised bands, Hann, frames centred and reflected at the ends. Raises SettingError as
    LogMel does.
    """

    NAME: ClassVar[str] = "paper-logmel"
    VERSION: ClassVar[int] = 1
    of_amplitude: ClassVar[bool] = True
    sample_rate: int = setting(
        22050, "sample rate in Hz; other audio is resampled", low=4000, high=48000, step=50
    )
    window: int = setting(1024, "window length in samples", low=16, high=8192, step=1)
    hop: int = setting(256, "samples from one frame to the next", low=8, high=8192, step=1)
    n_fft: int = setting(
        1024, "FFT length in samples, at least the window", low=16, high=8192, step=2
    )
    n_mels: int = setting(80, "mel bands", low=1, high=256, step=1)
    low_hz: float = setting(
        80.0, "lower edge of the lowest band in Hz", low=0.0, high=24000.0, step=10.0
    )
    floor: float = setting(
        1e-5, "smallest amplitude; full scale is 1", low=1e-12, high=1.0, step=1e-6
    )
    symmetric: bool = setting(
        True,
        "values in [-4, 4] as the original meant, or in [0, 4] as it computed",
        options=(True, False),
    )

    def _level(self, mel: torch.Tensor) -> torch.Tensor:
        """Mel amplitudes to scaled levels, in place."""
        level = mel.clamp_(min=self.floor).log10_().mul_(20.0).sub_(REF_DB + MIN_DB).div_(-MIN_DB)
        level.clamp_(0.0, 1.0).mul_(MAX_NORM)
        return level.mul_(2.0).sub_(MAX_NORM) if self.symmetric else level


@dataclass(frozen=True)
class PaperMfcc(LogMel):
    """As many cepstral coefficients as mel bands: the orthonormal DCT-II of ln(floor + mel power),
    float32 (frames, n_mels).

    `librosa.feature.mfcc(S=np.log(mel + 1e-6), n_mfcc=n_mels)` on Slaney's mel scale. The original
    fed them as they are (about -117 to 44); `normalise` brings each coefficient of each utterance
    to mean 0 and deviation 1, which method_facts §1.7 asks for; a coefficient that does not move,
    as in a single frame or in digital silence, is then 0. The LSTM took 20 bands, the second-order
    script 22 050 Hz with 1024 / 256 samples. Raises SettingError as LogMel does.
    """

    NAME: ClassVar[str] = "paper-mfcc"
    VERSION: ClassVar[int] = 1
    window: int = setting(512, "window length in samples", low=16, high=8192, step=1)
    hop: int = setting(128, "samples from one frame to the next", low=8, high=8192, step=1)
    n_mels: int = setting(80, "mel bands, and as many coefficients", low=1, high=256, step=1)
    low_hz: float = setting(
        80.0, "lower edge of the lowest band in Hz", low=0.0, high=24000.0, step=10.0
    )
    normalise: bool = setting(
        False,
        "mean 0 and deviation 1 of each coefficient over each utterance",
        options=(False, True),
    )

    @property
    def feature_names(self) -> list[str]:
        """`mfcc_00` ... from the overall level to the finest ripple."""
        return [f"mfcc_{order:02d}" for order in range(self.n_mels)]

    def compute(self, waveforms: list[np.ndarray], device: str = "cpu") -> list[np.ndarray]:
        """Coefficients of each waveform: a list of float32 (1 + samples // hop, n_mels)."""
        cepstra = [
            scipy.fft.dct(log_mel, norm="ortho", axis=1)
            for log_mel in super().compute(waveforms, device)
        ]
        return [_standardised(values) for values in cepstra] if self.normalise else cepstra


def _standardised(values: np.ndarray) -> np.ndarray:
    """Columns of (frames, n) at mean 0 and deviation 1; 0 where a column is constant."""
    deviation = values.std(axis=0)
    return (values - values.mean(axis=0)) / np.where(
        deviation > _CONSTANT, deviation, np.inf
    ).astype(values.dtype)
