"""Rates against scikit-learn, the interval against a slow loop over the predictions themselves, and
its coverage on simulated speakers.
"""

import json
import time

import hypothesis
import numpy as np
import pandas as pd
import pytest
from hypothesis import strategies as st
from sklearn import metrics as oracle

from colab_utils import files
from colab_utils.results import intervals, metrics, rates
from colab_utils.results.predictions import PredictionError, write_predictions

LABELS = ["anger", "happiness", "sadness", "fear"]


def table(true, pred, speaker=None, **columns):
    """A table of predictions; everything but the labels has a default."""
    n = len(true)
    base = {
        "method": "m",
        "rule": "inductive",
        "seed": 0,
        "fold": "0",
        "draw": 0,
        "task": 0,
        "corpus": "c",
        "utt_id": [f"c/{i}" for i in range(n)],
        "speaker": speaker if speaker is not None else [f"s{i % 3}" for i in range(n)],
    }
    return pd.DataFrame({**base, "true": list(true), "pred": list(pred), **columns})


def simulated(
    rng, n_speakers=12, per_class=5, n_draws=1, n_tasks=1, n_seeds=1, spread=0.7, draw_spread=0.0
):
    """Speakers (and draws) with hit rates of their own."""
    parts = []
    of_speaker, of_draw = (
        rng.normal(0, spread, n_speakers),
        rng.normal(0, draw_spread, (n_seeds, n_draws)),
    )
    for seed in range(n_seeds):
        for draw in range(n_draws):
            speaker = np.repeat(np.arange(n_speakers), per_class * len(LABELS))
            true = np.tile(np.repeat(np.arange(len(LABELS)), per_class), n_speakers)
            hit = rng.random(len(true)) < 1 / (
                1 + np.exp(-(0.5 + of_speaker[speaker] + of_draw[seed, draw]))
            )
            pred = np.where(
                hit, true, (true + rng.integers(1, len(LABELS), len(true))) % len(LABELS)
            )
            names = np.array(LABELS, dtype=object)
            parts.append(
                table(
                    names[true],
                    names[pred],
                    [f"s{s:02}" for s in speaker],
                    seed=seed,
                    draw=draw,
                    task=rng.integers(0, n_tasks, len(true)),
                    fold=[str(s % 4) for s in speaker],
                )
            )
    return pd.concat(parts, ignore_index=True)


@hypothesis.given(
    st.lists(st.tuples(st.sampled_from(LABELS), st.sampled_from(LABELS)), min_size=1, max_size=60)
)
@hypothesis.settings(max_examples=60, deadline=None)
def test_rates_agree_with_scikit_learn(pairs):
    true, pred = zip(*pairs, strict=True)
    counts = rates.confusion(true, pred, LABELS)
    present = [label for label in LABELS if label in true]
    np.testing.assert_array_equal(counts, oracle.confusion_matrix(true, pred, labels=LABELS))
    assert rates.uar(counts) == pytest.approx(
        oracle.recall_score(true, pred, labels=present, average="macro", zero_division=0), abs=1e-12
    )
    assert rates.wa(counts) == pytest.approx(oracle.accuracy_score(true, pred), abs=1e-12)
    assert rates.macro_f1(counts) == pytest.approx(
        oracle.f1_score(true, pred, labels=present, average="macro", zero_division=0), abs=1e-12
    )
    np.testing.assert_allclose(
        rates.recalls(counts)[[LABELS.index(p) for p in present]],
        oracle.recall_score(true, pred, labels=present, average=None, zero_division=0),
    )


def test_uar_is_balanced_accuracy_when_every_label_occurs(rng=np.random.default_rng(0)):
    true = np.array(LABELS)[np.r_[np.arange(4), rng.integers(0, 4, 200)]]
    pred = np.array(LABELS)[rng.integers(0, 4, 204)]
    assert rates.uar(rates.confusion(true, pred, LABELS)) == pytest.approx(
        oracle.balanced_accuracy_score(true, pred), abs=1e-12
    )


