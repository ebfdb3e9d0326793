"""Where emotions lie in the plane of valence and arousal, and which pairs are far apart (EMOFSL).

The paper (method_facts §2.4) puts happiness-sadness and anger-sadness far apart ("PN") and the
other different pairs of its four emotions nearer ("MN"), because speech encodes arousal better than
valence: with valence compressed, both pairs are equally far. Here the levels follow from
coordinates by that rule instead of a list. With the coordinates below a factor of 0.25 on valence
makes the two pairs equal (0.859 and 0.861); the next pair, anger-neutral, is at 0.604, and the
limit lies half-way. The rule gives the paper's pairs for every factor from 0 to 0.54, and with
dominance as a third axis of weight 1, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from colab_utils.corpora.manifest import NUMBERS, numbers
from colab_utils.settings import SettingError

Coordinates = Mapping[str, tuple[float, float, float]]

# (valence, arousal, dominance) in -1..1. The plane is Russell's (1980, A circumplex model of
# affect, J. Pers. Soc. Psychol. 39(6), 1161-1178); the values are the mean ratings of the words
# angry, happy, sad, fearful, disgusted, surprised, relaxed, bored, excited and frustrated in
# Russell & Mehrabian (1977, Evidence for a three-factor theory of emotions, J. Res. Pers. 11(3),
# 273-294), as later work quotes them. neutral is the middle of the scales; contempt is placed by
# us (unpleasant, hardly aroused, dominant).
COORDINATES: dict[str, tuple[float, float, float]] = {
    "anger": (-0.51, 0.59, 0.25),
    "happiness": (0.81, 0.51, 0.46),
    "neutral": (0.0, 0.0, 0.0),
    "sadness": (-0.63, -0.27, -0.33),
    "fear": (-0.64, 0.60, -0.43),
    "disgust": (-0.60, 0.35, 0.11),
    "surprise": (0.40, 0.67, -0.13),
    "calm": (0.68, -0.46, 0.06),
    "boredom": (-0.65, -0.62, -0.33),
    "excited": (0.62, 0.75, 0.38),
    "frustration": (-0.64, 0.52, 0.35),
    "contempt": (-0.45, 0.10, 0.30),
}
WEIGHTS = (0.25, 1.0, 0.0)  # what a step along valence, arousal and dominance counts
FAR = 0.73  # distance from which a pair is far


def emotion_distances(
    emotions: Sequence[str],
    coordinates: Coordinates | None = None,
    weights: Sequence[float] = WEIGHTS,
) -> np.ndarray:
    """Euclidean distances of emotions, float64 (emotions, emotions).

    Args:
        emotions: their names.
        coordinates: where each lies; default: COORDINATES.
        weights: what each axis counts. An axis of weight 0 is not looked at.

    Raises:
        SettingError: a repeated emotion, or one without coordinates or with NaN among them.
    """
    at = _points(emotions, COORDINATES if coordinates is None else coordinates, weights)
    return np.linalg.norm(at[:, None] - at[None], axis=2)


def pair_levels(
    emotions: Sequence[str],
    coordinates: Coordinates | None = None,
    *,
    weights: Sequence[float] = WEIGHTS,
    far: float = FAR,
) -> np.ndarray:
    """The level of each pair of emotions, str (emotions, emotions).

    "PP" the same one, "PN" at least `far` apart, "MN" nearer. The level of a pair does not depend
    on which other emotions are compared. Raises SettingError as `emotion_distances` does.
    """
    apart = emotion_distances(emotions, coordinates, weights)
    levels = np.where(apart >= far, "PN", "MN")
    np.fill_diagonal(levels, "PP")
    return levels


def graded_margins(
    emotions: Sequence[str],
    coordinates: Coordinates | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 0.6,
    weights: Sequence[float] = WEIGHTS,
) -> np.ndarray:
    """A margin for each pair of emotions, float64 (emotions, emotions), 0 on the diagonal.

    Linear in their distance, with `beta` for the nearest two of them and `alpha` for the farthest
    two (a single pair, or pairs all alike, get alpha). Raises SettingError.
    """
    apart = emotion_distances(emotions, coordinates, weights)
    pairs = apart[np.triu_indices(len(apart), 1)]
    if not len(pairs):
        raise SettingError(
            f"emotions = {', '.join(emotions) or 'none'}: margins need at least two emotions"
        )
    span = np.ptp(pairs)
    share = (apart - pairs.min()) / span if span > 0 else np.ones_like(apart)
    margins = beta + (alpha - beta) * share
    np.fill_diagonal(margins, 0.0)
    return margins


def coordinates_from_annotations(
    rows: pd.DataFrame,
    weights: Sequence[float] = WEIGHTS,
) -> dict[str, tuple[float, float, float]]:
    """The place of each emotion by the ratings of its utterances.

    The means of an emotion are moved and scaled, all axes alike, to the place and the size that
    the same emotions have in COORDINATES: raters of speech use less of a scale than raters of
    words, and FAR is on the scale of words. An emotion that nobody rated is left out.

    Args:
        rows: manifest rows of the SOURCE alone (the target's ratings are not to be seen), columns
            emotion, valence, arousal, dominance, "" or NaN where unknown, on any scale that all
            three share.
        weights: what each axis counts.

    Returns:
        {emotion: (valence, arousal, dominance)}, NaN for an axis nobody rated.

    Raises:
        SettingError: fewer than two emotions of COORDINATES are rated, or all are rated alike.
    """
    table = {name: numbers(rows[name], "annotations", name) for name in NUMBERS}
    ratings = pd.DataFrame(table).groupby(rows["emotion"].to_numpy()).mean()
    used = [name for name, weight in zip(NUMBERS, weights, strict=True) if weight]
    rated = ratings[ratings[used].notna().all(axis=1)]
    known = [emotion for emotion in rated.index if emotion in COORDINATES]
    if len(known) < 2:
        raise SettingError(
            f"only {', '.join(known) or 'no emotion'} has {' and '.join(used)} in these rows, and "
            "two are needed: use the coordinates of the table, or a source with such ratings"
        )
    ours = _points(known, rated.T.to_dict("list"), weights)
    theirs = _points(known, COORDINATES, weights)
    size = np.linalg.norm(ours - ours.mean(axis=0))
    if size < 1e-9:
        raise SettingError(
            f"{', '.join(known)} have the same ratings in these rows: use the "
            "coordinates of the table"
        )
    middle = rated.loc[known].mean().to_numpy()
    place = np.mean([COORDINATES[emotion] for emotion in known], axis=0)
    factor = np.linalg.norm(theirs - theirs.mean(axis=0)) / size
    found = {}
    for emotion, row in zip(rated.index, rated.to_numpy(), strict=True):
        found[emotion] = tuple((place + (row - middle) * factor).tolist())
    return found


def _points(
    emotions: Sequence[str], coordinates: Mapping[str, Sequence[float]], weights: Sequence[float]
) -> np.ndarray:
    """Weighted coordinates, float64 (emotions, axes with a weight)."""
    repeated = [emotion for emotion in emotions if list(emotions).count(emotion) > 1]
    if repeated:
        raise SettingError(f"emotions = {', '.join(emotions)}: {repeated[0]} stands twice")
    weights = np.asarray(weights, dtype=float)
    if weights.shape != (3,) or not (weights >= 0).all() or not weights.any():
        raise SettingError(
            f"weights = {weights.tolist()}: give three numbers for valence, "
            "arousal and dominance, none negative, not all 0"
        )
    nowhere = (np.nan,) * 3
    places = [coordinates.get(emotion, nowhere) for emotion in emotions]
    at = np.array(places, dtype=float).reshape(-1, 3)[:, weights > 0]
    for emotion, row in zip(emotions, at, strict=True):
        if np.isnan(row).any():
            raise SettingError(
                f"{emotion} has no coordinates: give it (valence, arousal, dominance) in "
                f"coordinates={{...}}, or choose from {', '.join(sorted(coordinates))}"
            )
    return at * weights[weights > 0]
