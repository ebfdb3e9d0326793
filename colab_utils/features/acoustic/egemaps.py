"""The extended Geneva minimalistic acoustic parameter set (Eyben et al. 2016), by openSMILE.

openSMILE is free for private, research and teaching use only; other use needs a licence of
audEERING GmbH. The suite therefore neither ships nor requires it: `pip install opensmile` is the
user's own step.
"""

import functools
import threading
from dataclasses import dataclass
from typing import Any

import numpy as np

from colab_utils.features.front_end import FrontEnd, check_waveforms, in_threads

_local = threading.local()
_LARGEST = 32767 / 32768  # openSMILE is given 16 bits, in which what lies beyond turns its sign


class MissingOpensmileError(ImportError):
    """openSMILE is not installed; the message says what to do."""


@dataclass(frozen=True)
class EGeMAPS(FrontEnd):
    """The 88 functionals of eGeMAPSv02, one vector an utterance.

    Statistics that an utterance does not have (no voiced frame) are 0, as openSMILE writes them;
    should it give NaN or infinity, that becomes 0 too. A waveform that goes beyond full scale (as
    floats and resampled clips may) is brought down to it first: features of level, such as
    loudness, are then those of the quieter one.

    Raises:
        MissingOpensmileError: on use where openSMILE is not installed.
    """

    NAME = "egemaps"
    VERSION = 2  # 1 lost F0, jitter and HNR of clips beyond full scale
    pooled = True
    sample_rate = 16000

    @property
    def feature_names(self) -> list[str]:
        """OpenSMILE's own names, such as `F0semitoneFrom27.5Hz_sma3nz_amean`."""
        return list(_names())

    def compute(self, waveforms: list[np.ndarray], device: str = "cpu") -> list[np.ndarray]:
        """Functionals of each waveform: a list of float32 (1, 88).

        `device` is not used: openSMILE runs on the processor's cores.
        """
        check_waveforms(waveforms)
        return in_threads(self._one, waveforms)

    def _one(self, wave: np.ndarray) -> np.ndarray:
        """One waveform's functionals."""
        if wave.max() > _LARGEST or wave.min() < -1:
            peak = np.abs(wave).max()
            wave = wave * (_LARGEST / peak)
        # each thread has its own extractor, since one must not be shared
        if not hasattr(_local, "smile"):
            _local.smile = _extractor()
        table = _local.smile.process_signal(wave, self.sample_rate)
        return np.nan_to_num(table.to_numpy(dtype=np.float32), posinf=0.0, neginf=0.0)


def _extractor() -> Any:
    """A new openSMILE extractor of eGeMAPSv02 functionals. Raises MissingOpensmileError."""
    try:
        import opensmile  # the user's own step, see above
    except ImportError as error:
        raise MissingOpensmileError(
            "egemaps needs openSMILE, which is free for research and teaching only: run `pip"
            " install opensmile`, or choose the front end `acoustic`"
        ) from error
    return opensmile.Smile(
        feature_set=opensmile.FeatureSet.eGeMAPSv02,
        feature_level=opensmile.FeatureLevel.Functionals,
    )


@functools.cache
def _names() -> tuple[str, ...]:
    """The 88 names, asked of openSMILE once."""
    return tuple(_extractor().feature_names)