def test_rates_work_on_stacks_of_counts_and_empty_counts_are_nan():
    stack = np.random.default_rng(1).integers(0, 9, (3, 2, 4, 4))
    for rate in (rates.uar, rates.wa, rates.macro_f1):
        expected = [[rate(counts) for counts in row] for row in stack]
        np.testing.assert_array_equal(rate(stack), expected)
        assert np.isnan(rate(np.zeros((4, 4), dtype=int)))


def test_a_label_outside_the_list_is_named():
    with pytest.raises(PredictionError, match="'boredom'"):
        rates.confusion(["anger"], ["boredom"], LABELS)


def test_an_absent_label_is_left_out_of_the_means_and_listed():
    found = metrics.summarise(
        table(["anger", "anger", "sadness"], ["anger", "fear", "sadness"]), LABELS, n_boot=50
    )
    assert found["uar"] == pytest.approx((0.5 + 1.0) / 2)
    assert (
        found["labels_absent"] == ["happiness", "fear"]
        and found["per_class_recall"]["fear"] is None
    )
    assert found["chance"] == 0.5 and any("happiness, fear" in note for note in found["notes"])


def test_predictions_are_pooled_over_folds_within_a_draw_and_averaged_over_draws():
    data = simulated(np.random.default_rng(2), n_draws=3, n_seeds=2)
    found = metrics.summarise(data, LABELS, n_boot=0)
    pooled = [
        oracle.balanced_accuracy_score(part["true"], part["pred"])
        for _, part in data.groupby(["seed", "draw"])
    ]
    by_fold = [
        oracle.balanced_accuracy_score(part["true"], part["pred"])
        for _, part in data.groupby(["seed", "draw", "fold"])
    ]
    assert found["uar"] == pytest.approx(np.mean(pooled), abs=1e-12) and found[
        "fold_mean_uar"
    ] == pytest.approx(np.mean(by_fold), abs=1e-12)
    assert (found["seeds"], found["n_draws"], found["n_folds"], found["n_speakers"]) == (
        [0, 1],
        3,
        4,
        12,
    )
    assert found["n"] == 1440 and found["n_utterances"] == 240 and found["majority"] == 0.25
    assert found["uar_ci95"] is None and json.loads(json.dumps(found, allow_nan=False)) == found


def slow_replicates(data, n_boot, ci_seed):
    """The bootstrap as it is told: copy the rows of every picked speaker, task, draw and seed, and
    score the copies with scikit-learn.
    """
    data = data.assign(unit=intervals.resampling_units(data)[0])
    levels = {factor: sorted(data[factor].unique()) for factor in intervals.FACTORS}
    picked = {
        factor: intervals.resample_weights(len(levels[factor]), n_boot, ci_seed, factor)
        for factor in intervals.FACTORS
    }
    values = []
    for b in range(n_boot):
        times = {
            factor: dict(zip(levels[factor], picked[factor][b], strict=True))
            for factor in intervals.FACTORS
        }
        scores = []
        for seed in levels["seed"]:
            for draw in levels["draw"]:
                true, pred = [], []
                for row in data[(data["seed"] == seed) & (data["draw"] == draw)].itertuples():
                    copies = times["unit"][row.unit] * times["task"][row.task]
                    true += [row.true] * copies
                    pred += [row.pred] * copies
                if true:
                    present = sorted(set(true))
                    scores += [
                        oracle.recall_score(
                            true, pred, labels=present, average="macro", zero_division=0
                        )
                    ] * (times["seed"][seed] * times["draw"][draw])
        values.append(np.mean(scores) if scores else np.nan)
    return np.array(values)


@pytest.mark.parametrize(
    "shape", [{}, {"n_draws": 3, "n_seeds": 2}, {"n_tasks": 7}, {"n_tasks": 40, "n_draws": 2}]
)
@pytest.mark.parametrize("known", [True, False])
def test_replicates_equal_a_slow_loop_over_the_predictions(shape, known):
    data = simulated(np.random.default_rng(3), n_speakers=4, per_class=2, **shape)
    data = data if known else data.assign(speaker="")
    np.testing.assert_allclose(
        intervals.uar_replicates(data, LABELS, 8, 5), slow_replicates(data, 8, 5), atol=1e-12
    )


