"""Pair levels follow from where emotions lie: the paper's four give the paper's pairs, and
annotations of a source give their own places.
"""

import itertools
import math

import numpy as np
import pandas as pd
import pytest

from colab_utils.corpora.emotions import CANONICAL
from colab_utils.corpora.synthetic.emotions_table import AFFECT
from colab_utils.methods.emofsl.circumplex import (
    COORDINATES,
    FAR,
    VALENCE,
    coordinates_from_annotations,
    emotion_distances,
    graded_margins,
    pair_levels,
)
from colab_utils.settings import SettingError

FOUR = ["anger", "happiness", "neutral", "sadness"]
TABLE = {emotion: COORDINATES[emotion] for emotion in FOUR}
FAR_PAIRS = {frozenset(("happiness", "sadness")), frozenset(("anger", "sadness"))}
UPPER = np.triu_indices(4, 1)


def levels_of(emotions, *more):
    return pair_levels(emotion_distances(emotions, *more))


def pairs_at(levels, level):
    pairs = itertools.combinations(levels.index, 2)
    return {frozenset(pair) for pair in pairs if levels.loc[pair] == level}


def rated(places, count=5, seed=0, scale=2.0, middle=3.0, spread=0.0):
    """Manifest-like rows whose emotions have these mean (valence, arousal) in -1..1, on a scale of
    1 to 5.
    """
    rng = np.random.default_rng(seed)
    parts = []
    for emotion, place in places.items():
        noise = rng.normal(size=(count, 2)) * spread
        values = middle + scale * (np.array(place[:2]) + noise - noise.mean(axis=0))
        parts.append(pd.DataFrame(values, columns=["valence", "arousal"]).assign(emotion=emotion))
    return pd.concat(parts).sample(frac=1, random_state=seed)


@pytest.mark.parametrize("order", list(itertools.permutations(FOUR))[::5])
def test_the_papers_four_emotions_give_the_papers_pairs_in_any_order(order):
    levels = levels_of(order)
    everything = {frozenset(pair) for pair in itertools.combinations(FOUR, 2)}
    assert pairs_at(levels, "PN") == FAR_PAIRS
    assert pairs_at(levels, "MN") == everything - FAR_PAIRS
    assert (np.diag(levels) == "PP").all() and (levels == levels.T).all(axis=None)


@pytest.mark.parametrize("valence", [0.0, 0.25, 0.54])
def test_the_papers_pairs_do_not_hang_on_the_exact_weight(valence):
    assert pairs_at(levels_of(FOUR, COORDINATES, valence), "PN") == FAR_PAIRS


def test_compressed_valence_lifts_anger_and_sadness_to_the_level_of_happiness_and_sadness():
    three = ["anger", "happiness", "sadness"]
    plain, compressed = (
        emotion_distances(three, COORDINATES, valence)["sadness"] for valence in (1.0, VALENCE)
    )
    assert plain["happiness"] > 1.8 * plain["anger"]
    assert compressed["happiness"] == pytest.approx(compressed["anger"], rel=0.01)
    by_hand = math.hypot(0.25 * (-0.51 + 0.63), 0.59 + 0.27)
    assert compressed["anger"] == pytest.approx(by_hand)


def test_without_compression_happiness_and_anger_would_be_far_which_the_paper_denies():
    assert levels_of(["anger", "happiness"], COORDINATES, 1.0).iloc[0, 1] == "PN"


def test_the_limit_lies_half_way_in_the_gap_of_the_papers_levels():
    apart, levels = emotion_distances(FOUR).to_numpy(), levels_of(FOUR).to_numpy()
    nearest_far, farthest_near = apart[levels == "PN"].min(), apart[levels == "MN"].max()
    assert pytest.approx((nearest_far + farthest_near) / 2, abs=0.01) == FAR
    assert nearest_far - farthest_near > 0.2


def test_every_emotion_of_the_suite_but_other_has_coordinates_within_the_scale():
    assert set(COORDINATES) == set(CANONICAL) - {"other"}
    assert (np.abs(list(COORDINATES.values())) <= 1).all()


def test_the_level_of_a_pair_does_not_depend_on_the_other_emotions():
    levels = levels_of(list(COORDINATES))
    for pair in itertools.combinations(COORDINATES, 2):
        assert levels_of(pair).iloc[0, 1] == levels.loc[pair]


