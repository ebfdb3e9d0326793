"""Paired comparisons: against scipy's paired t and closed forms, and what is refused."""

import itertools
import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import balanced_accuracy_score

from colab_utils.results.comparison import UnpairedError, compare, holm

LABELS = ["anger", "neutral", "sadness"]


def predictions(rng, skill, n_speakers=12, per_class=6, method="a", n_seeds=1, habits=None):
    """Each speaker's hit rate is `skill` plus a habit that both methods share."""
    habits = np.zeros(n_speakers) if habits is None else habits
    speaker = np.repeat(np.arange(n_speakers), per_class * 3)
    true = np.tile(np.repeat(np.arange(3), per_class), n_speakers)
    parts = []
    for seed in range(n_seeds):
        hit = rng.random(len(true)) < skill + habits[speaker]
        pred = np.where(hit, true, (true + 1) % 3)
        names = np.array(LABELS, dtype=object)
        parts.append(
            pd.DataFrame(
                {
                    "method": method,
                    "rule": "r",
                    "seed": seed,
                    "fold": "0",
                    "draw": 0,
                    "task": 0,
                    "utt_id": [f"u{i:04}" for i in range(len(true))],
                    "corpus": "c",
                    "speaker": [f"s{s:02}" for s in speaker],
                    "true": names[true],
                    "pred": names[pred],
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


@pytest.fixture
def pair():
    """Two methods on 8 speakers whose habits they share, the first the better one."""
    rng = np.random.default_rng(0)
    habits = rng.uniform(-0.3, 0.1, 8)
    return predictions(rng, 0.8, 8, habits=habits), predictions(
        rng, 0.65, 8, habits=habits, method="b"
    )


def of_speakers(table):
    """The balanced accuracy of each speaker."""
    parts = table.groupby("speaker")
    return parts[["true", "pred"]].apply(lambda own: balanced_accuracy_score(own.true, own.pred))


def test_with_equally_many_clips_it_is_the_paired_t_test(pair):
    found = compare(*pair, LABELS)
    ours, theirs = map(of_speakers, pair)
    oracle = stats.ttest_rel(ours, theirs)
    assert found["p"] == pytest.approx(oracle.pvalue, rel=1e-9)
    limits = oracle.confidence_interval(0.95)
    np.testing.assert_allclose(found["difference_ci95"], [limits.low, limits.high], atol=1e-12)
    assert (found["df"], found["n_units"], found["unit"]) == (7, 8, "speaker")
    assert found["test"].startswith("paired delete-one jackknife of the UAR over 8 speakers")
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    rows = pd.DataFrame(found["speakers"])
    np.testing.assert_allclose(rows["difference"], ours - theirs, atol=1e-12)


def test_a_method_against_itself_and_in_the_other_order(pair):
    same = compare(pair[0], pair[0], LABELS)
    assert (same["difference"], same["difference_ci95"], same["p"]) == (0, None, None)
    assert same["notes"] == ["no interval and no p: no speaker changes the difference"]
    one, other = compare(*pair, LABELS), compare(*pair[::-1], LABELS)
    assert other["difference"] == -one["difference"] and other["p"] == pytest.approx(one["p"])
    np.testing.assert_allclose(
        other["difference_ci95"], [-x for x in one["difference_ci95"][::-1]], atol=1e-15
    )


def test_seeds_in_common_are_paired_and_others_add_their_own_variance(pair):
    rng = np.random.default_rng(3)
    many = predictions(rng, 0.7, 8, n_seeds=3)
    shifted = many.copy()
    # all seeds lose the same utterances, so that seeds cancel out
    worse = shifted.groupby("seed").cumcount() < 40
    shifted.loc[worse, "pred"] = np.where(shifted.loc[worse, "true"] == "anger", "sadness", "anger")
    together = compare(many, shifted, LABELS)
    alone = compare(many, shifted[shifted["seed"] == 0], LABELS)
    spread = []
    for table in (many, shifted):
        of_seeds = table.groupby("seed")[["true", "pred"]]
        spread.append(of_seeds.apply(lambda own: balanced_accuracy_score(own.true, own.pred)))
    width = {}
    for name, found in (("together", together), ("alone", alone)):
        half = np.diff(found["difference_ci95"])[0] / 2
        width[name] = (half / stats.t.ppf(0.975, found["df"])) ** 2
    by_seed = {
        "together": (spread[0] - spread[1]).var(ddof=1) / 3,
        "alone": spread[0].var(ddof=1) / 3,
    }
    for name, (a, b) in {
        "together": (many, shifted),
        "alone": (many, shifted[shifted["seed"] == 0]),
    }.items():
        gains = of_speakers(a) - of_speakers(b)
        assert width[name] == pytest.approx(gains.var(ddof=1) / 8 + by_seed[name], rel=1e-9)


def test_holm_is_the_closed_test_of_bonferroni():
    """Each p is the greatest |I| * min p over all sets I of contrasts that hold it."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        p = rng.random(5) ** 3
        expected = []
        for one in range(5):
            sets = [
                chosen
                for size in range(1, 6)
                for chosen in itertools.combinations(range(5), size)
                if one in chosen
            ]
            expected.append(max(min(1, len(chosen) * p[list(chosen)].min()) for chosen in sets))
        np.testing.assert_allclose(holm(p), expected)
        with_none = np.insert(p, 2, np.nan)
        np.testing.assert_allclose(np.delete(holm(with_none), 2), expected)
        assert np.isnan(holm(with_none)[2])
    assert len(holm([])) == 0 and np.isnan(holm([np.nan])).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.iloc[1:], "1 utterance.*only in the first"),
        (lambda t: t.assign(true="anger"), "another true emotion"),
        (lambda t: t.assign(speaker="x"), "another true emotion or speaker"),
    ],
)
def test_unpaired_tables_are_refused(pair, change, message):
    with pytest.raises(UnpairedError, match=message):
        compare(pair[0], change(pair[1]), LABELS)


def test_few_and_unknown_speakers_have_no_interval_and_no_p(pair):
    four = [table[table["speaker"] < "s04"] for table in pair]
    assert compare(*four, LABELS)["p"] is not None
    for number in (1, 2, 3):
        few = [table[table["speaker"] < f"s{number:02}"] for table in pair]
        found = compare(*few, LABELS)
        assert (found["difference_ci95"], found["p"], found["test"]) == (None, None, "")
        assert "no interval and no p, which need 4" in found["notes"][0]
        assert len(found["speakers"]) == number
    unknown = compare(*[table.assign(speaker="") for table in pair], LABELS)
    assert unknown["p"] is None and "speakers unknown" in unknown["notes"][0]