@pytest.mark.parametrize("n_tasks", [1, 6, 300])
def test_blocks_do_not_change_the_replicates(monkeypatch, n_tasks):
    data = simulated(np.random.default_rng(4), n_tasks=n_tasks, n_speakers=3, per_class=40)
    whole = intervals.uar_replicates(data, LABELS, 50, 0)
    monkeypatch.setattr(intervals, "_BLOCK", 1)  # one replicate at a time
    np.testing.assert_array_equal(intervals.uar_replicates(data, LABELS, 50, 0), whole)
    assert whole.std() > 0


def test_weights_are_counts_of_uniform_picks():
    weights = intervals.resample_weights(20, 4000, 0, "unit")
    assert (weights.sum(axis=1) == 20).all() and weights.min() >= 0
    # binomial(20, 1/20) has variance 0.95
    assert abs(weights.mean() - 1) < 1e-12 and abs(weights.var() - 0.95) < 0.02
    assert np.abs(weights.mean(axis=0) - 1).max() < 5 * np.sqrt(0.95 / 4000)


def test_interval_is_deterministic_and_independent_of_the_order_of_rows():
    data = simulated(np.random.default_rng(5), n_tasks=5)
    first = metrics.summarise(data, LABELS, ci_seed=3)
    assert first == metrics.summarise(data.sample(frac=1, random_state=0), LABELS, ci_seed=3)
    assert first["uar_ci95"] != metrics.summarise(data, LABELS, ci_seed=4)["uar_ci95"]
    assert first["uar_ci95"][0] < first["uar"] < first["uar_ci95"][1]


def test_many_tasks_from_few_speakers_do_not_narrow_the_interval():
    """What 600 tasks of six speakers do not tell is the seventh speaker."""
    rng = np.random.default_rng(6)
    few = simulated(rng, n_speakers=6, per_class=10)
    many = pd.concat([few.assign(task=task) for task in range(30)], ignore_index=True)
    width = [np.diff(metrics.summarise(data, LABELS)["uar_ci95"])[0] for data in (few, many)]
    assert width[1] == pytest.approx(width[0], rel=0.05)
    alone = np.percentile(
        intervals.uar_replicates(many.assign(speaker="one"), LABELS, 500, 0), [2.5, 97.5]
    )
    assert np.diff(alone)[0] < width[0] / 3


def test_one_speaker_few_speakers_and_unknown_speakers_are_said():
    data = simulated(np.random.default_rng(7), n_speakers=12)
    one = metrics.summarise(data[data["speaker"] == "s00"], LABELS, n_boot=100)
    assert one["uar_ci95"] is None and any("one test speaker" in note for note in one["notes"])
    few = metrics.summarise(data[data["speaker"] < "s04"], LABELS, n_boot=100)
    assert few["uar_ci95"] is not None and any(
        "4 test speakers: the interval is indicative" in note for note in few["notes"]
    )
    unknown = metrics.summarise(data.assign(speaker=""), LABELS, n_boot=100)
    assert (
        unknown["ci_unit"] == "utterance"
        and unknown["n_speakers"] == 0
        and any("speakers unknown" in note for note in unknown["notes"])
    )
    many = metrics.summarise(data, LABELS, n_boot=100, notes=["as given"])
    assert many["ci_unit"] == "speaker" and many["notes"] == ["as given"]


def test_same_speaker_name_in_two_corpora_is_two_speakers():
    data = simulated(np.random.default_rng(8), n_speakers=2)
    both = pd.concat(
        [data, data.assign(corpus="d", utt_id="d" + data["utt_id"])], ignore_index=True
    )
    assert metrics.summarise(both, LABELS, n_boot=10)["n_speakers"] == 4
    assert intervals.resampling_units(both)[0].nunique() == 4


def test_no_predictions_are_refused():
    with pytest.raises(PredictionError, match="no predictions"):
        metrics.summarise(table([], [], []), LABELS)


