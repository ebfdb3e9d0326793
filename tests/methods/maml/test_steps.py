"""Accuracy by inner step, support speakers and the table of methods: against naive loops, closed
forms and simulations with a known truth.
"""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from colab_utils.csv_files import write_csv
from colab_utils.methods.maml.steps import (
    STEP_COLUMNS,
    StepsError,
    accuracy_by_step,
    read_steps,
    steps_table,
    validate_steps,
)
from colab_utils.results import runs
from colab_utils.results.comparison import UnpairedError, compare, holm
from colab_utils.results.predictions import PredictionError
from colab_utils.results.runs import RunError, open_run
from colab_utils.results.support import SUPPORT_COLUMNS, support_speakers
from colab_utils.results.tables import METHOD_COLUMNS, methods_table, readable
from colab_utils.settings import setting

LABELS = ["anger", "neutral", "sadness"]


def made(n_tasks=8, n_steps=3, seeds=(0, 1), rng=None):
    rng = np.random.default_rng(0) if rng is None else rng
    return pd.concat(
        [
            steps_table(
                rng.random((n_tasks, n_steps + 1)), range(n_tasks), method="maml", seed=seed
            )
            for seed in seeds
        ],
        ignore_index=True,
    )


def test_a_row_for_each_task_and_step():
    values = np.array([[0.2, 0.5], [0.25, 1.0], [0.0, 0.1]])
    table = steps_table(values, [7, 3, 9], method="maml", seed=4)
    assert (
        list(table.columns) == list(STEP_COLUMNS)
        and table[["seed", "task", "step"]].dtypes.eq("int64").all()
    )
    assert [tuple(row) for row in table[["task", "step", "accuracy"]].to_numpy()] == [
        (7, 0, 0.2),
        (7, 1, 0.5),
        (3, 0, 0.25),
        (3, 1, 1.0),
        (9, 0, 0.0),
        (9, 1, 0.1),
    ]


def test_csv_brings_back_every_bit(tmp_path):
    table = made().assign(method="007")
    write_csv(tmp_path / "steps.csv", table)
    pd.testing.assert_frame_equal(read_steps(tmp_path / "steps.csv"), table, check_exact=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns="task"), "lacks column.*task"),
        (lambda t: t.assign(colour="red"), "unknown column.*colour"),
        (lambda t: t.head(0), "empty: run the method first"),
        (lambda t: t.assign(step=0.5), "step = 0.5: a whole number"),
        (lambda t: t.assign(task=np.nan), "task = nan: a whole number"),
        (lambda t: t.assign(accuracy=61.3), "task 0 of seed 0 has accuracy 61.3 at step 0"),
        (lambda t: t.assign(accuracy=np.nan), "has accuracy nan"),
        (lambda t: t.assign(step=t["step"] - 1), "at step -1"),
        (lambda t: pd.concat([t, t.tail(1)]), "step 3 of task 7, seed 1, method maml stands twice"),
        (lambda t: t.iloc[:-1], "maml: step 3 is there in 15 of 16 tasks"),
    ],
)
def test_what_makes_no_curve_is_refused(change, message, tmp_path):
    table = change(made())
    with pytest.raises(StepsError, match=message):
        validate_steps(table)
    table.to_csv(tmp_path / "steps.csv", index=False)
    with pytest.raises(StepsError, match="steps.csv: "):
        read_steps(tmp_path / "steps.csv")
    with pytest.raises(StepsError, match="absent.csv"):
        read_steps(tmp_path / "absent.csv")


