"""The four domains: who is recorded how.

Each has its own speakers, language, channel, strength of acting and balance of emotions.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
from scipy.signal import butter, fftconvolve, lfilter, sosfilt

from colab_utils.corpora.synthetic.speech import SAMPLE_RATE

# no sample is louder: a clip that would be is turned down, as a recording engineer would
_PEAK = 0.95


def studio(wave: np.ndarray, speaker: np.random.Generator, rng: np.random.Generator) -> np.ndarray:
    """A quiet, dry recording: a noise floor some 38 dB below a neutral voice."""
    return wave + _noise(len(wave), -68.0, rng)


def phone(wave: np.ndarray, speaker: np.random.Generator, rng: np.random.Generator) -> np.ndarray:
    """A telephone line: 300 to 3400 Hz, two fifths of the level differences levelled out, mu-law
    steps (ITU-T G.711), line noise.
    """
    wave = sosfilt(butter(3, (300.0, 3400.0), "bandpass", fs=SAMPLE_RATE, output="sos"), wave)
    wave = wave * (0.05 / _active_rms(wave)) ** 0.4 * 10 ** (speaker.normal(0, 1.5) / 20) + _noise(
        len(wave), -64.0, rng
    )
    coded = np.sign(wave) * np.log1p(255 * np.minimum(np.abs(wave), 1.0)) / np.log(256)
    coded = np.rint(coded * 127) / 127
    return np.sign(coded) * (np.exp(np.abs(coded) * np.log(256)) - 1) / 255


def room(wave: np.ndarray, speaker: np.random.Generator, rng: np.random.Generator) -> np.ndarray:
    """A live room, another for each speaker: reverberation of 0.3 to 0.55 s, the microphone some
    way off.
    """
    decay, direct = speaker.uniform(0.3, 0.55), speaker.uniform(2.0, 6.0)
    times = np.arange(int(0.8 * decay * SAMPLE_RATE)) / SAMPLE_RATE
    tail = speaker.standard_normal(len(times)) * 10 ** (-3 * times / decay)
    tail = lfilter([0.5], [1.0, -0.5], tail)  # walls swallow high frequencies
    tail *= 10 ** (-direct / 20) / np.sqrt(np.sum(tail**2))
    wet = wave + np.concatenate([np.zeros(80), fftconvolve(wave, tail)])[: len(wave)]
    return 0.7 * wet + _noise(len(wave), -65.0, rng)


def street(wave: np.ndarray, speaker: np.random.Generator, rng: np.random.Generator) -> np.ndarray:
    """Outside: traffic-like noise that comes and goes, 16 to 28 dB below a neutral the voice, and a
    level that differs by clip (distance).
    """
    noise = lfilter([1.0], [1.0, -0.95], rng.standard_normal(len(wave)))
    swell = 1 + 0.5 * np.sin(
        2 * np.pi * rng.uniform(0.2, 1.0) * np.arange(len(wave)) / SAMPLE_RATE
        + rng.uniform(0, 2 * np.pi)
    )
    noise *= swell * 0.04 * 10 ** (-rng.uniform(16.0, 28.0) / 20) / np.sqrt(np.mean(noise**2))
    return (wave + noise) * 10 ** (rng.normal(-2.0, 2.0) / 20)


def _noise(length: int, dbfs: float, rng: np.random.Generator) -> np.ndarray:
    """White noise of the given RMS in dB of full scale."""
    return rng.standard_normal(length) * 10 ** (dbfs / 20)


def _active_rms(wave: np.ndarray) -> float:
    """RMS over the louder half of the 20 ms pieces."""
    pieces = wave[: len(wave) // 320 * 320].reshape(-1, 320)
    energy = np.sort(np.mean(pieces**2, axis=1))
    return float(np.sqrt(energy[len(energy) // 2 :].mean()))


@dataclasses.dataclass(frozen=True)
class Domain:
    """A domain: `name`, pseudo-language, channel and what differs in how its speakers act.

    `strength` of acting (1 = full); `spread` (factor on the natural spread); `balance` (how many of
    an emotion relative to an even share); `manner` (factor on the moves by parameter: display
    rules, Elfenbein et al. 2007, Emotion 7(1), 131-146); `custom` (added to every utterance by
    parameter; on the street the Lombard effect, Junqua 1993, J. Acoust. Soc. Am. 93(1), 510-524).
    """

    name: str
    language: str
    channel: Callable[[np.ndarray, np.random.Generator, np.random.Generator], np.ndarray]
    strength: float
    spread: float
    balance: dict[str, float]
    manner: dict[str, float]
    custom: dict[str, float]

    @property
    def corpus(self) -> str:
        """The name of the domain in a manifest's column `corpus`."""
        return f"synthetic-{self.name}"


DOMAINS = (
    Domain("studio", "pseudo-a", studio, 1.05, 0.65, {}, {}, {}),
    Domain(
        "phone",
        "pseudo-b",
        phone,
        1.0,
        0.4,
        {"anger": 1.4, "neutral": 1.4, "fear": 0.8, "disgust": 0.6},
        {"f0_level": 0.8, "f0_range": 0.7, "rate": 1.3, "breath": 1.3},
        {"rate": 0.05},
    ),
    Domain(
        "room",
        "pseudo-c",
        room,
        1.15,
        0.65,
        {"happiness": 1.4, "sadness": 1.4, "anger": 0.8, "disgust": 0.8},
        {"f0_range": 1.4, "rate": 0.6, "breath": 0.6, "loudness": 0.8},
        {"rate": -0.08},
    ),
    Domain(
        "street",
        "pseudo-d",
        street,
        0.95,
        0.35,
        {"neutral": 1.6, "happiness": 1.2, "fear": 0.8, "disgust": 0.8},
        {"f0_level": 1.2, "tilt": 1.3, "loudness": 0.8, "rate": 0.8},
        {"f0_level": 1.5, "tilt": 0.8},
    ),
)


def transmit(
    wave: np.ndarray, domain: Domain, speaker: np.random.Generator, rng: np.random.Generator
) -> np.ndarray:
    """`wave` through the domain's channel, without DC and turned down where a peak would pass 0.95:
    float64 of the same length.

    `speaker` is the generator of what all clips of a speaker share (the room), `rng` of what is
    this clip's own.
    """
    high_pass = butter(2, 40.0, "highpass", fs=SAMPLE_RATE, output="sos")
    received = sosfilt(high_pass, domain.channel(wave, speaker, rng))
    received -= received.mean()
    return received * min(1.0, _PEAK / np.max(np.abs(received)))
