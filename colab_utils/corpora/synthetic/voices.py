"""Speakers: the voice and the habits that all utterances of one speaker share."""

from __future__ import annotations

import dataclasses

import numpy as np

from colab_utils.corpora.synthetic.emotions_table import PARAMETERS


@dataclasses.dataclass(frozen=True)
class Voice:
    """A speaker: `name` (f1, m1, ...), F0 of the neutral voice in Hz, `tract` (factor on a man's
    formants: a shorter vocal tract, a larger one), `bandwidth` (factor on formant bandwidths),
    `pausing` (chance of a pause after a word), `habits` (what is added to every utterance, by
    parameter of the table, in its unit) and `expressiveness` (factor on the moves of an emotion, by
    parameter).
    """

    name: str
    gender: str
    f0: float
    tract: float
    bandwidth: float
    pausing: float
    habits: dict[str, float]
    expressiveness: dict[str, float]


_HABIT_SPREAD = {
    "f0_level": 0.0,
    "f0_range": 0.12,
    "f0_final": 0.5,
    "rate": 0.05,
    "loudness": 1.0,
    "accent": 0.5,
    "tilt": 0.4,
    "breath": 1.0,
    "jitter": 0.2,
    "shimmer": 0.2,
    "tremor": 0.0,
    "smile": 0.0,
    "precision": 0.08,
}


def draw_voice(name: str, rng: np.random.Generator) -> Voice:
    """Draw the speaker `name` ("f..." a woman, "m..." a man).

    F0 medians lie about 200 Hz (women) and 115 Hz (men) with a spread of 2 semitones between
    speakers (Titze 1994, Principles of Voice Production), formants of women some 16 % above those
    of men (Peterson & Barney 1952). Speakers differ in how strongly, and by which means, they
    express an emotion (Banse & Scherer 1996).
    """
    female = name.startswith("f")
    whole = float(np.exp(0.12 * rng.standard_normal()))
    return Voice(
        name=name,
        gender="female" if female else "male",
        f0=float(
            (200.0 if female else 115.0) * 2 ** (np.clip(2.0 * rng.standard_normal(), -4, 4) / 12)
        ),
        tract=float((1.16 if female else 1.0) * np.exp(0.035 * rng.standard_normal())),
        bandwidth=float(np.exp(0.15 * rng.standard_normal())),
        pausing=float(rng.uniform(0.0, 0.3)),
        habits={
            name: (
                float(spread * rng.standard_normal())
                + (2.0 if female and name == "breath" else 0.0)
            )
            for name, spread in _HABIT_SPREAD.items()
        },
        expressiveness={
            name: float(whole * np.exp(0.15 * rng.standard_normal())) for name in PARAMETERS
        },
    )
