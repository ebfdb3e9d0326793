"""Whether a recording is fit to be judged: its level, clipping, noise and length, in words."""

from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

FRAME, HOP = 0.025, 0.010  # seconds
# of the frames: the quietest are taken for the noise of the room
_NOISE_SHARE = 0.1
_ACTIVE_DB = 6.0  # a frame this far above the noise is speech
_TOP = 0.01  # of the largest value: samples as large as that lie at the top of the wave
_FLAT = 0.0002  # seconds there at a time: no peak of an unclipped voice is as broad
_SILENCE = 1e-12  # power: -120 dB
SHORTEST = 0.5  # seconds of speech
# Of full scale. Active speech is commonly set to -26 dB (ITU-T P.56 measures it so); 20 dB less is
# far from the microphone.
QUIETEST_DB = -46.0
CLIPPED = 0.001  # of the samples
LEAST_SNR_DB = 12.0


class Quality(NamedTuple):
    """What is known of a recording.

    Attributes:
        seconds: its length.
        speech: seconds of it that are 6 dB above its noise.
        level: of the speech, dB of full scale.
        clipped: share of the samples within 1 % of the largest, where the wave is flat there.
        snr: of the speech over the quietest tenth of the recording, dB.
    """

    seconds: float
    speech: float
    level: float
    clipped: float
    snr: float


def levels(samples: np.ndarray, rate: int) -> np.ndarray:
    """Level of each frame of 25 ms, every 10 ms.

    Args:
        samples: mono, float, full scale ±1.
        rate: Hz.

    Returns:
        float64 (frames,), dB of full scale, -120 in silence; one frame at least.
    """
    length = round(FRAME * rate)
    hop = round(HOP * rate)
    missing = max(0, length - len(samples))
    wave = np.pad(np.asarray(samples, np.float64), (0, missing))
    frames = sliding_window_view(wave, length)[::hop]
    power = np.square(frames).mean(axis=1)
    power = np.maximum(power, _SILENCE)
    return 10 * np.log10(power)


def quality(samples: np.ndarray, rate: int) -> Quality:
    """Measure a recording.

    The noise is the mean power of the quietest tenth of the frames, so it takes a pause to measure
    it, at the beginning or the end for instance; speech is every frame 6 dB above it, its power
    less that of the noise.

    Args:
        samples: mono, float, full scale ±1, as recorded: at another rate clipping is smoothed.
        rate: Hz.

    Returns:
        The measures.
    """
    found = levels(samples, rate)
    power = 10 ** (found / 10)
    quietest = np.sort(power)[: max(1, round(_NOISE_SHARE * len(power)))]
    noise = quietest.mean()
    active = found > 10 * np.log10(noise) + _ACTIVE_DB
    speech = 0.0
    if active.any():
        speech = power[active].mean() - noise
    return Quality(
        seconds=len(samples) / rate,
        speech=float(active.sum() * HOP),
        level=float(10 * np.log10(max(speech, _SILENCE))),
        clipped=_clipped(samples, rate),
        snr=float(10 * np.log10(max(speech, _SILENCE) / noise)),
    )


def _clipped(samples: np.ndarray, rate: int) -> float:
    """Share of the samples at the top or the bottom of the wave; 0 where it is flat nowhere."""
    run = max(2, round(_FLAT * rate))
    size = np.abs(samples)
    top = size >= (1 - _TOP) * size.max(initial=0.0)
    if len(top) < run or not sliding_window_view(top, run).all(axis=1).any():
        return 0.0
    return float(top.mean())


def remarks(found: Quality) -> list[str]:
    """What stands against judging a recording, a sentence each; none where nothing does.

    Args:
        found: of `quality`.
    """
    told = []
    if found.speech < SHORTEST:
        told.append(
            f"too short: {found.speech:.1f} s of speech in {found.seconds:.1f} s; say a whole "
            f"sentence, {SHORTEST:g} s at least"
        )
    if found.level < QUIETEST_DB:
        told.append(
            f"too quiet: speech at {found.level:.0f} dB of full scale; come closer, or raise the "
            "microphone's level"
        )
    if found.clipped > CLIPPED:
        told.append(
            f"clipped: {100 * found.clipped:.1f} % of the samples lie at the limit; lower the "
            "microphone's level, or step back"
        )
    if found.snr < LEAST_SNR_DB:
        told.append(
            f"noisy: speech is {found.snr:.0f} dB above the quietest tenth of the recording; find "
            "a quieter place, and leave a moment of silence before and after"
        )
    return told
