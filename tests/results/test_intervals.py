"""The interval against slow loops and closed forms, and by simulation, where the truth is known."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import recall_score
from statistics_simulation import DESIGNS, LABELS, simulated, summary

from colab_utils.results.intervals import LEAST, Estimate, leave_out, over_speakers, units_of

EPISODE = ["seed", "draw", "fold", "task"]


def uar(table, weights=None):
    """Macro recall by scikit-learn, over the labels that occur."""
    present = sorted(set(table["true"]))
    return recall_score(
        table["true"],
        table["pred"],
        labels=present,
        average="macro",
        zero_division=0,
        sample_weight=weights,
    )


def of_cells(table):
    """The mean UAR of all (seed, draw)."""
    return np.mean([uar(part) for _, part in table.groupby(["seed", "draw"])])


@pytest.mark.parametrize("design", ["plain", "draws x seeds"])
def test_variance_is_that_of_a_slow_jackknife_and_of_seeds(design):
    table = DESIGNS[design](np.random.default_rng(0), 5).first
    found = leave_out(table, LABELS).estimate()
    without = [of_cells(table[table["speaker"] != one]) for one in sorted(set(table["speaker"]))]
    parts = [(4 / 5 * np.sum((without - np.mean(without)) ** 2), 4)]
    if design != "plain":
        of_seeds = [of_cells(part) for _, part in table.groupby("seed")]
        parts.append((np.var(of_seeds, ddof=1) / 3, 2))
    variance = sum(part for part, _ in parts)
    freedom = variance**2 / sum(part**2 / number for part, number in parts)
    assert found.value == pytest.approx(of_cells(table), abs=1e-12)
    assert found.error == pytest.approx(np.sqrt(variance), abs=1e-12)
    assert found.freedom == pytest.approx(min(4, freedom))


def test_with_equally_many_clips_it_is_students_interval():
    rng = np.random.default_rng(1)
    names = np.array(LABELS, dtype=object)
    true = names[np.tile(np.repeat(np.arange(4), 6), 7)]
    table = DESIGNS["plain"](rng, 4).first.head(0).reindex(range(len(true)))
    right = rng.random(len(true)) < np.repeat(rng.uniform(0.3, 0.9, 7), 24)
    table["true"], table["pred"] = true, np.where(right, true, np.roll(names, 1)[0])
    table["pred"] = np.where(right | (table["pred"] != table["true"]), table["pred"], names[1])
    table["speaker"] = np.repeat([f"s{i}" for i in range(7)], 24)
    table = table.assign(corpus="c", seed=0, draw=0, task=0, fold="0", utt_id=table.index)
    each = [uar(part) for _, part in table.groupby("speaker")]
    oracle = stats.ttest_1samp(each, 0).confidence_interval(0.95)
    limits = leave_out(table, LABELS).estimate().limits(0, 1)
    np.testing.assert_allclose(limits, [oracle.low, min(1, oracle.high)], atol=1e-12)


def slow_without(table, split):
    """The UAR without each speaker and the episodes that it supports, row by row."""
    values = []
    names = "simulated/" + table["speaker"]
    for speaker in sorted(set(names)):
        supported = set(split.loc[split["speaker"] == speaker, "task"])
        of_seeds = []
        for _, part in table.groupby("seed"):
            kept, weights = [], []
            for other, own in part.groupby("simulated/" + part["speaker"]):
                if other == speaker:
                    continue
                left = own[~own["task"].isin(supported)]
                left = left if len(left) else own
                kept.append(left)
                weights += [len(own) / len(left)] * len(left)
            of_seeds.append(uar(pd.concat(kept), weights))
        values.append(np.mean(of_seeds))
    return values


def test_who_supports_is_left_out_with_the_episodes_it_supports():
    tested = DESIGNS["episodes"](np.random.default_rng(2), 6)
    # the last speaker supports all that the first is asked in: nothing of the first would be left
    first = tested.first[tested.first["speaker"] == "s0"]["task"].unique()
    never = tested.first[(tested.first["speaker"] == "s5") & tested.first["task"].isin(first)]
    table = tested.first.drop(never.index).reset_index(drop=True)
    more = tested.split.head(1).loc[[0] * len(first)].assign(task=first, speaker="simulated/s5")
    split = pd.concat([tested.split, more], ignore_index=True)
    found = leave_out(table, LABELS, split)
    assert found.without.shape == (2, 6) and found.remarks == []
    alone = [of_cells(table[table["speaker"] != f"s{one}"]) for one in range(6)]
    np.testing.assert_allclose(found.without[0], alone, atol=1e-12)
    np.testing.assert_allclose(found.without[1], slow_without(table, split), atol=1e-12)
    apart = found.without - found.without.mean(axis=1, keepdims=True)
    greater = (apart**2).sum(axis=1).max()
    assert found.estimate().error == pytest.approx(np.sqrt(5 / 6 * greater), abs=1e-12)


def draws_of(shots, rng, n_speakers=8, n_draws=6):
    """One test of all speakers in each draw, and its support: clips of the other fold's speakers.

    Returns predictions and split.
    """
    table = DESIGNS["plain"](rng, n_speakers).first
    table["fold"] = np.where(table["speaker"] < "s4", "0", "1")
    rows = []
    for draw in range(n_draws):
        for fold, others in (("0", range(4, n_speakers)), ("1", range(4))):
            for speaker in set(rng.choice(others, shots)):
                rows.append({"draw": draw, "fold": fold, "speaker": f"simulated/s{speaker}"})
    split = pd.DataFrame(rows).assign(seed=0, task=0, utt_id="", role="support")
    drawn = [table.assign(draw=draw) for draw in range(n_draws)]
    return pd.concat(drawn, ignore_index=True), split


def test_draws_that_nearly_all_speakers_support_leave_out_queries_alone_and_say_so():
    rng = np.random.default_rng(3)
    few, many = (leave_out(*at(shots, rng)) for shots in (1, 20))
    assert len(few.without) == 2 and few.remarks == []
    assert len(many.without) == 1 and "one for these support speakers" in many.remarks[0]


def at(shots, rng):
    table, split = draws_of(shots, rng)
    return table, LABELS, split


def test_what_is_not_known_of_the_support_is_said():
    tested = DESIGNS["episodes"](np.random.default_rng(4), 5)
    unknown = "support speakers unknown: the interval leaves speakers out as query alone"
    for split in (None, tested.split.assign(role="query"), tested.split.assign(speaker="")):
        found = leave_out(tested.first, LABELS, split)
        assert found.remarks == [unknown] and len(found.without) == 1
    plain = DESIGNS["plain"](np.random.default_rng(4), 5)
    assert leave_out(plain.first, LABELS).remarks == []
    strangers = tested.split.replace({"speaker": {"simulated/s0": "simulated/s9"}})
    assert "never tested" in leave_out(tested.first, LABELS, strangers).remarks[0]


def test_films_are_the_unit_where_there_are_fewer_films_than_speakers():
    tested = DESIGNS["plain"](np.random.default_rng(5), 12)
    number = tested.first["speaker"].str[1:].astype(int)
    dubbed = tested.first.assign(film="f" + (number // 2).astype(str))
    units, unit = units_of(dubbed)
    assert (unit, units.nunique(), units[0]) == ("film", 6, "simulated/f0")
    merged = leave_out(tested.first.assign(speaker=dubbed["film"]), LABELS)
    np.testing.assert_allclose(leave_out(dubbed, LABELS).without, merged.without, atol=0)
    assert units_of(dubbed.assign(film=""))[1] == "speaker"
    assert units_of(dubbed.assign(film=dubbed["utt_id"]))[1] == "speaker"
    three = dubbed.assign(film="f" + (number // 4).astype(str))
    leaving, unit, remarks = over_speakers(three, LABELS)
    assert leaving is None and remarks[0].startswith("3 test films: no interval")


def test_limits_stay_within_their_range_and_no_spread_gives_none():
    assert Estimate(0.97, 0.05, 3).limits(0, 1)[1] == 1.0
    assert Estimate(0.03, 0.05, 3).limits(0, 1)[0] == 0.0
    nothing = Estimate(1.0, float("nan"), 3)
    assert nothing.limits(0, 1) is None and nothing.p() is None
    table = DESIGNS["plain"](np.random.default_rng(6), 5).first
    perfect = leave_out(table.assign(pred=table["true"]), LABELS).estimate()
    assert perfect.value == 1 and np.isnan(perfect.error)


def test_order_of_rows_does_not_matter():
    tested = DESIGNS["episodes"](np.random.default_rng(7), 5)
    mixed = tested.first.sample(frac=1, random_state=0).reset_index(drop=True)
    other = leave_out(mixed, LABELS, tested.split.sample(frac=1, random_state=1)).estimate()
    assert other == pytest.approx(leave_out(tested.first, LABELS, tested.split).estimate())


def binomial_limits(rate, number):
    """Where a share of `number` lies in all but one of 10,000 cases, per cent."""
    return 100 * np.array(stats.binom.ppf([5e-5, 1 - 5e-5], number, rate)) / number


@pytest.mark.slow
@pytest.mark.parametrize(("design", "number"), [("plain", 150), ("episodes", 60)])
def test_simulated_intervals_hold_the_truth_and_p_is_seldom_small(design, number):
    """Four speakers, where a percentile bootstrap over speakers holds it in 72 to 80 % alone."""
    found = summary(simulated(design, 4, number))
    assert found["coverage"] >= binomial_limits(0.95, number)[0] > 80
    assert found["false positives"] <= binomial_limits(0.05, number)[1] < 20


@pytest.mark.long
@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.parametrize("n_speakers", [2, 3, 4, 6, 10, 24])
def test_coverage_and_false_positives_in_all_designs(design, n_speakers):
    number = 400
    outcomes = simulated(design, n_speakers, number, seed=1)
    if n_speakers < LEAST:
        assert outcomes[["low", "high", "p"]].isna().all(axis=None)
        return
    found = summary(outcomes)
    # 93 to 99 %, and under 6.5 %, as far as so many simulations can tell
    low, high = binomial_limits(0.93, number)[0], binomial_limits(0.99, number)[1]
    assert low <= found["coverage"] <= high
    assert found["false positives"] <= binomial_limits(0.065, number)[1]
