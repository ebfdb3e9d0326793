"""Speakers: the voice and the habits that all utterances of one speaker share."""

import dataclasses

import numpy as np
from numpy.random import Generator

from colab_utils.corpora.synthetic.emotions_table import PARAMETERS


@dataclasses.dataclass(frozen=True)
class Voice:
    """A speaker.

    Attributes:
        name: f1, m1, ...
        gender: "female" or "male".
        f0: of the neutral voice, in Hz.
        tract: factor on a man's formants: a shorter vocal tract, a larger one.
        bandwidth: factor on formant bandwidths.
        pausing: chance of a pause after a word.
        habits: what is added to every utterance, by parameter of the table, in its unit.
        expressiveness: factor on the moves of an emotion, by parameter.
    """

    name: str
    gender: str
    f0: float
    tract: float
    bandwidth: float
    pausing: float
    habits: dict[str, float]
    expressiveness: dict[str, float]


def draw_voice(name: str, rng: Generator) -> Voice:
    """Draw the speaker `name` ("f..." a woman, "m..." a man).

    F0 medians lie about 200 Hz (women) and 115 Hz (men) with a spread of 2 semitones between
    speakers (Titze 1994, Principles of Voice Production), formants of women some 16 % above those
    of men (Peterson & Barney 1952). Speakers differ in how strongly, and by which means, they
    express an emotion (Banse & Scherer 1996).
    """
    # the order of the draws decides the samples
    gender, f0, tract = ("female", 200.0, 1.16) if name[0] == "f" else ("male", 115.0, 1.0)
    whole = np.exp(0.12 * rng.standard_normal())
    f0 *= 2 ** (np.clip(2.0 * rng.standard_normal(), -4, 4) / 12)
    tract *= np.exp(0.035 * rng.standard_normal())
    bandwidth = np.exp(0.15 * rng.standard_normal())
    pausing = rng.uniform(0.0, 0.3)
    habits = {}
    for parameter in PARAMETERS.values():
        habits[parameter.Index] = parameter.habit * rng.standard_normal()
    if gender == "female":
        habits["breath"] += 2.0
    expressiveness = {}
    for parameter in PARAMETERS:
        expressiveness[parameter] = whole * np.exp(0.15 * rng.standard_normal())
    return Voice(name, gender, f0, tract, bandwidth, pausing, habits, expressiveness)
