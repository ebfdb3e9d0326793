"""Acoustic functionals: one vector an utterance, statistics over the frames each is about."""

import functools
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from colab_utils.features.acoustic.descriptors import band_centres, loudness, run_lengths, spectral
from colab_utils.features.acoustic.log_mel import LogMel
from colab_utils.features.acoustic.prosody import Prosody
from colab_utils.features.front_end import FrontEnd, in_threads
from colab_utils.settings import SettingError, setting

_LOWEST_NOTE_HZ = 27.5  # eGeMAPS counts semitones from A0


@dataclass(frozen=True)
class Functionals(FrontEnd):
    """Functionals in the spirit of eGeMAPS (Eyben et al. 2016), computed without openSMILE.

    Pitch, aperiodicity and timbre are taken over voiced frames, timbre also over unvoiced ones,
    loudness over *active* frames: those within `active_db` of the utterance's 95th percentile of
    energy, so that silence around the speech does not count. Frames stand 10 ms apart. A statistic
    without at least two frames to be taken over is 0 (as in eGeMAPS); `voiced_share` then tells
    why. Never NaN.

    Raises:
        SettingError: `parts` are not one LogMel and one Prosody whose frames lie upon one another.
    """

    NAME = "acoustic"
    VERSION = 1
    pooled = True
    parts: tuple[LogMel, Prosody] = setting(
        (LogMel(), Prosody()),
        "the frames that the statistics are taken over: (LogMel(...), Prosody(...))",
    )
    n_mfcc: int = setting(4, "cepstral coefficients, from the first", low=0, high=20)
    active_db: float = setting(
        30.0,
        "how far below the loud frames a frame still counts as speech, in dB",
        low=5.0,
        high=90.0,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if [type(part) for part in self.parts] != [LogMel, Prosody]:
            raise SettingError(
                f"parts = {self.parts!r}: one LogMel and one Prosody are needed, in this order"
            )
        mel, prosody = self.parts
        if (mel.sample_rate, mel.hop) != (prosody.sample_rate, prosody.hop):
            raise SettingError(
                f"parts: LogMel has sample_rate = {mel.sample_rate}, hop = {mel.hop}; Prosody's"
                f" frames need {prosody.sample_rate} and {prosody.hop}"
            )
        if self.n_mfcc >= mel.n_mels:
            raise SettingError(f"n_mfcc = {self.n_mfcc}: must be below n_mels = {mel.n_mels}")
        band_centres(mel)

    @property
    def sample_rate(self) -> int:
        """Hz, that of the parts."""
        return self.parts[0].sample_rate

    @property
    def feature_names(self) -> list[str]:
        """`<descriptor>_<frames>_<statistic>`, such as `pitch_voiced_mean`."""
        return list(_names(self))

    def compute(self, waveforms: list[np.ndarray], device: str = "cpu") -> list[np.ndarray]:
        """Functionals of each waveform: a list of float32 (1, dim).

        The log-mel part runs on `device`.
        """
        mel, prosody = self.parts
        vectors = in_threads(
            self._describe, mel.compute(waveforms, device), prosody.compute(waveforms)
        )
        return [np.array([list(vector.values())], dtype=np.float32) for vector in vectors]

    def _describe(self, log_mel: np.ndarray, prosody: np.ndarray) -> dict[str, float]:
        """The functionals of one utterance by name, from its (frames, n_mels) and (frames, 4)."""
        log_f0, voiced, energy, aperiodicity = prosody.T.astype(np.float64, order="C")
        voiced = voiced > 0
        active = energy >= np.percentile(energy, 95) - self.active_db
        loud = loudness(log_mel)
        timbre = spectral(log_mel, self.parts[0], self.n_mfcc)
        frames = np.stack(list(timbre.values()), axis=1)
        over_voiced = _enough(frames[voiced], 2)
        over_unvoiced = _enough(frames[active & ~voiced], 2)
        vector = _pitch(log_f0, voiced)
        vector |= _spread("aperiodicity_voiced", aperiodicity[voiced])
        vector |= _rhythm(voiced, active, loud)
        vector |= _spread("loudness_active", loud[active])
        vector |= _changes("loudness_active", np.diff(loud)[active[1:] & active[:-1]])
        vector |= _spread("energy_active", energy[active])
        vector |= _named(timbre, "voiced_mean", over_voiced.mean(0))
        vector |= _named(timbre, "voiced_std", over_voiced.std(0))
        vector |= _named(timbre, "unvoiced_mean", over_unvoiced.mean(0))
        return vector


@functools.lru_cache(maxsize=32)
def _names(spec: Functionals) -> tuple[str, ...]:
    """The names, from the code that makes the values."""
    mel, prosody = spec.parts
    return tuple(spec._describe(np.zeros((2, mel.n_mels), np.float32), np.zeros((2, prosody.dim))))


def _enough(values: np.ndarray, least: int = 1) -> np.ndarray:
    """`values` (n, ...), or zeros where n < `least`: their statistics are then 0."""
    return values if len(values) >= least else np.zeros((1, *values.shape[1:]))


def _named(descriptors: Iterable[str], statistic: str, values: np.ndarray) -> dict[str, float]:
    """One value for each descriptor, by name."""
    names = [f"{descriptor}_{statistic}" for descriptor in descriptors]
    return dict(zip(names, values, strict=True))


def _mean_std(name: str, values: np.ndarray) -> dict[str, float]:
    """Mean and deviation of `values` (n,)."""
    return {f"{name}_mean": values.mean(), f"{name}_std": values.std()}


def _spread(name: str, values: np.ndarray) -> dict[str, float]:
    """Mean, deviation, 20th, 50th and 80th percentile of `values` (n,), and the outer ones' range.

    0 where n < 2.
    """
    values = _enough(values, 2)
    low, middle, high = np.percentile(values, (20, 50, 80))
    spread = _mean_std(name, values)
    spread[f"{name}_p20"] = low
    spread[f"{name}_p50"] = middle
    spread[f"{name}_p80"] = high
    spread[f"{name}_range"] = high - low
    return spread


def _changes(name: str, steps: np.ndarray) -> dict[str, float]:
    """Mean and deviation of the rising and of the falling `steps` (n,) from frame to frame.

    0 where there are none.
    """
    rising = _mean_std(f"{name}_rise", _enough(steps[steps > 0]))
    return rising | _mean_std(f"{name}_fall", _enough(steps[steps < 0]))


def _pitch(log_f0: np.ndarray, voiced: np.ndarray) -> dict[str, float]:
    """Level, spread and movement of F0 in semitones; movement only between voiced neighbours.

    The mean absolute step stands in for jitter, which would need single periods of the voice.
    """
    above = log_f0 - np.log(_LOWEST_NOTE_HZ)
    semitones = 12.0 * above / np.log(2.0)
    neighbours = voiced[1:] & voiced[:-1]
    steps = np.diff(semitones)[neighbours]
    pitch = _spread("pitch_voiced", semitones[voiced])
    pitch |= _changes("pitch_voiced", steps)
    pitch["pitch_voiced_step"] = _enough(np.abs(steps)).mean()
    return pitch


def _rhythm(voiced: np.ndarray, active: np.ndarray, loud: np.ndarray) -> dict[str, float]:
    """Shares, lengths (s) and rates (1/s of active time) of stretches and of loudness peaks."""
    seconds = active.sum() * 0.01
    voiced_runs = run_lengths(voiced) * 0.01
    unvoiced_runs = run_lengths(active & ~voiced) * 0.01
    peaks = (loud[1:-1] > loud[:-2]) & (loud[1:-1] >= loud[2:]) & active[1:-1]
    rhythm = {
        "voiced_share": voiced.mean(),
        "voiced_share_active": voiced[active].mean(),
        "log_active_seconds": np.log(seconds),
        "voiced_runs_per_second": len(voiced_runs) / seconds,
        "loudness_peaks_per_second": peaks.sum() / seconds,
    }
    rhythm |= _mean_std("voiced_length", _enough(voiced_runs))
    return rhythm | _mean_std("unvoiced_length", _enough(unvoiced_runs))