def test_coverage_of_the_interval_over_speakers_and_shared_draws():
    """Coarse: with 20 speakers and 5 shared draws, 95 % intervals hold the true rate in most of 40
    simulations, and are no wider than needed.
    """
    noise = np.random.default_rng(0).normal(0.5, np.hypot(0.7, 0.3), 200_000)
    truth = np.mean(1 / (1 + np.exp(-noise)))
    inside = 0
    for number in range(40):
        data = simulated(
            np.random.default_rng(100 + number), n_speakers=20, n_draws=5, draw_spread=0.3
        )
        low, high = np.percentile(intervals.uar_replicates(data, LABELS, 200, number), [2.5, 97.5])
        inside += low <= truth <= high
        assert high - low < 0.35
    assert 32 <= inside <= 40


def test_ten_thousand_predictions_take_about_a_second():
    rng = np.random.default_rng(9)
    names = np.array(LABELS, dtype=object)
    data = table(
        names[rng.integers(0, 4, 10_000)],
        names[rng.integers(0, 4, 10_000)],
        [f"s{i % 24}" for i in range(10_000)],
    )
    started = time.perf_counter()
    found = metrics.summarise(data, LABELS)
    assert time.perf_counter() - started < 3 and found["n_boot"] == 2000


def test_metrics_follow_from_the_csv_alone(tmp_path):
    data = simulated(np.random.default_rng(10), n_draws=2, n_tasks=3)
    stored = metrics.summarise(
        data, LABELS, 400, 11, preset="default", speaker_independence="independent", notes=["said"]
    )
    write_predictions(data, tmp_path / "predictions.csv")
    files.write_json(tmp_path / "metrics.json", stored)
    again = metrics.recompute(tmp_path)
    assert again.keys() == stored.keys()
    for name, value in stored.items():
        assert again[name] == (
            pytest.approx(value, abs=1e-12)
            if isinstance(value, float) or name == "uar_ci95"
            else value
        )
    data.loc[0, "pred"] = next(label for label in LABELS if label != data.loc[0, "pred"])
    write_predictions(data, tmp_path / "predictions.csv")
    assert metrics.recompute(tmp_path)["wa"] != stored["wa"]


def test_chance_of_tasks_in_which_few_labels_compete_is_stated_and_kept(tmp_path):
    """3-way tasks over four labels: guessing is right in a third of the cases, and the majority of
    a task is counted in that task.
    """
    rng, parts = np.random.default_rng(12), []
    for task in range(30):
        classes = rng.permutation(LABELS)[:3]
        true = np.repeat(classes, [4, 2, 2])
        parts.append(
            table(
                true,
                rng.choice(classes, 8),
                rng.choice(["s0", "s1", "s2"], 8),
                task=task % 10,
                draw=task // 10,
                seed=task % 2,
            )
        )
    data = pd.concat(parts, ignore_index=True)
    plain, given = (
        metrics.summarise(data, LABELS, n_boot=20, **more) for more in ({}, {"chance": 1 / 3})
    )
    assert (
        plain["chance"] == 0.25
        and plain["majority"] == data["true"].value_counts().max() / len(data)
        and not plain["chance_given"]
    )
    assert given["chance"] == 1 / 3 and given["majority"] == 0.5 and given["chance_given"]
    assert {name for name in plain if plain[name] != given[name]} == {
        "chance",
        "majority",
        "chance_given",
    }
    assert given["uar"] == pytest.approx(1 / 3, abs=0.12)
    for stored in (plain, given):
        write_predictions(data, tmp_path / "predictions.csv")
        files.write_json(tmp_path / "metrics.json", stored)
        assert (
            metrics.recompute(tmp_path)["chance"] == stored["chance"]
            and metrics.recompute(tmp_path)["majority"] == stored["majority"]
        )
    files.write_json(
        tmp_path / "metrics.json",
        {name: value for name, value in plain.items() if name != "chance_given"},
    )
    assert metrics.recompute(tmp_path)["chance"] == 0.25, (
        "a file written before chance could be given"
    )


@pytest.mark.parametrize("chance", [0, -0.5, 1.2, float("nan")])
def test_a_chance_that_is_no_rate_is_refused(chance):
    with pytest.raises(PredictionError, match="a rate above 0 and up to 1 is needed"):
        metrics.summarise(table(["anger"], ["anger"]), LABELS, chance=chance)