def test_the_interval_of_one_seed_is_students_and_seeds_add_their_variance():
    table = made(n_tasks=5, seeds=(3, 8))
    one = accuracy_by_step(table[table["seed"] == 3])
    both = accuracy_by_step(table.sample(frac=1, random_state=0))
    for step in range(4):
        here = table[table["step"] == step]
        alone = here.loc[here["seed"] == 3, "accuracy"]
        limits = stats.ttest_1samp(alone, 0).confidence_interval(0.95)
        row = one.loc[step]
        low, high = max(0, limits.low), min(1, limits.high)
        assert (row["low"], row["high"]) == pytest.approx((low, high), abs=1e-12)
        of_seeds = here.groupby("seed")["accuracy"].mean()
        parts = here["accuracy"].var() / 10, of_seeds.var() / 2
        freedom = sum(parts) ** 2 / (parts[0] ** 2 / 9 + parts[1] ** 2 / 1)
        half = stats.t.ppf(0.975, freedom) * np.sqrt(sum(parts))
        row, mean = both.loc[step], here["accuracy"].mean()
        assert row["step"] == step and row["accuracy"] == pytest.approx(mean, abs=1e-12)
        low, high = max(0, mean - half), min(1, mean + half)
        assert (row["low"], row["high"]) == pytest.approx((low, high), abs=1e-12)


def test_the_interval_over_tasks_of_one_seed_is_that_of_a_mean():
    values = np.random.default_rng(1).normal(0.6, 0.1, (400, 2)).clip(0, 1)
    found = accuracy_by_step(steps_table(values, range(400), method="m", seed=0))
    half = 1.96 * values.std(axis=0) / np.sqrt(400)
    np.testing.assert_allclose(found["low"], values.mean(axis=0) - half, atol=0.08 * half[0])
    np.testing.assert_allclose(found["high"], values.mean(axis=0) + half, atol=0.08 * half[0])


def test_tasks_of_their_own_for_each_seed_give_no_narrower_interval_than_independent_tasks():
    table = made(n_tasks=200, n_steps=0, seeds=range(3))
    found = accuracy_by_step(table).iloc[0]
    independent = 2 * 1.96 * table["accuracy"].std() / np.sqrt(600)
    assert independent < found["high"] - found["low"] < 2.2 * independent


def test_seeds_count_too_and_one_value_has_no_interval():
    steady = pd.concat(
        [
            steps_table(np.full((10, 1), 0.4 + 0.1 * seed), range(10), method="m", seed=seed)
            for seed in range(3)
        ],
        ignore_index=True,
    )
    both = accuracy_by_step(steady).iloc[0]
    assert both["high"] - both["low"] > 0.05
    single = accuracy_by_step(made(n_tasks=1, seeds=(0,)))
    assert single[["low", "high"]].isna().all(axis=None) and single["accuracy"].notna().all()
    with pytest.raises(StepsError, match="several methods .a, b.: choose one"):
        accuracy_by_step(pd.concat([made().assign(method=name) for name in "ab"]))


def episodes(rng, effect=None, ease=None, n_tasks=60, seeds=(0,), n_speakers=6, per_class=3):
    """A split and predictions of tasks with disjoint support and query speakers; `effect` of a
    support and `ease` of a query speaker on the rate.
    """
    effect, ease = (
        np.zeros(n_speakers) if given is None else np.asarray(given) for given in (effect, ease)
    )
    names, split, rows = [f"{i:02d}" for i in range(n_speakers)], [], []
    for seed in seeds:
        for task in range(n_tasks):
            order = rng.permutation(n_speakers)
            cut = rng.integers(1, n_speakers)
            cell = {"seed": seed, "fold": "0", "draw": 0, "task": task}
            split += [
                {**cell, "utt_id": f"c/s{s}", "speaker": f"c/{names[s]}", "role": "support"}
                for s in order[:cut]
            ]
            for label, true in enumerate(LABELS):
                for k in range(per_class):
                    s = rng.choice(order[cut:])
                    hit = rng.random() < 0.5 + effect[order[:cut]].sum() + ease[s]
                    split.append(
                        {
                            **cell,
                            "utt_id": f"c/{true}{k}{s}",
                            "speaker": f"c/{names[s]}",
                            "role": "query",
                        }
                    )
                    rows.append(
                        {
                            "method": "m",
                            "rule": "r",
                            **cell,
                            "utt_id": f"c/{true}{k}{s}",
                            "corpus": "c",
                            "speaker": names[s],
                            "true": true,
                            "pred": true if hit else LABELS[(label + 1) % 3],
                        }
                    )
    return pd.DataFrame(split), pd.DataFrame(rows)


