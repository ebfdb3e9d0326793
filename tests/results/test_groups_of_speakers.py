"""Groups of speakers: against SciPy's t-tests, slow loops, and by simulation of known rates."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import recall_score
from statistics_simulation import DESIGNS, LABELS

from colab_utils.results.comparison import NOT_KNOWN, compare_groups
from colab_utils.results.predictions import PredictionError


def table_of(hits, per_class=6):
    """Predictions of speakers who say each emotion `per_class` times.

    hits: int (speakers, emotions), how many of these are right.
    """
    rows = []
    for speaker, of_speaker in enumerate(hits):
        for label, right in enumerate(of_speaker):
            for clip in range(per_class):
                answer = label if clip < right else (label + 1) % len(LABELS)
                rows.append((f"s{speaker:02}", LABELS[label], LABELS[answer]))
    table = pd.DataFrame(rows, columns=["speaker", "true", "pred"])
    table["utt_id"] = [f"c/u{number}" for number in table.index]
    facts = {"method": "m", "rule": "r", "seed": 0, "fold": "0", "draw": 0, "task": 0}
    return table.assign(corpus="c", **facts)


def recall_of(table, weights=None):
    every = {"labels": LABELS, "average": "macro", "zero_division": 0}
    return recall_score(table["true"], table["pred"], sample_weight=weights, **every)


def by_speaker(table, sizes):
    """The group of each utterance, where the first `sizes[name]` speakers are of `name`, ..."""
    names = np.repeat(list(sizes), list(sizes.values()))
    number = table["speaker"].str[1:].astype(int)
    return pd.Series(names[number], index=table["utt_id"])


def limits(table, group, name):
    row = table.set_index("group").loc[group]
    return [row[f"{name}_low"], row[f"{name}_high"]]


@pytest.mark.parametrize(
    "sizes", [{"f": 4, "m": 9}, {"a": 5, "b": 4, "c": 6}], ids=["two", "three"]
)
def test_where_each_speaker_has_one_rate_it_is_welchs_interval(sizes):
    rng = np.random.default_rng(len(sizes))
    number = sum(sizes.values())
    hits = rng.integers(np.where(np.arange(number) < 4, 1, 4)[:, None], 6, (number, len(LABELS)))
    table = table_of(hits)
    found = compare_groups(table, LABELS, by_speaker(table, sizes))
    assert list(found["group"]) == list(sizes)
    assert list(found["n_speakers"]) == list(sizes.values())
    each = hits.mean(axis=1) / 6
    first = 0
    for name, size in sizes.items():
        own = each[first : first + size]
        others = np.delete(each, np.arange(first, first + size))
        first += size
        welch = stats.ttest_ind(own, others, equal_var=False).confidence_interval(0.95)
        np.testing.assert_allclose(limits(found, name, "difference"), welch, atol=1e-12)
        alone = stats.ttest_1samp(own, 0).confidence_interval(0.95)
        expected = np.clip(alone, 0, 1)
        np.testing.assert_allclose(limits(found, name, "uar"), expected, atol=1e-12)
    assert not any(found["notes"])


def test_groups_of_the_same_speakers_are_paired():
    """Soft and loud clips of all speakers, who are all good or bad at both."""
    rng = np.random.default_rng(3)
    soft = rng.integers(0, 5, (7, len(LABELS)))
    loud = soft + rng.integers(0, 2, soft.shape)
    table = pd.concat([table_of(soft), table_of(loud)], ignore_index=True)
    table["utt_id"] = [f"c/u{number}" for number in table.index]
    half = len(table) // 2
    groups = pd.Series(["soft"] * half + ["loud"] * half, index=table["utt_id"])
    found = compare_groups(table, LABELS, groups)
    rates = loud.mean(axis=1) / 6, soft.mean(axis=1) / 6
    paired = stats.ttest_rel(*rates).confidence_interval(0.95)
    np.testing.assert_allclose(limits(found, "loud", "difference"), paired, atol=1e-12)
    own = stats.ttest_1samp(rates[0], 0).confidence_interval(0.95)
    np.testing.assert_allclose(limits(found, "loud", "uar"), np.clip(own, 0, 1), atol=1e-12)
    assert found["notes"].map("".join).str.contains("it is paired").all()


def test_where_some_speakers_are_on_both_sides_each_leaves_both_at_once():
    """s0 to s2 are soft, s3 to s5 are loud, s6 to s9 are both."""
    rng = np.random.default_rng(8)
    table = table_of(rng.integers(0, 6, (10, len(LABELS))))
    number = table["speaker"].str[1:].astype(int)
    groups = np.where((number < 3) | ((number > 5) & (table.index % 2 == 0)), "soft", "loud")
    found = compare_groups(table, LABELS, pd.Series(groups, index=table["utt_id"]))

    def difference(left):
        loud = left["group"] == "loud"
        return recall_of(left[loud]) - recall_of(left[~loud])

    table["group"] = groups
    values = [difference(table[number != one]) for one in range(10)]
    error = np.sqrt(9 / 10 * np.sum((values - np.mean(values)) ** 2))
    half = stats.t.ppf(0.975, 9) * error
    expected = difference(table) - half, difference(table) + half
    np.testing.assert_allclose(limits(found, "loud", "difference"), expected, atol=1e-12)


def test_an_emotion_that_one_side_lacks_counts_on_neither_and_is_named():
    table = DESIGNS["plain"](np.random.default_rng(4), 9).first.assign(corpus="c")
    groups = by_speaker(table, {"f": 4, "m": 5})
    men = table["utt_id"].map(groups) == "m"
    table = table[~(men & (table["true"] == "fear"))]
    found = compare_groups(table, LABELS, groups)
    rest = [label for label in LABELS if label != "fear"]
    expected = {}
    for name, part in table.groupby(table["utt_id"].map(groups)):
        recalls = {"labels": rest, "average": "macro", "zero_division": 0}
        expected[name] = recall_score(part["true"], part["pred"], **recalls)
    assert found.set_index("group")["uar"].to_dict() == pytest.approx(expected)
    assert found["difference"][0] == pytest.approx(expected["f"] - expected["m"])
    assert list(found["notes"]) == [["without fear, which it or all others lack"]] * 2
    alone = table["true"].map({"anger": "a"}).fillna("b").set_axis(table["utt_id"])
    nothing = compare_groups(table, LABELS, alone)
    assert nothing[["uar", "uar_low", "difference", "difference_low"]].isna().all(axis=None)


def test_few_and_unknown_speakers_have_points_alone_and_say_so():
    table = DESIGNS["plain"](np.random.default_rng(5), 12).first.assign(corpus="c")
    groups = by_speaker(table, {"f": 4, "m": 5, "": 3})
    groups = groups[groups.ne("") | (np.arange(len(groups)) % 2 == 0)]  # some are not there at all
    found = compare_groups(table, LABELS, groups).set_index("group")
    assert list(found.index) == ["f", "m", NOT_KNOWN]
    assert found["uar"].notna().all() and found["difference"].notna().all()
    whole = found.loc[["f", "m"], ["uar_low", "difference_low"]]
    assert whole.notna().all(axis=None), "others are four speakers or more together"
    few = found.loc[NOT_KNOWN]
    assert few[["uar_low", "difference_low"]].isna().all()
    assert few["notes"] == ["3 speakers: no interval, which needs 4 or more"]
    two = table[table["utt_id"].map(groups).isin(["f"]) | (table["speaker"] == "s11")]
    of_few = compare_groups(two, LABELS, groups).set_index("group")
    assert not np.isnan(of_few.loc["f", "uar_low"])
    assert of_few["difference_low"].isna().all(), "all others are one speaker"
    nobody = compare_groups(table.assign(speaker=""), LABELS, groups)
    assert nobody[["uar_low", "difference_low"]].isna().all(axis=None)
    assert nobody["uar"].notna().all() and (nobody["n_speakers"] == 0).all()
    assert list(nobody["notes"]) == [["speakers unknown: no interval"]] * 3
    with pytest.raises(PredictionError, match=r"one group only \(f\)"):
        compare_groups(
            table, LABELS, groups.map(lambda _: "f").reindex(table["utt_id"]).fillna("f")
        )


def without(table, split, group_of, name, speaker):
    """The UAR of a group without one speaker and the episodes that it supports, by hand.

    The other speakers count as much as before, whichever of their episodes are left.
    """
    supported = set(split.loc[split["speaker"] == f"simulated/{speaker}", "task"])
    kept, weights = [], []
    for other, own in table[group_of == name].groupby("speaker"):
        if other == speaker:
            continue
        left = own[~own["task"].isin(supported)]
        left = left if len(left) else own
        kept.append(left)
        weights += [len(own) / len(left)] * len(left)
    return recall_of(pd.concat(kept), weights)


def test_whom_draws_ask_of_all_groups_says_whether_episodes_can_be_left_out():
    """All of one fold support the other: of no group are episodes left out."""
    rng = np.random.default_rng(9)
    table = table_of(rng.integers(1, 6, (12, len(LABELS))))
    number = table["speaker"].str[1:].astype(int)
    table["fold"] = np.where(number < 6, "0", "1")
    groups = pd.Series(np.where(number % 6 < 2, "f", "m"), index=table["utt_id"])
    support = table.assign(fold=np.where(number < 6, "1", "0"), role="support")
    support["speaker"] = "c/" + support["speaker"]
    drawn = [pd.concat([one.assign(draw=draw) for draw in range(3)]) for one in (table, support)]
    for notes in compare_groups(drawn[0], LABELS, groups, drawn[1])["notes"]:
        assert len(notes) == 1 and "is one for these support speakers" in notes[0]


@pytest.mark.slow
def test_in_episodes_a_speaker_leaves_both_groups_as_query_and_as_support():
    episodes = DESIGNS["episodes"](np.random.default_rng(6), 9)
    table, split = episodes.first, episodes.split
    # an utterance is asked in several episodes
    groups = pd.Series(np.where(table["speaker"] < "s4", "f", "m"), index=table["utt_id"])
    groups = groups[~groups.index.duplicated()]
    group_of = table["utt_id"].map(groups)
    found = compare_groups(table, LABELS, groups, split).set_index("group")
    parts, plain = [], []
    for own in ("f", "m"):
        speakers = sorted(set(table.loc[group_of == own, "speaker"]))
        for way, into in ((split, parts), (split.head(0), plain)):
            values = []
            for speaker in speakers:
                sides = [without(table, way, group_of, name, speaker) for name in ("f", "m")]
                values.append(sides[0] - sides[1])
            squares = np.sum((values - np.mean(values)) ** 2)
            into.append(((len(values) - 1) / len(values) * squares, len(values) - 1))
    greater = max(parts, plain, key=lambda of_way: sum(part for part, _ in of_way))
    assert greater is parts, "what supports is worth counts"
    variance = sum(part for part, _ in greater)
    freedom = variance**2 / sum(part**2 / number for part, number in greater)
    half = stats.t.ppf(0.975, freedom) * np.sqrt(variance)
    middle = found.loc["f", "difference"]
    expected = [middle - half, middle + half]
    np.testing.assert_allclose(limits(found.reset_index(), "f", "difference"), expected, atol=1e-10)
    assert found.loc["m", "difference"] == pytest.approx(-middle)


def test_seeds_of_both_groups_are_paired_and_films_are_the_unit():
    drawn = DESIGNS["draws x seeds"](np.random.default_rng(7), 9).first.assign(corpus="c")
    one = drawn.drop_duplicates("utt_id")
    groups = by_speaker(one, {"f": 4, "m": 5})
    found = compare_groups(drawn, LABELS, groups).set_index("group")
    again = drawn.assign(seed=drawn["seed"] + 3)
    twice = compare_groups(pd.concat([drawn, again]), LABELS, groups).set_index("group")
    wide = found["difference_high"] - found["difference_low"]
    assert (twice["difference_high"] - twice["difference_low"] < wide).all(), "more seeds"
    dubbed = drawn.assign(film="f" + (drawn["speaker"].str[1:].astype(int) // 2).astype(str))
    of_films = compare_groups(dubbed, LABELS, groups)
    told = "2 films: no interval, which needs 4 or more"
    assert of_films["notes"][0] == [told] and of_films["n_speakers"][0] == 4


def simulated(rng, sizes, means, per_class=5):
    """Speakers whose rates are drawn from Beta distributions of known mean and unequal spread."""
    hits = []
    for size, mean, weight in zip(sizes, means, (12, 4), strict=True):
        rates = rng.beta(weight * mean, weight * (1 - mean), (size, 1))
        hits.append(rng.binomial(per_class, rates, (size, len(LABELS))))
    return table_of(np.concatenate(hits), per_class)


@pytest.mark.long
@pytest.mark.parametrize("sizes", [(4, 4), (4, 12), (12, 4), (10, 10)])
def test_simulated_intervals_hold_the_true_difference(sizes):
    rng = np.random.default_rng(sizes)
    number, held = 300, 0
    for _ in range(number):
        table = simulated(rng, sizes, (0.7, 0.45))
        groups = by_speaker(table, dict(zip("fm", sizes, strict=True)))
        low, high = limits(compare_groups(table, LABELS, groups), "f", "difference")
        held += low <= 0.25 <= high
    least, most = stats.binom.ppf([5e-5, 1 - 5e-5], number, [0.93, 0.985])
    assert least <= held <= most, 100 * held / number
