"""Where emotions lie in the plane of valence and arousal, and which pairs are far apart (EMOFSL).

The paper (Yue et al. 2023, equation 2) puts happiness-sadness and anger-sadness far apart ("PN")
and the other different pairs of its four emotions nearer ("MN"), because speech encodes arousal
better than valence: with valence compressed, both pairs are equally far. Here the levels follow
from coordinates by that rule instead of a list. With the coordinates below a factor of 0.25 on
valence makes the two pairs equal (0.859 and 0.861); the next pair, anger-neutral, is at 0.604, and
the limit lies half-way. The rule gives the paper's pairs for every factor from 0 to 0.54.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from colab_utils.corpora.manifest import numbers
from colab_utils.settings import SettingError

Coordinates = Mapping[str, tuple[float, float]]

# (valence, arousal) in -1..1. The plane is Russell's (1980, A circumplex model of affect, J. Pers.
# Soc. Psychol. 39(6), 1161-1178); the values are the mean ratings of the words angry, happy, sad,
# fearful, disgusted, surprised, relaxed, bored, excited and frustrated in Russell & Mehrabian
# (1977, Evidence for a three-factor theory of emotions, J. Res. Pers. 11(3), 273-294), as later
# work quotes them. neutral is the middle of the scales; contempt is placed by us (unpleasant,
# hardly aroused).
COORDINATES: dict[str, tuple[float, float]] = {
    "anger": (-0.51, 0.59),
    "happiness": (0.81, 0.51),
    "neutral": (0.0, 0.0),
    "sadness": (-0.63, -0.27),
    "fear": (-0.64, 0.60),
    "disgust": (-0.60, 0.35),
    "surprise": (0.40, 0.67),
    "calm": (0.68, -0.46),
    "boredom": (-0.65, -0.62),
    "excited": (0.62, 0.75),
    "frustration": (-0.64, 0.52),
    "contempt": (-0.45, 0.10),
}
VALENCE = 0.25  # what a step along valence counts; one along arousal counts 1
FAR = 0.73  # distance from which a pair is far


def emotion_distances(
    emotions: Sequence[str], coordinates: Coordinates = COORDINATES, valence: float = VALENCE
) -> pd.DataFrame:
    """Euclidean distances of emotions, a table (emotions, emotions).

    Args:
        emotions: their names.
        coordinates: (valence, arousal) of each.
        valence: what a step along valence counts; one along arousal counts 1.

    Raises:
        SettingError: a repeated emotion, or one without coordinates.
    """
    names = pd.Index(emotions)
    if names.has_duplicates:
        twice = names[names.duplicated()][0]
        raise SettingError(f"emotions = {', '.join(emotions)}: {twice} stands twice")
    for emotion in names:
        if emotion not in coordinates:
            raise SettingError(
                f"{emotion} has no coordinates: choose from {', '.join(sorted(coordinates))}"
            )
    places = np.array([coordinates[emotion] for emotion in names]) * [valence, 1.0]
    apart = np.linalg.norm(places[:, None] - places, axis=2)
    return pd.DataFrame(apart, names, names)


def pair_levels(apart: pd.DataFrame, far: float = FAR) -> pd.DataFrame:
    """The level of each pair of emotions, a table of text (emotions, emotions).

    "PP" the same one, "PN" at least `far` apart, "MN" nearer. The level of a pair does not depend
    on which other emotions are compared.

    Args:
        apart: of `emotion_distances`.
        far: distance from which a pair is far.
    """
    levels = np.where(apart >= far, "PN", "MN")
    np.fill_diagonal(levels, "PP")
    return pd.DataFrame(levels, apart.index, apart.columns)


def graded_margins(apart: pd.DataFrame, alpha: float, beta: float) -> pd.DataFrame:
    """A margin for each pair of emotions, a table (emotions, emotions), 0 on the diagonal.

    Linear in their distance.

    Args:
        apart: of `emotion_distances`.
        alpha: margin of the farthest two (a single pair, or pairs all alike, get it).
        beta: margin of the nearest two.

    Raises:
        SettingError: fewer than two emotions.
    """
    if len(apart) < 2:
        raise SettingError(
            f"emotions = {', '.join(apart.index) or 'none'}: margins need at least two emotions"
        )
    pairs = apart.to_numpy()[np.triu_indices(len(apart), 1)]
    span = np.ptp(pairs)
    share = (apart - pairs.min()) / span if span > 0 else 1.0
    margins = np.broadcast_to(beta + (alpha - beta) * share, apart.shape).copy()
    np.fill_diagonal(margins, 0.0)
    return pd.DataFrame(margins, apart.index, apart.columns)


def coordinates_from_annotations(rows: pd.DataFrame) -> dict[str, tuple[float, float]]:
    """The place of each emotion by the ratings of its utterances.

    The means of an emotion are moved and scaled, both axes alike, to the place and the size that
    the same emotions have in COORDINATES: raters of speech use less of a scale than raters of
    words, and FAR is on the scale of words. An emotion that nobody rated is left out.

    Args:
        rows: manifest rows of the SOURCE alone (the target's ratings are not to be seen), columns
            emotion, valence, arousal, "" or NaN where unknown, both on any one scale.

    Returns:
        {emotion: (valence, arousal)}.

    Raises:
        SettingError: fewer than two emotions of COORDINATES are rated, or all are rated alike.
    """
    axes = ["valence", "arousal"]
    ratings = pd.DataFrame({name: numbers(rows[name], "annotations", name) for name in axes})
    rated = ratings.groupby(rows["emotion"].to_numpy()).mean().dropna()
    table = pd.DataFrame.from_dict(COORDINATES, orient="index", columns=axes)
    known = rated.index.intersection(table.index)
    if len(known) < 2:
        raise SettingError(
            f"only {', '.join(known) or 'no emotion'} has valence and arousal in these rows, and "
            "two are needed: use the coordinates of the table, or a source with such ratings"
        )
    size = _size(rated.loc[known])
    if size < 1e-9:
        raise SettingError(
            f"{', '.join(known)} have the same ratings in these rows: use the coordinates of the "
            "table"
        )
    factor = _size(table.loc[known]) / size
    moved = table.loc[known].mean() + (rated - rated.loc[known].mean()) * factor
    return {emotion: (row.valence, row.arousal) for emotion, row in moved.iterrows()}


def _size(places: pd.DataFrame) -> float:
    """How far emotions lie from the middle of all, valence compressed."""
    return float(np.linalg.norm((places - places.mean()) * [VALENCE, 1.0]))