def test_support_speakers_against_naive_loops():
    split, predictions = episodes(np.random.default_rng(2), n_tasks=12, seeds=(0, 1))
    found = support_speakers(split, predictions)
    assert list(found.columns) == list(SUPPORT_COLUMNS) and list(found["difference"]) == sorted(
        found["difference"], reverse=True
    )
    for row in found.itertuples():
        rates = {True: [], False: []}
        for (seed, task), part in predictions.groupby(["seed", "task"]):
            there = split[
                (split["seed"] == seed) & (split["task"] == task) & (split["role"] == "support")
            ]["speaker"]
            others = [
                one.true == one.pred
                for one in part.itertuples()
                if f"{one.corpus}/{one.speaker}" != row.speaker
            ]
            if others:
                rates[row.speaker in set(there)].append(np.mean(others))
        assert (row.tasks_with, row.tasks_without) == (len(rates[True]), len(rates[False]))
        assert (row.accuracy_with, row.accuracy_without) == pytest.approx(
            (np.mean(rates[True]), np.mean(rates[False])), abs=1e-12
        )
        assert row.difference == pytest.approx(row.accuracy_with - row.accuracy_without, abs=1e-12)
        assert (
            row.with_low <= row.accuracy_with <= row.with_high
            and row.low <= row.difference <= row.high
        )


def test_a_speaker_who_is_hard_to_recognise_does_not_look_helpful_in_the_support():
    """Speaker 00 is never understood; that tasks with 00 in the support are easier, because they do
    not ask for 00, is no merit of 00.
    """
    split, predictions = episodes(
        np.random.default_rng(3), ease=[-0.45, 0.1, 0.1, 0.1, 0.1, 0.1], n_tasks=300
    )
    found = support_speakers(split, predictions).set_index("speaker").loc["c/00"]
    with_00 = set(split.loc[(split["role"] == "support") & (split["speaker"] == "c/00"), "task"])
    right = (
        (predictions["true"] == predictions["pred"])
        .groupby(predictions["task"].isin(with_00))
        .mean()
    )
    assert right[True] - right[False] > 0.08, "the plain difference would praise 00"
    assert found["low"] < 0 < found["high"] and abs(found["difference"]) < 0.05


def test_a_speaker_who_helps_is_found():
    split, predictions = episodes(
        np.random.default_rng(4), effect=[0.2, 0, 0, 0, 0, 0], n_tasks=300
    )
    found = support_speakers(split, predictions)
    assert found["speaker"].iloc[0] == "c/00"
    assert found["low"].iloc[0] > 0 and found["low"].iloc[0] < 0.2 < found["high"].iloc[0] + 0.03
    assert (found["low"].iloc[1:] < 0.02).all()


def test_always_or_never_in_the_support_gives_no_difference():
    split, predictions = episodes(np.random.default_rng(5), n_tasks=10)
    always = split[split["role"] == "support"].drop_duplicates("task").assign(speaker="c/99")
    found = (
        support_speakers(pd.concat([split, always]), predictions).set_index("speaker").loc["c/99"]
    )
    assert (found["tasks_with"], found["tasks_without"]) == (10, 0) and np.isnan(
        found[["difference", "low", "accuracy_without"]].astype(float)
    ).all()
    one = support_speakers(split[split["task"] == 0], predictions[predictions["task"] == 0])
    assert (
        one[["with_low", "with_high", "low", "high"]].isna().all(axis=None)
        and one["accuracy_with"].notna().all()
    )


def test_support_speakers_says_what_it_lacks():
    split, predictions = episodes(np.random.default_rng(6), n_tasks=4)
    with pytest.raises(
        PredictionError,
        match=(
            r"1 predicted task\(s\) have no support in the split \(such as seed 0, fold 0, draw 0,"
            r" task 3\)"
        ),
    ):
        support_speakers(split[split["task"] < 3], predictions)
    with pytest.raises(PredictionError, match="speakers unknown"):
        support_speakers(split, predictions.assign(speaker=""))
    with pytest.raises(PredictionError, match="one finished few-shot run"):
        support_speakers(split[split["role"] == "query"], predictions)


