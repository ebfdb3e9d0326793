"""The four domains: who is recorded how.

Each has its own speakers, language, channel, strength of acting and balance of emotions.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
from numpy.random import Generator
from scipy.signal import butter, fftconvolve, lfilter, sosfilt

from colab_utils.corpora.synthetic.speech import SAMPLE_RATE

# no sample is louder: a clip that would be is turned down, as a recording engineer would
_PEAK = 0.95


def studio(wave: np.ndarray, speaker: Generator, rng: Generator) -> np.ndarray:
    """A quiet, dry recording: a noise floor some 38 dB below a neutral voice."""
    return wave + _noise(len(wave), -68.0, rng)


def phone(wave: np.ndarray, speaker: Generator, rng: Generator) -> np.ndarray:
    """A telephone line of 300 to 3400 Hz with line noise and mu-law steps (ITU-T G.711).

    Two fifths of the level differences are levelled out.
    """
    band = butter(3, (300.0, 3400.0), "bandpass", fs=SAMPLE_RATE, output="sos")
    wave = sosfilt(band, wave)
    evened = (0.05 / _active_rms(wave)) ** 0.4
    handset = speaker.normal(0, 1.5)
    wave = wave * evened * 10 ** (handset / 20)
    wave = wave + _noise(len(wave), -64.0, rng)
    size = np.minimum(np.abs(wave), 1.0)
    coded = np.sign(wave) * np.log1p(255 * size) / np.log(256)
    coded = np.rint(coded * 127)
    coded = coded / 127
    size = np.exp(np.abs(coded) * np.log(256))
    size = size - 1
    return np.sign(coded) * size / 255


def room(wave: np.ndarray, speaker: Generator, rng: Generator) -> np.ndarray:
    """A live room, another for each speaker: reverberation of 0.3 to 0.55 s, a far microphone."""
    decay = speaker.uniform(0.3, 0.55)
    direct = speaker.uniform(2.0, 6.0)
    length = int(0.8 * decay * SAMPLE_RATE)
    times = np.arange(length) / SAMPLE_RATE
    tail = speaker.standard_normal(length) * 10 ** (-3 * times / decay)
    tail = lfilter([0.5], [1.0, -0.5], tail)  # walls swallow high frequencies
    rms = np.sqrt(np.sum(tail**2))
    tail *= 10 ** (-direct / 20) / rms
    echo = fftconvolve(wave, tail)
    echo = np.concatenate([np.zeros(80), echo])
    wet = wave + echo[: len(wave)]
    return 0.7 * wet + _noise(len(wave), -65.0, rng)


def street(wave: np.ndarray, speaker: Generator, rng: Generator) -> np.ndarray:
    """Outside: traffic-like noise that comes and goes, 16 to 28 dB below a neutral voice.

    The level differs by clip (distance).
    """
    length = len(wave)
    noise = lfilter([1.0], [1.0, -0.95], rng.standard_normal(length))
    pace = rng.uniform(0.2, 1.0)  # swells in a second
    angle = 2 * np.pi * pace * np.arange(length) / SAMPLE_RATE
    start = rng.uniform(0, 2 * np.pi)
    swell = 1 + 0.5 * np.sin(angle + start)
    below = rng.uniform(16.0, 28.0)
    rms = np.sqrt(np.mean(noise**2))
    noise *= swell * 0.04 * 10 ** (-below / 20) / rms
    distance = rng.normal(-2.0, 2.0)
    return (wave + noise) * 10 ** (distance / 20)


def _noise(length: int, dbfs: float, rng: Generator) -> np.ndarray:
    """White noise of the given RMS in dB of full scale."""
    return rng.standard_normal(length) * 10 ** (dbfs / 20)


def _active_rms(wave: np.ndarray) -> float:
    """RMS over the louder half of the 20 ms pieces."""
    pieces = wave[: len(wave) // 320 * 320].reshape(-1, 320)
    energy = np.sort(np.mean(pieces**2, axis=1))
    return float(np.sqrt(energy[len(energy) // 2 :].mean()))


@dataclasses.dataclass(frozen=True)
class Domain:
    """Who is recorded how.

    Attributes:
        name: of the domain.
        language: the pseudo-language.
        channel: what it does to a wave.
        strength: of acting (1 = full).
        spread: factor on the natural spread.
        balance: how many of an emotion, relative to an even share.
        manner: factor on the moves by parameter (display rules: Elfenbein et al. 2007, Emotion
            7(1), 131-146).
        custom: added to every utterance by parameter (on the street the Lombard effect: Junqua
            1993, J. Acoust. Soc. Am. 93(1), 510-524).
    """

    name: str
    language: str
    channel: Callable[[np.ndarray, Generator, Generator], np.ndarray]
    strength: float
    spread: float
    balance: dict[str, float] = dataclasses.field(default_factory=dict)
    manner: dict[str, float] = dataclasses.field(default_factory=dict)
    custom: dict[str, float] = dataclasses.field(default_factory=dict)

    @property
    def corpus(self) -> str:
        """The name of the domain in a manifest's column `corpus`."""
        return f"synthetic-{self.name}"


DOMAINS = (
    Domain("studio", "pseudo-a", studio, strength=1.05, spread=0.65),
    Domain(
        "phone",
        "pseudo-b",
        phone,
        strength=1.0,
        spread=0.4,
        balance={"anger": 1.4, "neutral": 1.4, "fear": 0.8, "disgust": 0.6},
        manner={"f0_level": 0.8, "f0_range": 0.7, "rate": 1.3, "breath": 1.3},
        custom={"rate": 0.05},
    ),
    Domain(
        "room",
        "pseudo-c",
        room,
        strength=1.15,
        spread=0.65,
        balance={"happiness": 1.4, "sadness": 1.4, "anger": 0.8, "disgust": 0.8},
        manner={"f0_range": 1.4, "rate": 0.6, "breath": 0.6, "loudness": 0.8},
        custom={"rate": -0.08},
    ),
    Domain(
        "street",
        "pseudo-d",
        street,
        strength=0.95,
        spread=0.35,
        balance={"neutral": 1.6, "happiness": 1.2, "fear": 0.8, "disgust": 0.8},
        manner={"f0_level": 1.2, "tilt": 1.3, "loudness": 0.8, "rate": 0.8},
        custom={"f0_level": 1.5, "tilt": 0.8},
    ),
)


def transmit(wave: np.ndarray, domain: Domain, speaker: Generator, rng: Generator) -> np.ndarray:
    """`wave` through the domain's channel, without DC, turned down where a peak would pass 0.95.

    Args:
        wave: float64 of shape (samples,).
        domain: whose channel it is.
        speaker: generator of what all clips of a speaker share (the room).
        rng: generator of what is this clip's own.

    Returns:
        float64 of the same shape.
    """
    high_pass = butter(2, 40.0, "highpass", fs=SAMPLE_RATE, output="sos")
    received = domain.channel(wave, speaker, rng)
    received = sosfilt(high_pass, received)
    received -= received.mean()
    peak = np.max(np.abs(received))
    return received * min(1.0, _PEAK / peak)
