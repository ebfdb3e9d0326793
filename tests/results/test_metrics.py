"""Rates against scikit-learn, what metrics.json says, and that it follows from predictions.csv."""

import json
import time

import hypothesis
import numpy as np
import pandas as pd
import pytest
from hypothesis import strategies as st
from sklearn import metrics as oracle

from colab_utils import files
from colab_utils.results import metrics, rates
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
        table(["anger", "anger", "sadness"], ["anger", "fear", "sadness"]),
        LABELS,
    )
    assert found["uar"] == pytest.approx((0.5 + 1.0) / 2)
    assert (
        found["labels_absent"] == ["happiness", "fear"]
        and found["per_class_recall"]["fear"] is None
    )
    assert found["chance"] == 0.5 and any("happiness, fear" in note for note in found["notes"])


def test_predictions_are_pooled_over_folds_within_a_draw_and_averaged_over_draws():
    data = simulated(np.random.default_rng(2), n_draws=3, n_seeds=2)
    found = metrics.summarise(data, LABELS)
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
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_one_speaker_few_speakers_and_unknown_speakers_have_no_interval():
    data = simulated(np.random.default_rng(7), n_speakers=12)
    for number, told in ((1, "1 test speaker:"), (2, "2 test speakers:"), (3, "3 test speakers:")):
        few = metrics.summarise(data[data["speaker"] < f"s{number:02}"], LABELS)
        assert few["uar_ci95"] is None and few["ci_df"] is None
        assert few["notes"] == [f"{told} no interval and no p, which need 4 or more"]
    four = metrics.summarise(data[data["speaker"] < "s04"], LABELS)
    assert four["uar_ci95"] is not None and (four["ci_df"], four["notes"]) == (3, [])
    unknown = metrics.summarise(data.assign(speaker=""), LABELS)
    assert (unknown["uar_ci95"], unknown["n_speakers"]) == (None, 0)
    assert "speakers unknown: no interval" in unknown["notes"][0]
    many = metrics.summarise(data, LABELS, notes=["as given"])
    assert many["ci_unit"] == "speaker" and many["notes"] == ["as given"]


def test_same_speaker_name_in_two_corpora_is_two_speakers():
    data = simulated(np.random.default_rng(8), n_speakers=2)
    both = pd.concat(
        [data, data.assign(corpus="d", utt_id="d" + data["utt_id"])], ignore_index=True
    )
    found = metrics.summarise(both, LABELS)
    assert found["n_speakers"] == 4 and found["uar_ci95"] is not None


def test_no_predictions_are_refused():
    with pytest.raises(PredictionError, match="no predictions"):
        metrics.summarise(table([], [], []), LABELS)


def test_ten_thousand_predictions_take_less_than_a_second():
    rng = np.random.default_rng(9)
    names = np.array(LABELS, dtype=object)
    data = table(
        names[rng.integers(0, 4, 10_000)],
        names[rng.integers(0, 4, 10_000)],
        [f"s{i % 24}" for i in range(10_000)],
    )
    started = time.perf_counter()
    found = metrics.summarise(data, LABELS)
    assert time.perf_counter() - started < 1 and found["uar_ci95"] is not None


def test_metrics_follow_from_the_csv_alone(tmp_path):
    data = simulated(np.random.default_rng(10), n_draws=2, n_tasks=3)
    stored = metrics.summarise(
        data, LABELS, preset="default", speaker_independence="independent", notes=["said"]
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
    plain, given = (metrics.summarise(data, LABELS, **more) for more in ({}, {"chance": 1 / 3}))
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


def test_a_file_of_an_earlier_version_has_no_calibration_and_a_foreign_one_is_named(tmp_path):
    path = tmp_path / "metrics.json"
    stored = metrics.summarise(table(["anger"], ["anger"]), LABELS)
    old = {name: value for name, value in stored.items() if name not in ("ece", "aurc")}
    files.write_json(path, old)
    assert metrics.read_metrics(path) == old
    files.write_json(path, stored | {"ece": "low"})
    with pytest.raises(PredictionError, match=r"metrics.json is foreign.* ece is 'low'"):
        metrics.read_metrics(path)
