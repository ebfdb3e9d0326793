"""Worse recordings of the same speech: noise at a given level, a room, a narrow band.

Pure functions of the samples, a condition and a seed.
"""

import hashlib
from collections.abc import Callable

import numpy as np
import scipy.signal
import soxr

from colab_utils.settings import SettingError

TRAINING_NOISES = ("white", "babble", "traffic")  # what stability training may hear
UNSEEN_NOISES = ("pink", "hum", "machine")  # kept for tests
NOISES = TRAINING_NOISES + UNSEEN_NOISES
RATE = 16000  # Hz, of all recordings here
# of the largest 20 ms level: quieter blocks are pauses, which do not count for the level of the
# speech
_LOUD = 0.1


def degraded(wave: np.ndarray, condition: str) -> np.ndarray:
    """`wave` under a condition.

    What is random follows from the samples and the condition alone, so the same clip always becomes
    the same one.

    Args:
        wave: float32 (samples,), at 16 kHz.
        condition: "clean", "<noise>@<dB>" such as "babble@5" (-20 to 60 dB), "reverb", "reverb@0.8"
            (0.05 to 5 seconds), or "8khz" (the band of a telephone sampled at 8 kHz).

    Returns:
        float32 (samples,).

    Raises:
        SettingError: another condition.

    Example:
        >>> degraded(wave, "babble@5")
    """
    name, _, value = condition.partition("@")
    if condition == "clean":
        return wave
    if condition == "8khz":
        return telephone(wave)
    try:
        number = float(value) if value else 0.5
    except ValueError:
        number = np.nan
    seed = own_seed(wave, condition)
    if name == "reverb" and 0.05 <= number <= 5:
        return reverberate(wave, number, seed)
    if name in NOISES and value and -20 <= number <= 60:
        return add_noise(wave, name, number, seed)
    raise SettingError(
        f"condition = {condition!r}: choose clean, 8khz, reverb (or reverb@seconds, 0.05 to 5), or"
        f" a noise at -20 to 60 dB such as babble@5, from {', '.join(NOISES)}"
    )


def own_seed(wave: np.ndarray, purpose: str) -> int:
    """A seed that follows from the samples and a word: a clip's noise ignores its neighbours."""
    digest = hashlib.sha256(purpose.encode() + np.ascontiguousarray(wave).tobytes()).digest()
    return int.from_bytes(digest[:8], "little")


def add_noise(wave: np.ndarray, kind: str, snr_db: float, seed: int) -> np.ndarray:
    """`wave` plus noise `snr_db` below the speech, float32.

    Energies are those of the active 20 ms blocks of the speech. Silence stays as it is.
    """
    noise = make_noise(kind, len(wave), np.random.default_rng(seed))
    active = active_samples(wave)
    speech = np.square(wave[active], dtype=np.float64).mean()
    level = np.square(noise[active]).mean()
    if speech == 0 or level == 0:
        return wave
    gain = np.sqrt(speech / level / 10 ** (snr_db / 10))
    noisy = wave + noise * gain
    return noisy.astype(np.float32)


def active_samples(wave: np.ndarray) -> np.ndarray:
    """Which samples lie in a 20 ms block that is not a pause, bool (samples,)."""
    size = RATE // 50
    starts = np.arange(0, len(wave), size)
    energy = np.add.reduceat(np.square(wave, dtype=np.float64), starts)
    level = np.sqrt(energy)
    active = level >= _LOUD * level.max()
    return np.repeat(active, size)[: len(wave)]


def make_noise(kind: str, samples: int, rng: np.random.Generator) -> np.ndarray:
    """Noise of one kind, of no particular level. Made here, as no recording may be shipped.

    Args:
        kind: white; pink (1/f); babble (many voices: noise with the long-term spectrum of speech,
            its level wandering 2 to 8 times a second); traffic (low rumble with passing swells);
            hum (50 Hz with harmonics); machine (buzz and hiss that go on and off).
        samples: how many.
        rng: all chance comes from it.

    Returns:
        float64 (samples,).
    """
    white = rng.normal(size=samples)
    t = np.arange(samples) / RATE
    if kind == "white":
        return white
    if kind == "pink":
        return _shaped(white, lambda hz: 1 / np.sqrt(np.maximum(hz, 20.0)))
    if kind == "babble":
        return sum(_voice(samples, rng) for _ in range(6))
    if kind == "traffic":
        swell = 1 + 0.8 * _sine(t, rng.uniform(0.1, 0.4), rng)
        rumble = _shaped(white, lambda hz: 1 / (1 + (hz / 300) ** 2))
        return swell * rumble
    if kind == "hum":
        tones = [_sine(t, 50 * k, rng) / k for k in (1, 2, 3, 5, 7)]
        return sum(tones) + 0.02 * white
    # machine
    on = _sine(t, rng.uniform(1, 3), rng) > 0
    buzz = scipy.signal.sawtooth(2 * np.pi * rng.uniform(90, 160) * t)
    hiss = 0.5 * _shaped(white, lambda hz: hz > 2000)
    return (0.2 + on) * (buzz + hiss)


def _sine(t: np.ndarray, hz: float, rng: np.random.Generator) -> np.ndarray:
    """A tone at the times `t`, with a phase of its own."""
    return np.sin(2 * np.pi * (hz * t + rng.random()))


def _voice(samples: int, rng: np.random.Generator) -> np.ndarray:
    """One voice of a babble: noise with the spectrum of speech whose level wanders."""
    level = np.maximum(0.0, 1 + _slow(samples, rng.uniform(2, 8), rng))
    white = rng.normal(size=samples)
    return level * _shaped(white, lambda hz: (hz > 100) / (1 + (hz / 600) ** 1.5))


def reverberate(wave: np.ndarray, seconds: float, seed: int) -> np.ndarray:
    """`wave` in a room whose sound decays by 60 dB in so many seconds (T60), float32.

    Convolved with decaying noise behind a direct path, cut to its own length, at its own energy.
    """
    samples = max(2, round(seconds * RATE))
    noise = np.random.default_rng(seed).normal(size=samples)
    room = noise * 10 ** (-3 * np.arange(samples) / samples)
    room *= 0.7 / np.sqrt(np.square(room).sum())
    room[0] = 1.0
    dry = wave.astype(np.float64)
    wet = scipy.signal.fftconvolve(dry, room)[: len(wave)]
    energy = np.square(wet).sum()
    if energy:
        wet *= np.sqrt(np.square(dry).sum() / energy)
    return wet.astype(np.float32)


def telephone(wave: np.ndarray) -> np.ndarray:
    """`wave` with nothing above 4 kHz: sampled at 8 kHz and back, float32."""
    narrow = soxr.resample(wave, RATE, 8000)
    wide = soxr.resample(narrow, 8000, RATE)
    wide = wide[: len(wave)]
    missing = len(wave) - len(wide)
    return np.pad(wide, (0, missing)).astype(np.float32)


def _shaped(white: np.ndarray, gain: Callable) -> np.ndarray:
    """Noise with the amplitude spectrum `gain(Hz)`, of deviation 1."""
    spectrum = np.fft.rfft(white) * gain(np.fft.rfftfreq(len(white), 1 / RATE))
    shaped = np.fft.irfft(spectrum, len(white))
    return shaped / max(shaped.std(), 1e-12)


def _slow(samples: int, hz: float, rng: np.random.Generator) -> np.ndarray:
    """A curve that wanders about `hz` times a second around 0, of deviation 1 or so."""
    points = rng.normal(size=max(2, int(samples / RATE * 2 * hz) + 2))
    return np.interp(np.linspace(0, len(points) - 1, samples), np.arange(len(points)), points)