@pytest.fixture
def make_runs(tmp_path):
    """Finished runs of the same tasks under different skills, by name."""
    import dataclasses

    @dataclasses.dataclass(frozen=True)
    class Skill:
        skill: float = setting(0.0, "rate above a half", low=-0.5, high=0.5)

    def make(**skills):
        found = {}
        for name, skill in skills.items():
            split, predictions = episodes(
                np.random.default_rng(7), ease=np.full(6, skill), n_tasks=20
            )
            run = open_run(tmp_path, "maml", name, Skill(skill), {"preset": "default"}, split)
            run.finish(
                predictions.assign(method=name),
                LABELS,
                chance=1 / 3,
                speaker_independence="independent",
            )
            run.mark_done()
            found[name] = runs.load_run(run.path)
        return found

    return make


def test_methods_stand_side_by_side_with_their_paired_difference(make_runs):
    found = make_runs(prototype=0.0, maml=0.2, guess=-0.2)
    table = methods_table(found, "prototype")
    assert list(table["method"]) == ["prototype", "maml", "guess"] and list(table.columns) == list(
        METHOD_COLUMNS
    )
    for row in table.itertuples():
        metrics = found[row.method].metrics
        assert (row.uar, [row.low, row.high], row.wa, row.chance) == (
            metrics["uar"],
            metrics["uar_ci95"],
            metrics["wa"],
            1 / 3,
        )
        assert (row.rule, row.speaker_independence, row.ci_unit) == ("r", "independent", "speaker")
    pair = found["maml"], found["prototype"]
    expected = compare(*[run.predictions for run in pair], LABELS, tuple(run.split for run in pair))
    unknown = compare(*[run.predictions for run in pair], LABELS)
    assert expected["notes"] == [] and "support speakers unknown" in unknown["notes"][0]
    maml = table.iloc[1]
    assert (maml["difference"], maml["difference_low"], maml["difference_high"]) == (
        expected["difference"],
        *expected["difference_ci95"],
    )
    assert (maml["p"], maml["test"]) == (expected["p"], expected["test"])
    np.testing.assert_array_equal(table["p_holm"], holm(table["p"]))
    assert (table["n_contrasts"] == 2).all() and (table["notes"] == "").all()
    assert table.iloc[0][["difference", "p", "p_holm"]].isna().all()
    assert table.iloc[0]["test"] == ""
    text = readable(table)
    assert text.loc["maml", "UAR %"] == f"{100 * maml['uar']:.1f}" and text.loc[
        "maml", "difference"
    ].startswith("+")
    assert (text["speakers"] == 6).all() and "notes" in text and "p (Holm, 2 contrasts)" in text
    assert text.loc["prototype", "p"] == "" and text.loc["maml", "p"] in (
        "< 0.001",
        f"{maml['p']:.3f}",
    )
    assert text.loc["prototype", "difference"] == "" and text.loc["guess", "difference"].startswith(
        "-"
    )


def test_methods_of_other_tasks_are_not_compared(make_runs):
    found = make_runs(prototype=0.0, maml=0.1)
    with pytest.raises(
        PredictionError, match="no run named 'ProtoNet': choose from prototype, maml"
    ):
        methods_table(found, "ProtoNet")
    less = found["maml"].predictions
    less["utt_id"] = "d/" + less["utt_id"].str.removeprefix("c/")
    found["maml"].finish(less, LABELS)
    with pytest.raises(UnpairedError, match="maml against prototype: not paired"):
        methods_table(found, "prototype")
    (found["maml"].path / "metrics.json").unlink()
    with pytest.raises(RunError, match="no metrics yet"):
        methods_table(found, "prototype")


@given(st.integers(1, 12), st.integers(0, 4), st.integers(1, 3))
@settings(max_examples=20, deadline=None)
def test_the_mean_lies_in_its_interval(n_tasks, n_steps, n_seeds):
    found = accuracy_by_step(made(n_tasks, n_steps, range(n_seeds)))
    there = found.dropna()
    assert (
        len(found) == n_steps + 1
        and (there["low"] <= there["accuracy"] + 1e-9).all()
        and (there["accuracy"] <= there["high"] + 1e-9).all()
    )
