"""The front ends of Few-Shot_SER (github.com/lucashueda/Few-Shot_SER), as published or repaired."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.fft
import torch

from colab_utils.features.acoustic.log_mel import LogMel
from colab_utils.features.front_end import standardised
from colab_utils.settings import setting

# the level u = (dB - REF_DB - MIN_DB) / -MIN_DB is 0 at -80 dB and 1 at +20 dB
MIN_DB, REF_DB, MAX_NORM = -100.0, 20.0, 4.0
_CONSTANT = 1e-3  # a coefficient that moves less than this over an utterance does not move


def _with_default(name: str, default: Any) -> Any:
    """The setting `name` of LogMel with another default."""
    field = LogMel.__dataclass_fields__[name]
    return dataclasses.field(default=default, metadata=field.metadata)


@dataclass(frozen=True)
class PaperLogMel(LogMel):
    """Level of mel amplitudes, dB = 20 log10(max(floor, mel)), scaled as Tacotron's front ends do.

    With u = (dB - 20 + 100) / 100: `symmetric` gives 2 * 4 u - 4, clipped to [-4, 4], which the
    original meant; without, 4 u clipped to [0, 4], which it computed because an argument was
    misspelt (`symetric_norm` in its src/audio/audio.py). Both are clipped at the same levels, -80
    and +20 dB, so the one is twice the other less 4: nothing but the range differs. Amplitude (not
    power) mel, Slaney's scale and area-normalised bands, Hann, frames centred and reflected at the
    ends.

    Raises:
        SettingError: as LogMel does.
    """

    NAME = "paper-logmel"
    VERSION = 1
    of_amplitude = True
    sample_rate: int = _with_default("sample_rate", 22050)
    window: int = _with_default("window", 1024)
    hop: int = _with_default("hop", 256)
    n_fft: int = _with_default("n_fft", 1024)
    n_mels: int = _with_default("n_mels", 80)
    low_hz: float = _with_default("low_hz", 80.0)
    floor: float = setting(1e-5, "smallest amplitude; full scale is 1", low=1e-12, high=1.0)
    symmetric: bool = setting(
        True,
        "values in [-4, 4] as the original meant, or in [0, 4] as it computed",
    )

    def _level(self, mel: torch.Tensor) -> torch.Tensor:
        """Mel amplitudes to scaled levels, in place."""
        decibels = mel.clamp_(min=self.floor).log10_().mul_(20.0)
        level = decibels.sub_(REF_DB + MIN_DB).div_(-MIN_DB)
        level.clamp_(0.0, 1.0).mul_(MAX_NORM)
        if self.symmetric:
            level.mul_(2.0).sub_(MAX_NORM)
        return level


@dataclass(frozen=True)
class PaperMfcc(LogMel):
    """As many cepstral coefficients as mel bands: the orthonormal DCT-II of ln(floor + mel power).

    `librosa.feature.mfcc(S=np.log(mel + 1e-6), n_mfcc=n_mels)` on Slaney's mel scale, float32
    (1 + samples // hop, n_mels). The original fed them as they are (about -117 to 44); `normalise`
    repairs that: each coefficient of each utterance has mean 0 and deviation 1, and one that does
    not move, as in a single frame or in digital silence, is 0. The LSTM took 20 bands, the
    second-order script 22 050 Hz with 1024 / 256 samples.

    Raises:
        SettingError: as LogMel does.
    """

    NAME = "paper-mfcc"
    VERSION = 1
    window: int = _with_default("window", 512)
    hop: int = _with_default("hop", 128)
    n_mels: int = _with_default("n_mels", 80)
    low_hz: float = _with_default("low_hz", 80.0)
    normalise: bool = setting(
        False,
        "mean 0 and deviation 1 of each coefficient over each utterance",
    )

    @property
    def feature_names(self) -> list[str]:
        """`mfcc_00` ... from the overall level to the finest ripple."""
        return [f"mfcc_{order:02d}" for order in range(self.n_mels)]

    def _frames_of_all(self, waves: list[np.ndarray], device: str) -> list[np.ndarray]:
        found = []
        for levels in super()._frames_of_all(waves, device):
            cepstra = scipy.fft.dct(levels, norm="ortho", axis=1)
            found.append(standardised(cepstra, _CONSTANT) if self.normalise else cepstra)
        return found
