"""From a voice and the moves of one utterance to a waveform.

Tracks by 5 ms frame, spectral envelopes, WORLD synthesis.

WORLD: Morise, Yokomori & Ozawa 2016, IEICE Trans. Inf. Syst. E99-D(7), 1877-1884. Formants are the
poles of a vocal tract model (Fant 1960). Only element-wise numpy and scipy filters are used, no
BLAS: the samples then do not depend on the number of threads or processes.
"""

import dataclasses
from collections.abc import Iterable

import numpy as np
import pyworld
from numpy.random import Generator
from scipy.ndimage import uniform_filter1d

from colab_utils.corpora.synthetic.phones import CONSONANTS, VOWELS, syllables
from colab_utils.corpora.synthetic.voices import Voice

SAMPLE_RATE = 16000
FRAME_MS = 5.0
_FRAME = 80  # samples
# 32 ms: longer than the longest pitch period there is (31 ms at 32 Hz)
_FFT = 512
_HZ = np.arange(_FFT // 2 + 1) * SAMPLE_RATE / _FFT
_SCHWA = np.array(VOWELS["@"], dtype=float)
_HIGH_FORMANTS = (3500.0, 4500.0)  # F4, F5 of a man
_BANDWIDTHS = (70.0, 90.0, 130.0, 200.0, 250.0)  # Hz, of F1 to F5
_VOWEL_SECONDS = 0.105
# s of silence that is synthesised at either end, for the sounds to begin and end in
_EDGE = 0.025
_SILENT = -80.0  # dB: nothing is sounding


@dataclasses.dataclass
class Tracks:
    """What happens at each frame.

    Attributes:
        formants: (frames, 3), Hz of a man's tract.
        voice: level in dB, relative to a vowel's voicing.
        noise: level in dB, likewise.
        centre: of the noise band, in Hz.
        width: of the noise band, in Hz.
        accent: 0..1.
        last: 0..1 through the last syllable, 0 before it.
    """

    formants: np.ndarray
    voice: np.ndarray
    noise: np.ndarray
    centre: np.ndarray
    width: np.ndarray
    accent: np.ndarray
    last: np.ndarray


def speak(voice: Voice, sentence: str, moves: dict[str, float], rng: Generator) -> np.ndarray:
    """Say a sentence.

    Args:
        voice: who speaks.
        sentence: of SENTENCES.
        moves: the parameters of the emotion table, the habits of the speaker included.
        rng: generator of this utterance.

    Returns:
        float64 samples at SAMPLE_RATE whose voiced frames have an RMS of -30 dBFS +
        `moves["loudness"]`.
    """
    tracks = lay_out(voice, sentence, moves, rng)
    f0 = melody(voice, tracks, moves, rng)
    f0 = np.where(tracks.voice > -35.0, f0, 0.0)
    power, aperiodicity = envelopes(voice, tracks, moves, rng)
    wave = pyworld.synthesize(f0, power, aperiodicity, SAMPLE_RATE, FRAME_MS)
    voiced = np.repeat(f0 > 0, _FRAME)[: len(wave)]
    sounding = wave[: len(voiced)][voiced]
    rms = np.sqrt(np.mean(sounding**2))
    level = -30.0 + moves["loudness"]
    loud = wave * 10 ** (level / 20) / rms
    before = rng.uniform(0.04, 0.12)
    after = rng.uniform(0.10, 0.20)
    return np.concatenate([_pause(before), loud, _pause(after)])


def _pause(seconds: float) -> np.ndarray:
    return np.zeros(int(SAMPLE_RATE * seconds))


def _sound(
    seconds: float,
    formants: Iterable[float] = _SCHWA,
    voice: float = _SILENT,
    noise: float = _SILENT,
    centre: float = 1000,
    width: float = 500,
    accent: float = 0,
    last: float = 0,
) -> tuple[float, ...]:
    """One sound of a sentence: its length in s, then a frame's values in the order of `Tracks`."""
    return (seconds, *formants, voice, noise, centre, width, accent, last)


def lay_out(voice: Voice, sentence: str, moves: dict[str, float], rng: Generator) -> Tracks:
    """Put the sounds of the sentence on the time axis.

    Then the articulators glide from target to target (coarticulation).
    """
    pace = np.exp(-moves["rate"])
    space = np.exp(moves["precision"])
    stress_db = 2.0 + moves["accent"]
    spoken = syllables(sentence)
    sounds = [_sound(_EDGE)]
    for index, (consonant, vowel, stressed, word_ends) in enumerate(spoken):
        sound = CONSONANTS[consonant]
        loci = (sound.f1, sound.f2, sound.f3)
        last = float(index == len(spoken) - 1)
        accent = float(stressed)
        wobble = np.exp(0.12 * rng.standard_normal(2)) * pace
        if sound.closure:
            sounds.append(_sound(sound.closure * wobble[0], loci, sound.voice))
        burst = (sound.voice, sound.noise, sound.centre, sound.width)
        sounds.append(_sound(sound.seconds * wobble[0], loci, *burst, accent))
        reach, length = (1.0, 1.25) if stressed else (0.85, 1.0)
        target = _SCHWA + (np.array(VOWELS[vowel]) - _SCHWA) * space * reach
        target = target * np.exp(0.03 * rng.standard_normal(3))
        seconds = _VOWEL_SECONDS * length * (1.35 if last else 1.0) * wobble[1]
        level = stress_db * (accent - 0.5) - 3.0 * last
        sounds.append(_sound(seconds, target, level, accent=accent, last=last))
        if word_ends and not last and rng.random() < voice.pausing * pace:
            sounds.append(_sound(rng.uniform(0.08, 0.2) * pace))
    sounds.append(_sound(_EDGE))
    return _glide(np.array(sounds, dtype=float))


def _glide(sounds: np.ndarray) -> Tracks:
    """Repeat each sound for its frames and smooth.

    Formants over 45 ms, levels over 15 ms, accents over 80 ms.
    """
    frames = np.maximum(1, np.rint(sounds[:, 0] * 1000 / FRAME_MS)).astype(int)
    table = np.repeat(sounds[:, 1:], frames, axis=0)

    def smooth(values: np.ndarray, width: int) -> np.ndarray:
        for _ in range(2):
            values = uniform_filter1d(values, width, axis=0, mode="nearest")
        return values

    last = table[:, 8]
    return Tracks(
        formants=smooth(table[:, :3], 9),
        voice=smooth(table[:, 3], 3),
        noise=smooth(table[:, 4], 3),
        centre=table[:, 5],
        width=table[:, 6],
        accent=smooth(table[:, 7], 15),
        last=np.cumsum(last) / max(1.0, last.sum()) * last,
    )


def melody(voice: Voice, tracks: Tracks, moves: dict[str, float], rng: Generator) -> np.ndarray:
    """F0 in Hz of each frame.

    Level, accents, declination, the movement of the last syllable, tremor and jitter are added in
    semitones.
    """
    frames, sounding = len(tracks.voice), tracks.voice > -35.0
    place = np.linspace(0.5, -0.5, frames)
    accents = 3.6 * (tracks.accent - tracks.accent[sounding].mean())
    shape = accents + 2.4 * (place - place[sounding].mean())
    wander = uniform_filter1d(rng.standard_normal(frames), 25, mode="nearest") * 2.0
    phase = 2 * np.pi * rng.uniform(5.0, 7.0) * np.arange(frames) * FRAME_MS / 1000
    tremor = moves["tremor"] * np.sin(phase + rng.uniform(0, 2 * np.pi))
    jitter = 0.10 * np.exp(moves["jitter"]) * rng.standard_normal(frames)
    semitones = (
        moves["f0_level"]
        + np.exp(moves["f0_range"]) * (shape + wander)
        + moves["f0_final"] * tracks.last
        + tremor
        + jitter
    )
    return np.clip(voice.f0 * 2 ** (semitones / 12), 55.0, 600.0)


def envelopes(
    voice: Voice, tracks: Tracks, moves: dict[str, float], rng: Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Power spectral envelope and aperiodicity of each frame, as WORLD takes them.

    Voiced power is glottal slope and tilt times the resonances; aspiration takes the same
    resonances with a flat source; frication is a noise band of its own. Aperiodicity is the square
    root of the share of noise in the power.

    Returns:
        Power and aperiodicity (amplitude, 0..1), float64 of shape (frames, 257).
    """
    tract = voice.tract * np.exp(moves["smile"])
    formants, high = tracks.formants * tract, np.array(_HIGH_FORMANTS) * tract
    resonances = _resonances(formants, high, voice.bandwidth)
    octaves = np.log2(np.maximum(_HZ, 500.0) / 500.0)
    slope = (
        -6.0 * np.log2(np.maximum(_HZ, 150.0) / 150.0)
        + 8.0 * (_HZ / 4500.0) ** 2
        + moves["tilt"] * octaves
    )
    shimmer = 0.5 * np.exp(moves["shimmer"]) * rng.standard_normal(len(tracks.voice))
    level = 10 ** ((tracks.voice + shimmer) / 10)[:, None]
    voiced = resonances * level * 10 ** (slope / 10)
    breath = -46.0 + moves["breath"] + 4.0 * np.log2(np.maximum(_HZ, 500.0) / 1000.0)
    noise = resonances * level * 10 ** (breath / 10)
    hissing = tracks.noise > _SILENT + 1
    noise_level = 10 ** ((tracks.noise[hissing] + 1.5 * moves["tilt"]) / 10)[:, None]
    away = (_HZ - tracks.centre[hissing, None] * tract) / tracks.width[hissing, None]
    band = np.exp(-0.5 * away**2)
    noise[hissing] += noise_level * (band + 0.01) * 0.02
    power = voiced + noise + 1e-9
    return power, np.clip(np.sqrt(noise / power), 0.001, 0.999)


def _resonances(low: np.ndarray, high: np.ndarray, bandwidth: float) -> np.ndarray:
    """|H|^2 of a cascade of five poles, 1 at 0 Hz.

    A pole at F with bandwidth B gives c^2 / (x^2 + (2c - 4F^2) x + c^2), x = f^2, c = F^2 + B^2/4.

    Args:
        low: frequencies in Hz of shape (frames, 3).
        high: two more for all frames.
        bandwidth: factor on the bandwidths.

    Returns:
        Of shape (frames, 257).
    """
    halves = (np.array(_BANDWIDTHS) * bandwidth / 2) ** 2
    centres = [*low.T[:, :, None], *high]
    x = _HZ**2
    result = np.ones((len(low), len(x)))
    for centre, half in zip(centres, halves, strict=True):
        c = centre**2 + half
        slope = 2 * c - 4 * centre**2
        result *= 1 + x * (x + slope) / c**2
    return 1 / result
