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
    WEIGHTS,
    coordinates_from_annotations,
    emotion_distances,
    graded_margins,
    pair_levels,
)
from colab_utils.settings import SettingError

FOUR = ["anger", "happiness", "neutral", "sadness"]


def pairs_at(levels, emotions, level):
    return {
        frozenset((a, b))
        for (i, a), (j, b) in itertools.combinations(enumerate(emotions), 2)
        if levels[i, j] == level
    }


def rated(places, count=5, seed=0, scale=2.0, middle=3.0, spread=0.0):
    """Manifest-like rows whose emotions have these mean (valence, arousal, dominance) in -1..1, on
    a scale of 1 to 5.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for emotion, place in places.items():
        noise = rng.normal(size=(count, 3)) * spread
        for values in middle + scale * (np.array(place) + noise - noise.mean(axis=0)):
            rows.append(
                {
                    "emotion": emotion,
                    **dict(zip(("valence", "arousal", "dominance"), values, strict=True)),
                }
            )
    return pd.DataFrame(rows).sample(frac=1, random_state=seed)


@pytest.mark.parametrize("order", list(itertools.permutations(FOUR))[::5])
def test_the_papers_four_emotions_give_the_papers_pairs_in_any_order(order):
    levels = pair_levels(order)
    assert pairs_at(levels, order, "PN") == {
        frozenset(("happiness", "sadness")),
        frozenset(("anger", "sadness")),
    }
    assert pairs_at(levels, order, "MN") == {
        frozenset(pair)
        for pair in (
            ("happiness", "neutral"),
            ("happiness", "anger"),
            ("anger", "neutral"),
            ("neutral", "sadness"),
        )
    }
    assert (np.diag(levels) == "PP").all() and (levels == levels.T).all()


@pytest.mark.parametrize(
    "weights", [(0.0, 1, 0), (0.25, 1, 0), (0.5, 1, 0), (0.25, 1, 0.5), (0.25, 1, 1)]
)
def test_the_papers_pairs_do_not_hang_on_the_exact_weights(weights):
    assert (pair_levels(FOUR, weights=weights) == pair_levels(FOUR)).all()


def test_compressed_valence_lifts_anger_and_sadness_to_the_level_of_happiness_and_sadness():
    plain, compressed = (
        emotion_distances(["anger", "happiness", "sadness"], weights=(v, 1, 0))
        for v in (1.0, WEIGHTS[0])
    )
    assert plain[1, 2] > 1.8 * plain[0, 2]
    assert compressed[1, 2] == pytest.approx(compressed[0, 2], rel=0.01)
    assert compressed[0, 2] == pytest.approx(math.hypot(0.25 * (-0.51 + 0.63), 0.59 + 0.27))


def test_without_compression_happiness_and_anger_would_be_far_which_the_paper_denies():
    assert pair_levels(["anger", "happiness"], weights=(1, 1, 0))[0, 1] == "PN"


def test_the_limit_lies_half_way_in_the_gap_of_the_papers_levels():
    apart, levels = emotion_distances(FOUR), pair_levels(FOUR)
    nearest_far, farthest_near = apart[levels == "PN"].min(), apart[levels == "MN"].max()
    assert pytest.approx((nearest_far + farthest_near) / 2, abs=0.01) == FAR
    assert nearest_far - farthest_near > 0.2


def test_every_emotion_of_the_suite_but_other_has_coordinates_within_the_scale():
    assert set(COORDINATES) == set(CANONICAL) - {"other"}
    assert (np.abs(list(COORDINATES.values())) <= 1).all()


def test_the_level_of_a_pair_does_not_depend_on_the_other_emotions():
    everything = list(COORDINATES)
    levels = pair_levels(everything)
    for a, b in itertools.combinations(range(len(everything)), 2):
        assert pair_levels([everything[a], everything[b]])[0, 1] == levels[a, b]


def test_more_emotions_get_levels_that_arousal_explains():
    level = {
        frozenset((a, b)): pair_levels([a, b])[0, 1]
        for a, b in itertools.combinations(COORDINATES, 2)
    }
    assert (
        level[frozenset(("anger", "boredom"))]
        == level[frozenset(("fear", "sadness"))]
        == level[frozenset(("excited", "calm"))]
        == "PN"
    )
    assert (
        level[frozenset(("boredom", "sadness"))]
        == level[frozenset(("excited", "happiness"))]
        == level[frozenset(("anger", "fear"))]
        == "MN"
    )


def test_own_coordinates_replace_the_table():
    own = {"hot": (0, 1, 0), "warm": (0, 0.5, 0), "cold": (0, -1, 0)}
    assert pair_levels(["hot", "warm", "cold"], own).tolist() == [
        ["PP", "MN", "PN"],
        ["MN", "PP", "PN"],
        ["PN", "PN", "PP"],
    ]


def test_graded_margins_span_beta_to_alpha_linearly_in_distance():
    margins, apart = graded_margins(FOUR, alpha=1.2, beta=0.4), emotion_distances(FOUR)
    upper = np.triu_indices(4, 1)
    assert margins[upper].min() == pytest.approx(0.4) and margins[upper].max() == pytest.approx(1.2)
    slope = (1.2 - 0.4) / np.ptp(apart[upper])
    assert np.allclose(margins[upper], 0.4 + slope * (apart[upper] - apart[upper].min()))
    assert (margins == margins.T).all() and (np.diag(margins) == 0).all()
    assert (np.argsort(margins[upper]) == np.argsort(apart[upper])).all()


def test_a_single_pair_gets_the_large_margin():
    assert graded_margins(["anger", "sadness"], alpha=1.0, beta=0.6).tolist() == [[0, 1], [1, 0]]


@pytest.mark.parametrize(("scale", "middle"), [(2.0, 3.0), (0.7, 2.6), (1.0, 0.0)])
def test_annotations_made_from_the_table_give_the_table_back_whatever_the_raters_scale(
    scale, middle
):
    places = {emotion: COORDINATES[emotion] for emotion in [*FOUR, "fear"]}
    found = coordinates_from_annotations(rated(places, scale=scale, middle=middle, spread=0.3))
    assert set(found) == set(places)
    for emotion, place in places.items():
        assert found[emotion] == pytest.approx(place)


def test_annotations_keep_the_shape_that_the_source_has():
    # a source whose sadness is loud
    moved = {**{emotion: COORDINATES[emotion] for emotion in FOUR}, "sadness": (-0.63, 0.55, 0.0)}
    found = coordinates_from_annotations(rated(moved))
    levels = pair_levels(FOUR, found)
    assert levels[FOUR.index("anger"), FOUR.index("sadness")] == "MN"
    ratios = (
        emotion_distances(FOUR, found)[np.triu_indices(4, 1)]
        / emotion_distances(FOUR, moved)[np.triu_indices(4, 1)]
    )
    assert np.ptp(ratios) < 1e-9


def test_the_embedded_corpus_ratings_put_sadness_far_from_anger_and_happiness():
    found = coordinates_from_annotations(
        rated({emotion: AFFECT[emotion] for emotion in FOUR}, spread=0.1)
    )
    levels = pair_levels(FOUR, found)
    assert {frozenset(("happiness", "sadness")), frozenset(("anger", "sadness"))} <= pairs_at(
        levels, FOUR, "PN"
    )


def test_utterances_without_ratings_and_emotions_outside_the_table_are_no_obstacle():
    rows = rated({**{emotion: COORDINATES[emotion] for emotion in FOUR}, "other": (0.1, 0.2, 0.0)})
    rows = pd.concat(
        [
            rows.astype(dict.fromkeys(("valence", "arousal", "dominance"), object)),
            pd.DataFrame(
                {"emotion": ["anger", "fear"], "valence": "", "arousal": "", "dominance": ""}
            ),
        ]
    )
    found = coordinates_from_annotations(rows)
    assert set(found) == {*FOUR, "other"} and found["anger"] == pytest.approx(COORDINATES["anger"])
    assert found["other"] == pytest.approx((0.1, 0.2, 0.0))


def test_dominance_may_be_missing_unless_it_counts():
    rows = rated({emotion: COORDINATES[emotion] for emotion in FOUR}).assign(dominance=np.nan)
    found = coordinates_from_annotations(rows)
    assert (pair_levels(FOUR, found) == pair_levels(FOUR)).all() and math.isnan(found["anger"][2])
    with pytest.raises(SettingError, match="dominance"):
        coordinates_from_annotations(rows, weights=(0.25, 1, 1))
    with pytest.raises(SettingError, match="anger has no coordinates"):
        pair_levels(FOUR, found, weights=(0.25, 1, 1))


@pytest.mark.parametrize(
    ("emotions", "options", "message"),
    [
        (["anger", "other"], {}, "other has no coordinates"),
        (["anger", "anger"], {}, "anger stands twice"),
        (["anger", "fear"], {"weights": (0, 0, 0)}, "not all 0"),
        (["anger", "fear"], {"weights": (1, 1)}, "three numbers"),
    ],
)
def test_what_cannot_be_placed_is_said_in_a_sentence(emotions, options, message):
    with pytest.raises(SettingError, match=message):
        pair_levels(emotions, **options)


def test_ratings_that_say_nothing_are_refused():
    with pytest.raises(SettingError, match="two are needed"):
        coordinates_from_annotations(rated({"anger": COORDINATES["anger"]}))
    with pytest.raises(SettingError, match="same ratings"):
        coordinates_from_annotations(rated({"anger": (0, 0, 0), "fear": (0, 0, 0)}))
    with pytest.raises(SettingError, match="at least two"):
        graded_margins(["anger"])
