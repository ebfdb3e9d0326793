"""Paired comparisons: against a slow bootstrap of the difference and scipy, and what is refused."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import balanced_accuracy_score

from colab_utils.results import comparison, intervals
from colab_utils.results.comparison import UnpairedError, compare

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


def test_difference_interval_and_p_against_a_slow_loop(pair):
    found = compare(*pair, LABELS, n_boot=60, ci_seed=2)
    weights = intervals.resample_weights(8, 60, 2, "unit")
    differences = []
    for b in range(60):
        scores = []
        for table in pair:
            copies = pd.concat(
                [
                    part
                    for times, (_, own) in zip(weights[b], table.groupby("speaker"), strict=True)
                    for part in [own] * times
                ]
            )
            scores.append(balanced_accuracy_score(copies["true"], copies["pred"]))
        differences.append(scores[0] - scores[1])
    np.testing.assert_allclose(
        found["difference_ci95"], np.percentile(differences, [2.5, 97.5]), atol=1e-12
    )
    tail = min(np.sum(np.array(differences) <= 0), np.sum(np.array(differences) >= 0))
    assert found["p_bootstrap"] == pytest.approx(min(1, 2 * (tail + 1) / 61))
    assert (
        found["difference"] == pytest.approx(found["uar_a"] - found["uar_b"])
        and found["difference"] > 0
    )
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_wilcoxon_over_speakers_is_scipys(pair):
    found = compare(*pair, LABELS, n_boot=20)
    each = [
        [balanced_accuracy_score(own["true"], own["pred"]) for _, own in table.groupby("speaker")]
        for table in pair
    ]
    assert found["p_wilcoxon"] == pytest.approx(stats.wilcoxon(np.subtract(*each).round(12)).pvalue)
    np.testing.assert_allclose([row["difference"] for row in found["speakers"]], np.subtract(*each))
    assert (
        "Wilcoxon signed-rank test over 8 speakers" in found["test"]
        and "paired bootstrap" in found["test"]
    )


def test_pairing_is_narrower_than_two_intervals_apart(pair):
    found = compare(*pair, LABELS, n_boot=1000)
    alone = [intervals.uar_replicates(table, LABELS, 1000, seed) for seed, table in enumerate(pair)]
    unpaired = np.diff(np.percentile(alone[0] - alone[1], [2.5, 97.5]))[0]
    assert np.diff(found["difference_ci95"])[0] < 0.8 * unpaired


def test_a_method_against_itself_and_in_the_other_order(pair):
    same = compare(pair[0], pair[0], LABELS, n_boot=100)
    assert (
        same["difference"] == 0
        and same["difference_ci95"] == [0, 0]
        and same["p_bootstrap"] == 1.0
        and same["p_wilcoxon"] is None
    )
    one, other = compare(*pair, LABELS, n_boot=200), compare(*pair[::-1], LABELS, n_boot=200)
    assert other["difference"] == -one["difference"] and other["p_bootstrap"] == one["p_bootstrap"]
    np.testing.assert_allclose(
        other["difference_ci95"], [-x for x in one["difference_ci95"][::-1]], atol=1e-15
    )


def test_other_numbers_of_seeds_are_paired_by_speaker(pair):
    rng = np.random.default_rng(3)
    found = compare(predictions(rng, 0.9, 8, n_seeds=3), pair[1], LABELS, n_boot=200)
    assert found["difference"] > 0.1 and found["p_bootstrap"] < 0.05


def test_under_equal_skill_p_is_seldom_small():
    rng = np.random.default_rng(4)
    values = [
        comparison._paired_bootstrap(predictions(rng, 0.7), predictions(rng, 0.7), LABELS, 100, 0)[
            "p_bootstrap"
        ]
        for _ in range(40)
    ]
    assert np.mean(np.array(values) < 0.05) <= 0.25 and np.median(values) > 0.2


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
        compare(pair[0], change(pair[1]), LABELS, n_boot=10)


def test_few_and_unknown_speakers_are_said(pair):
    four = [table[table["speaker"] < "s04"] for table in pair]
    assert "0.125" in " ".join(compare(*four, LABELS, n_boot=10)["notes"])
    one = compare(*[table[table["speaker"] == "s00"] for table in pair], LABELS, n_boot=10)
    assert one["difference_ci95"] is None and one["test"] == "" and "no test" in one["notes"][0]
    unknown = compare(*[table.assign(speaker="") for table in pair], LABELS, n_boot=10)
    assert (
        unknown["unit"] == "utterance"
        and unknown["p_wilcoxon"] is None
        and "Wilcoxon" not in unknown["test"]
    )
