"""Acoustic functionals: one vector an utterance, made of statistics over the frames that each of
them is about.
"""

from __future__ import annotations

import functools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from colab_utils.features.acoustic.descriptors import band_centres, loudness, run_lengths, spectral
from colab_utils.features.acoustic.log_mel import LogMel
from colab_utils.features.acoustic.prosody import Prosody
from colab_utils.features.front_end import FrontEnd, workers
from colab_utils.settings import SettingError, setting

_LOWEST_NOTE_HZ = 27.5  # eGeMAPS counts semitones from A0


@dataclass(frozen=True)
class Functionals(FrontEnd):
    """Functionals in the spirit of eGeMAPS (Eyben et al. 2016), without its licence: pitch, voice
    quality, rhythm, loudness, timbre.

    Pitch, aperiodicity and timbre are taken over voiced frames, timbre also over unvoiced ones,
    loudness over *active* frames: those within `active_db` of the utterance's 95th percentile of
    energy, so that silence around the speech does not count. Frames stand 10 ms apart. A statistic
    without at least two frames to be taken over is 0 (as in eGeMAPS); `voiced_share` then tells
    why. Never NaN. Raises SettingError unless `parts` are one LogMel and one Prosody whose frames
    lie upon one another.
    """

    NAME: ClassVar[str] = "acoustic"
    VERSION: ClassVar[int] = 1
    pooled: ClassVar[bool] = True
    parts: tuple[LogMel, Prosody] = setting(
        (LogMel(), Prosody()),
        "the frames that the statistics are taken over: (LogMel(...), Prosody(...))",
    )
    n_mfcc: int = setting(4, "cepstral coefficients, from the first", low=0, high=20, step=1)
    active_db: float = setting(
        30.0,
        "how far below the loud frames a frame still counts as speech, in dB",
        low=5.0,
        high=90.0,
        step=5.0,
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
        mel, prosody = (part.compute(waveforms, device) for part in self.parts)
        with ThreadPoolExecutor(workers()) as pool:
            vectors = list(pool.map(self._describe, mel, prosody))
        return [np.array([list(vector.values())], dtype=np.float32) for vector in vectors]

    def _describe(self, log_mel: np.ndarray, prosody: np.ndarray) -> dict[str, float]:
        """The functionals of one utterance by name, from its (frames, n_mels) and (frames, 4)."""
        voiced, energy = prosody[:, 1] > 0, prosody[:, 2].astype(np.float64)
        active = energy >= np.percentile(energy, 95) - self.active_db
        loud = loudness(log_mel)
        timbre, names = spectral(log_mel, self.parts[0], self.n_mfcc)
        return {
            **_pitch(prosody[:, 0].astype(np.float64), voiced),
            **_spread("aperiodicity_voiced", prosody[voiced, 3].astype(np.float64)),
            **_rhythm(voiced, active, loud),
            **_spread("loudness_active", loud[active]),
            **_changes("loudness_active", np.diff(loud)[active[1:] & active[:-1]]),
            **_spread("energy_active", energy[active]),
            **_moments(names, "voiced", timbre[voiced]),
            **_moments(names, "unvoiced", timbre[active & ~voiced], deviation=False),
        }


@functools.lru_cache(maxsize=32)
def _names(spec: Functionals) -> tuple[str, ...]:
    """The names, from the code that makes the values."""
    return tuple(
        spec._describe(
            np.zeros((2, spec.parts[0].n_mels), np.float32),
            np.zeros((2, spec.parts[1].dim), np.float32),
        )
    )


def _spread(name: str, values: np.ndarray) -> dict[str, float]:
    """Mean, deviation, 20th, 50th and 80th percentile and the range between the outer two of
    `values` (n,); 0 where n < 2.
    """
    low, middle, high = np.percentile(values, (20, 50, 80)) if len(values) > 1 else (0.0, 0.0, 0.0)
    return {
        f"{name}_mean": values.mean() if len(values) > 1 else 0.0,
        f"{name}_std": values.std() if len(values) > 1 else 0.0,
        f"{name}_p20": low,
        f"{name}_p50": middle,
        f"{name}_p80": high,
        f"{name}_range": high - low,
    }


def _moments(
    names: list[str], frames: str, values: np.ndarray, deviation: bool = True
) -> dict[str, float]:
    """Mean and, with `deviation`, standard deviation of each column of `values` (n, len(names)); 0
    where n < 2.
    """
    values = values if len(values) > 1 else np.zeros((2, len(names)))
    moments = {
        f"{name}_{frames}_mean": value for name, value in zip(names, values.mean(0), strict=True)
    }
    if deviation:
        moments |= {
            f"{name}_{frames}_std": value for name, value in zip(names, values.std(0), strict=True)
        }
    return moments


def _changes(name: str, steps: np.ndarray) -> dict[str, float]:
    """Mean and deviation of the rising and of the falling `steps` (n,) from frame to frame; 0 where
    there are none.
    """
    changes = {}
    for word, some in (("rise", steps[steps > 0]), ("fall", steps[steps < 0])):
        changes[f"{name}_{word}_mean"] = some.mean() if len(some) else 0.0
        changes[f"{name}_{word}_std"] = some.std() if len(some) else 0.0
    return changes


def _pitch(log_f0: np.ndarray, voiced: np.ndarray) -> dict[str, float]:
    """Level, spread and movement of F0 in semitones over voiced frames; movement only between
    voiced neighbours.

    The mean absolute step stands in for jitter, which would need single periods of the voice.
    """
    semitones = 12.0 * (log_f0 - np.log(_LOWEST_NOTE_HZ)) / np.log(2.0)
    steps = np.diff(semitones)[voiced[1:] & voiced[:-1]]
    return {
        **_spread("pitch_voiced", semitones[voiced]),
        **_changes("pitch_voiced", steps),
        "pitch_voiced_step": np.abs(steps).mean() if len(steps) else 0.0,
    }


def _rhythm(voiced: np.ndarray, active: np.ndarray, loud: np.ndarray) -> dict[str, float]:
    """Shares, lengths (s) and rates (1/s of active time) of voiced and unvoiced stretches and of
    loudness peaks.
    """
    seconds = active.sum() * 0.01
    voiced_runs, unvoiced_runs = run_lengths(voiced) * 0.01, run_lengths(active & ~voiced) * 0.01
    peaks = (loud[1:-1] > loud[:-2]) & (loud[1:-1] >= loud[2:]) & active[1:-1]
    lengths = {
        f"{word}_length_{statistic}": float(function(runs)) if len(runs) else 0.0
        for word, runs in (("voiced", voiced_runs), ("unvoiced", unvoiced_runs))
        for statistic, function in (("mean", np.mean), ("std", np.std))
    }
    return {
        "voiced_share": voiced.mean(),
        "voiced_share_active": voiced[active].mean(),
        "log_active_seconds": np.log(seconds),
        "voiced_runs_per_second": len(voiced_runs) / seconds,
        "loudness_peaks_per_second": peaks.sum() / seconds,
        **lengths,
    }
