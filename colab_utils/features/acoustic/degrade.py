"""Worse recordings of the same speech: noise at a given level, a room, a narrow band.

Pure functions of the samples, a condition and a seed.
"""

from __future__ import annotations

import hashlib

import numpy as np
import scipy.signal
import soxr

from colab_utils.settings import SettingError

TRAINING_NOISES = ("white", "babble", "traffic")  # what stability training may hear
UNSEEN_NOISES = ("pink", "hum", "machine")  # kept for tests
NOISES = TRAINING_NOISES + UNSEEN_NOISES
# of the largest 20 ms level: quieter blocks are pauses, which do not count for the level of the
# speech
_LOUD = 0.1


def degraded(wave: np.ndarray, rate: int, condition: str) -> np.ndarray:
    """`wave` (float32 (samples,) at `rate` Hz) under a condition: "clean", "<noise>@<dB>" such as
    "babble@5", "reverb", "reverb@0.8" (seconds) or "8khz" (the band of a telephone sampled at 8
    kHz).

    What is random follows from the samples and the condition alone, so the same clip always becomes
    the same one. Raises SettingError.
    """
    name, _, value = condition.partition("@")
    if condition == "clean":
        return wave
    if condition == "8khz":
        return band_limit(wave, rate, 4000.0)
    try:
        number = float(value) if value else 0.5
    except ValueError:
        number = np.nan
    seed = own_seed(wave, condition)
    if name == "reverb" and 0.05 <= number <= 5:
        return reverberate(wave, rate, number, seed)
    if name in NOISES and value and -20 <= number <= 60:
        return add_noise(wave, rate, name, number, seed)
    raise SettingError(
        f"condition = {condition!r}: choose clean, 8khz, reverb (or reverb@seconds, 0.05 to 5), or"
        f" a noise at -20 to 60 dB such as babble@5, from {', '.join(NOISES)}"
    )


def own_seed(wave: np.ndarray, purpose: str) -> int:
    """A seed that follows from the samples and a word: what is drawn for a clip does not depend on
    its neighbours.
    """
    return int.from_bytes(
        hashlib.sha256(purpose.encode() + np.ascontiguousarray(wave).tobytes()).digest()[:8],
        "little",
    )


def add_noise(wave: np.ndarray, rate: int, kind: str, snr_db: float, seed: int) -> np.ndarray:
    """`wave` plus noise `snr_db` below the speech: energies over the active 20 ms blocks of the
    speech. Silence stays as it is.
    """
    noise = make_noise(kind, len(wave), rate, np.random.default_rng(seed))
    active = active_samples(wave, rate)
    speech, level = (
        np.mean(np.square(wave[active], dtype=np.float64)),
        np.mean(np.square(noise[active])),
    )
    if speech == 0 or level == 0:
        return wave
    return (wave + noise * np.sqrt(speech / level / 10 ** (snr_db / 10))).astype(np.float32)


def active_samples(wave: np.ndarray, rate: int) -> np.ndarray:
    """Which samples lie in a 20 ms block that is not a pause, bool (samples,)."""
    size = max(1, rate // 50)
    blocks = -(-len(wave) // size)
    level = np.sqrt(np.add.reduceat(np.square(wave, dtype=np.float64), np.arange(blocks) * size))
    return np.repeat(level >= _LOUD * level.max(), size)[: len(wave)]


def make_noise(kind: str, samples: int, rate: int, rng: np.random.Generator) -> np.ndarray:
    """Noise of one kind, float64 (samples,), of no particular level: white; pink (1/f); babble
    (many voices: noise with the long-term spectrum of speech, its level wandering 2 to 8 times a
    second); traffic (low rumble with passing swells); hum (50 Hz with harmonics); machine (buzz and
    hiss that go on and off). Made here, because no recording may be shipped.
    """
    white, t = rng.normal(size=samples), np.arange(samples) / rate
    if kind == "white":
        return white
    if kind == "pink":
        return _shaped(white, rate, lambda hz: 1 / np.sqrt(np.maximum(hz, 20.0)))
    if kind == "babble":
        voices = np.zeros(samples)
        for _ in range(6):
            level = np.maximum(0.0, 1 + _slow(samples, rate, rng.uniform(2, 8), rng))
            voices += level * _shaped(
                rng.normal(size=samples), rate, lambda hz: (hz > 100) / (1 + (hz / 600) ** 1.5)
            )
        return voices
    if kind == "traffic":
        return (1 + 0.8 * np.sin(2 * np.pi * (t * rng.uniform(0.1, 0.4) + rng.random()))) * _shaped(
            white, rate, lambda hz: 1 / (1 + (hz / 300) ** 2)
        )
    if kind == "hum":
        return (
            sum(np.sin(2 * np.pi * (50 * k * t + rng.random())) / k for k in (1, 2, 3, 5, 7))
            + 0.02 * white
        )
    if kind == "machine":
        on = (np.sin(2 * np.pi * (rng.uniform(1, 3) * t + rng.random())) > 0).astype(float)
        return (0.2 + on) * (
            scipy.signal.sawtooth(2 * np.pi * rng.uniform(90, 160) * t)
            + 0.5 * _shaped(white, rate, lambda hz: hz > 2000)
        )
    raise SettingError(f"no noise is called {kind!r}: choose from {', '.join(NOISES)}")


def reverberate(wave: np.ndarray, rate: int, seconds: float, seed: int) -> np.ndarray:
    """`wave` in a room whose sound decays by 60 dB in so many seconds (T60): convolved with
    decaying noise behind a direct path, cut to its own length, at its own energy.
    """
    rng, samples = np.random.default_rng(seed), max(2, round(seconds * rate))
    room = rng.normal(size=samples) * 10 ** (-3 * np.arange(samples) / samples)
    room *= 0.7 / np.sqrt(np.sum(np.square(room)))
    room[0] = 1.0
    wet = scipy.signal.fftconvolve(wave.astype(np.float64), room)[: len(wave)]
    energy = np.sum(np.square(wet))
    return (
        wet * np.sqrt(np.sum(np.square(wave, dtype=np.float64)) / energy) if energy else wet
    ).astype(np.float32)


def band_limit(wave: np.ndarray, rate: int, high_hz: float) -> np.ndarray:
    """`wave` with nothing above `high_hz`: sampled at twice that rate and back."""
    if 2 * high_hz >= rate:
        return wave
    narrow = soxr.resample(soxr.resample(wave, rate, 2 * high_hz), 2 * high_hz, rate)[: len(wave)]
    return np.pad(narrow, (0, len(wave) - len(narrow))).astype(np.float32)


def _shaped(white: np.ndarray, rate: int, gain: object) -> np.ndarray:
    """Noise with the amplitude spectrum `gain(Hz)`, of deviation 1."""
    spectrum = np.fft.rfft(white) * gain(np.fft.rfftfreq(len(white), 1 / rate))
    shaped = np.fft.irfft(spectrum, len(white))
    return shaped / max(shaped.std(), 1e-12)


def _slow(samples: int, rate: int, hz: float, rng: np.random.Generator) -> np.ndarray:
    """A curve that wanders about `hz` times a second around 0, of deviation 1 or so."""
    points = rng.normal(size=max(2, int(samples / rate * 2 * hz) + 2))
    return np.interp(np.linspace(0, len(points) - 1, samples), np.arange(len(points)), points)