def test_more_emotions_get_levels_that_arousal_explains():
    levels = levels_of(list(COORDINATES))
    for pair in (("anger", "boredom"), ("fear", "sadness"), ("excited", "calm")):
        assert levels.loc[pair] == "PN"
    for pair in (("boredom", "sadness"), ("excited", "happiness"), ("anger", "fear")):
        assert levels.loc[pair] == "MN"


def test_own_coordinates_replace_the_table():
    own = {"hot": (0, 1), "warm": (0, 0.5), "cold": (0, -1)}
    assert levels_of(["hot", "warm", "cold"], own).to_numpy().tolist() == [
        ["PP", "MN", "PN"],
        ["MN", "PP", "PN"],
        ["PN", "PN", "PP"],
    ]


def test_graded_margins_span_beta_to_alpha_linearly_in_distance():
    apart = emotion_distances(FOUR)
    margins = graded_margins(apart, alpha=1.2, beta=0.4).to_numpy()
    apart = apart.to_numpy()
    assert margins[UPPER].min() == pytest.approx(0.4) and margins.max() == pytest.approx(1.2)
    slope = (1.2 - 0.4) / np.ptp(apart[UPPER])
    assert np.allclose(margins[UPPER], 0.4 + slope * (apart[UPPER] - apart[UPPER].min()))
    assert (margins == margins.T).all() and (np.diag(margins) == 0).all()


def test_a_single_pair_gets_the_large_margin():
    margins = graded_margins(emotion_distances(["anger", "sadness"]), alpha=1.0, beta=0.6)
    assert margins.to_numpy().tolist() == [[0, 1], [1, 0]]


@pytest.mark.parametrize(("scale", "middle"), [(2.0, 3.0), (0.7, 2.6), (1.0, 0.0)])
def test_annotations_made_from_the_table_give_the_table_back_whatever_the_raters_scale(
    scale, middle
):
    places = {**TABLE, "fear": COORDINATES["fear"]}
    found = coordinates_from_annotations(rated(places, scale=scale, middle=middle, spread=0.3))
    assert set(found) == set(places)
    for emotion, place in places.items():
        assert found[emotion] == pytest.approx(place)


def test_annotations_keep_the_shape_that_the_source_has():
    moved = {**TABLE, "sadness": (-0.63, 0.55)}  # a source whose sadness is loud
    found = coordinates_from_annotations(rated(moved))
    assert levels_of(FOUR, found).loc["anger", "sadness"] == "MN"
    ours, theirs = (emotion_distances(FOUR, one).to_numpy()[UPPER] for one in (found, moved))
    assert np.ptp(ours / theirs) < 1e-9


def test_the_embedded_corpus_ratings_put_sadness_far_from_anger_and_happiness():
    found = coordinates_from_annotations(rated({one: AFFECT[one] for one in FOUR}, spread=0.1))
    assert pairs_at(levels_of(FOUR, found), "PN") >= FAR_PAIRS


def test_utterances_without_ratings_and_emotions_outside_the_table_are_no_obstacle():
    rows = rated({**TABLE, "other": (0.1, 0.2)})
    unknown = pd.DataFrame({"emotion": ["anger", "fear"], "valence": "", "arousal": ""})
    rows = rows.astype({"valence": object, "arousal": object})
    found = coordinates_from_annotations(pd.concat([rows, unknown]))
    assert set(found) == {*FOUR, "other"} and found["anger"] == pytest.approx(COORDINATES["anger"])
    assert found["other"] == pytest.approx((0.1, 0.2))


@pytest.mark.parametrize(
    ("emotions", "told"),
    [(["anger", "other"], "other has no coordinates"), (["anger", "anger"], "anger stands twice")],
)
def test_what_cannot_be_placed_is_said_in_a_sentence(emotions, told):
    with pytest.raises(SettingError, match=told):
        emotion_distances(emotions)


def test_ratings_that_say_nothing_are_refused():
    with pytest.raises(SettingError, match="only anger .* two are needed"):
        coordinates_from_annotations(rated({"anger": COORDINATES["anger"]}))
    with pytest.raises(SettingError, match="anger, fear have the same ratings"):
        coordinates_from_annotations(rated({"anger": (0, 0), "fear": (0, 0)}))
    with pytest.raises(SettingError, match="at least two"):
        graded_margins(emotion_distances(["anger"]), 1.0, 0.6)
