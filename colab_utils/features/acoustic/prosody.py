"""Pitch, voicing, loudness and breathiness every 10 ms, by the WORLD vocoder (Morise 2016)."""

from dataclasses import dataclass

import numpy as np
import pyworld

from colab_utils.features.front_end import FrontEnd, check_waveforms, in_threads
from colab_utils.settings import SettingError, setting

ENERGY_FLOOR_DB = -100.0  # under the rounding noise of 16-bit audio (-98 dB)
_ENERGY_WINDOW = 400  # 25 ms
# D4C's result is drawn out to a spectrum: with a bin at 3 kHz, the only one that is used, and few
# others
_APERIODICITY_FFT = 16


@dataclass(frozen=True)
class Prosody(FrontEnd):
    """Four columns a frame: `log_f0`, `voiced`, `energy_db`, `aperiodicity_db`.

    Frame k is centred on sample 160 k, as those of `LogMel` are, and there are as many of them.
    `log_f0` ln(Hz), 0 in unvoiced frames (no voice is at 1 Hz: use `voiced` as its mask); `voiced`
    0 or 1; `energy_db` mean power of 25 ms in dB re full scale, at least ENERGY_FLOOR_DB;
    `aperiodicity_db` share of noise at 3 kHz in dB (0 = all noise, in unvoiced frames always), the
    one band that WORLD codes at 16 kHz.

    F0 by DIO refined by StoneMask: Harvest's fewer octave errors cost 30 times the time (350 ms for
    a second of speech against 12 ms). A frame is voiced where DIO finds F0 and D4C's LoveTrain test
    finds its energy between 100 Hz and 4 kHz below 7.9 kHz (Morise et al. 2016; Morise 2016).

    Raises:
        SettingError: `low_hz` is not below `high_hz`.
    """

    NAME = "prosody"
    VERSION = 1
    sample_rate = 16000
    hop = 160
    low_hz: float = setting(60.0, "lowest F0 looked for, in Hz", low=40.0, high=200.0)
    high_hz: float = setting(600.0, "highest F0 looked for, in Hz", low=200.0, high=1200.0)
    voicing_threshold: float = setting(
        0.85, "how strict the voicing test is; 0 accepts all that DIO finds", low=0.0, high=1.0
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.low_hz < self.high_hz:
            raise SettingError(f"low_hz = {self.low_hz}: must be below high_hz = {self.high_hz}")

    @property
    def feature_names(self) -> list[str]:
        """The four columns."""
        return ["log_f0", "voiced", "energy_db", "aperiodicity_db"]

    def compute(self, waveforms: list[np.ndarray], device: str = "cpu") -> list[np.ndarray]:
        """Prosody of each waveform: a list of float32 (1 + samples // 160, 4).

        `device` is not used: WORLD runs on the processor's cores.
        """
        check_waveforms(waveforms)
        return in_threads(self._one, waveforms)

    def _one(self, wave: np.ndarray) -> np.ndarray:
        """One waveform's frames."""
        samples, rate = wave.astype(np.float64), self.sample_rate
        f0, times = pyworld.dio(
            samples,
            rate,
            f0_floor=self.low_hz,
            f0_ceil=self.high_hz,
            frame_period=1000.0 * self.hop / rate,
        )
        f0 = pyworld.stonemask(samples, f0, times, rate)
        spectrum = pyworld.d4c(
            samples, f0, times, rate, threshold=self.voicing_threshold, fft_size=_APERIODICITY_FFT
        )
        aperiodicity = pyworld.code_aperiodicity(spectrum, rate)[:, 0]
        # D4C sets 0 dB (all noise) where LoveTrain refuses a frame
        voiced = (f0 > 0) & (aperiodicity < -0.01)
        log_f0 = np.log(f0, out=np.zeros_like(f0), where=voiced)
        energy = frame_energy_db(samples, self.hop, len(f0))
        columns = [log_f0, voiced, energy, np.where(voiced, aperiodicity, 0.0)]
        return np.stack(columns, axis=1).astype(np.float32)


def frame_energy_db(samples: np.ndarray, hop: int, frames: int) -> np.ndarray:
    """Mean power of 25 ms around each multiple of `hop`, in dB re full scale, float64 (frames,).

    At the ends it is that of the samples there are.
    """
    squares = np.square(samples, dtype=np.float64)
    sums = np.concatenate(([0.0], np.cumsum(squares)))
    centres = np.arange(frames) * hop
    half = _ENERGY_WINDOW // 2
    begin = (centres - half).clip(0, len(samples))
    end = (centres + half).clip(0, len(samples))
    power = (sums[end] - sums[begin]) / np.maximum(end - begin, 1)
    floor = 10.0 ** (ENERGY_FLOOR_DB / 10.0)
    power = np.maximum(power, floor)
    return 10.0 * np.log10(power)
