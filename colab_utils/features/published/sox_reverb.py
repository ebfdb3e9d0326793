"""The room of SoX's effect `reverb` with its defaults, which is Freeverb (Jezar at Dreampoint).

The published AlexNet system calls it by pysndfx without a sample rate, so that all delays are those
of 44.1 kHz whatever the recording has. Two of Freeverb's sides are made of one channel and mixed
down again.
"""

import math

import numpy as np
import scipy.signal

# samples, of one side; those of the other are 12 longer and 12 shorter in turn
COMBS = (1116, 1188, 1277, 1356, 1422, 1491, 1557, 1617)
ALLPASSES = (225, 341, 441, 556)
SIDE = 12
PRE_DELAY = 882  # samples: 20 ms
DAMPING, GAIN = 0.35, 0.015
# SoX's reverberance of 50 %: between a feedback of 0.3 (0 %) and of 0.98 (100 %)
_A = -1 / math.log(0.7)
_B = 100 / (math.log(0.02) * _A + 1)
FEEDBACK = 1 - math.exp((50 - _B) / (_A * _B))


def sox_reverb(wave: np.ndarray) -> np.ndarray:
    """`wave` in SoX's default room.

    Args:
        wave: float64 (samples,).

    Returns:
        float64 (samples,), the wave and its echoes. What goes in and each side are clipped to -1
        and 1, as SoX does.
    """
    wave = np.clip(wave, -1, 1)
    late = np.pad(wave, (PRE_DELAY, 0))[: len(wave)]
    mixed = np.zeros(len(wave))
    for shift in (0, SIDE):
        side = wave + GAIN * _side(late, shift)
        mixed += np.clip(side, -1, 1) / 2
    return mixed


def _side(late: np.ndarray, shift: int) -> np.ndarray:
    """Eight combs side by side, then four allpasses one after the other."""
    sound = np.zeros(len(late))
    for number, delay in enumerate(COMBS):
        sound += _comb(late, delay + shift * (-1) ** number)
    # an allpass after another gives the same in any order
    for number, delay in enumerate(ALLPASSES):
        sound = _allpass(sound, delay + shift * (-1) ** number)
    return sound


def _comb(sound: np.ndarray, delay: int) -> np.ndarray:
    """Echoes every `delay` samples, each softened by a low-pass: x[n - delay], and so on."""
    echoes = np.zeros(len(sound))
    held, state = np.zeros(delay), [0.0]
    for begin in range(0, len(sound), delay):
        part = sound[begin : begin + delay]
        held = held[: len(part)]
        echoes[begin : begin + delay] = held
        soft, state = scipy.signal.lfilter([1 - DAMPING], [1, -DAMPING], held, zi=state)
        held = part + FEEDBACK * soft
    return echoes


def _allpass(sound: np.ndarray, delay: int) -> np.ndarray:
    """y[n] = v[n - delay] - x[n] with v[n] = x[n] + v[n - delay] / 2."""
    rows = np.pad(sound, (0, -len(sound) % delay)).reshape(-1, delay)
    found = scipy.signal.lfilter([-1, 1.5], [1, -0.5], rows, axis=0)
    return found.ravel()[: len(sound)]
