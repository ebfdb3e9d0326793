"""Runs of one question: found across methods, named apart, chosen by words, and compared."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from colab_utils import session
from colab_utils.display import side_by_side
from colab_utils.panel.panel import Panel
from colab_utils.results import groups
from colab_utils.results.predictions import PredictionError
from colab_utils.results.runs import open_run
from colab_utils.results.tables import methods_table

LABELS = ["anger", "sadness"]


@dataclasses.dataclass(frozen=True)
class Config:
    rate: float = 0.5


def table(right, corpus="aa", speakers=4, each=6, flip=False):
    rng = np.random.default_rng(0)
    rows = [
        (f"{corpus}/{who}-{label}-{i}", corpus, f"s{who}", label)
        for who in range(speakers)
        for label in LABELS
        for i in range(each)
    ]
    frame = pd.DataFrame(rows, columns=["utt_id", "corpus", "speaker", "true"])
    if flip:
        frame.loc[0, "true"] = "sadness"
    other = {"anger": "sadness", "sadness": "anger"}
    pred = [true if rng.random() < right else other[true] for true in frame["true"]]
    return frame.assign(pred=pred, method="m", rule="inductive", seed=0, fold="0", draw=0, task=0)


def make(root, method, name, rate, predictions, done=True, **facts):
    split = pd.DataFrame(
        {
            "utt_id": ["x/1"],
            "speaker": ["x/s"],
            "fold": "0",
            "seed": 0,
            "draw": 0,
            "task": 0,
            "role": "train",
        }
    )
    run = open_run(root, method, name, Config(rate), {"task": name, **facts}, split)
    run.finish(predictions, LABELS)
    if done:
        run.mark_done()
    return run


@pytest.fixture(scope="module", autouse=True)
def quick():
    """Nobody asks here what a run was made with."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "environment", dict)
        yield


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Runs of three questions, one of them not finished, and a torn folder."""
    tmp_path = tmp_path_factory.mktemp("runs")
    make(tmp_path, "baselines", "aa-logmel-logistic", 0.1, table(0.6))
    make(tmp_path, "emofsl", "bb-aa-EMOFSL-head-5shot", 0.1, table(0.9))
    make(tmp_path, "emofsl", "bb-aa-EMOFSL-head-15shot", 0.1, table(0.8))
    make(tmp_path, "emofsl", "bb-aa-EMOFSL-head-15shot", 0.2, table(0.7))
    make(tmp_path, "emofsl", "bb-aa-unfinished", 0.2, table(0.7), done=False)
    make(tmp_path, "baselines", "cc-logistic", 0.1, table(0.6, corpus="cc"))
    make(tmp_path, "baselines", "aa-other-labels", 0.1, table(0.6, flip=True))
    (tmp_path / "runs" / "emofsl" / "torn-0123456789ab").mkdir()
    (tmp_path / "runs" / "emofsl" / "torn-0123456789ab" / "config.json").write_text("{")
    return tmp_path


def test_runs_of_the_same_utterances_are_found_whoever_made_them(root, capsys):
    found = groups.comparable_runs(root)
    assert "left out" in capsys.readouterr().out
    titles = list(found)
    assert titles == [
        f"{title}, 2 emotions, 48 utterances{number}"
        for title, number in (("aa", " (1)"), ("aa", " (2)"), ("cc", ""))
    ]
    first = found[titles[0]]
    assert len(first) == 4 and "aa-logmel-logistic" in first and "bb-aa-EMOFSL-head-5shot" in first
    twins = [name for name in first if "15shot" in name]
    assert len(twins) == 2 and all(len(name.split(" ")[1]) == 4 for name in twins), (
        "runs of one name are told apart by their hash"
    )
    assert {run.config["settings"]["rate"] for name, run in first.items() if name in twins} == {
        0.1,
        0.2,
    }
    assert groups.comparable_runs(root / "nowhere") == {}


@pytest.fixture(scope="module")
def like_and_unlike(tmp_path_factory):
    """Runs on the same 48 utterances: 5-shot thrice, 1-shot, clean and in noise, in episodes."""
    root = tmp_path_factory.mktemp("like")
    for name, condition, right in (
        ("aa-x-5shot", "5-shot", 0.9),
        ("aa-y-5shot", "5-shot", 0.8),
        ("aa-z-5shot", "5-shot", 0.7),
        ("aa-x-1shot", "1-shot", 0.6),
        ("aa-linear", "", 0.6),
        ("aa-net", "clean", 0.7),
        ("aa-net-pink", "pink@10", 0.5),
    ):
        make(root, "m", name, 0.1, table(right), condition=condition)
    make(root, "maml", "aa-episodes", 0.1, table(0.6), test={"ways": 2, "shots": 5, "steps": 1})
    mixed = table(0.6).assign(method=["one", "two"] * 24)
    make(root, "m", "aa-mixed", 0.1, mixed)
    return root


def test_like_is_compared_with_like_and_the_rest_together_at_the_end(like_and_unlike, capsys):
    questions = groups.comparable_runs(like_and_unlike)
    assert "aa-mixed" in capsys.readouterr().out, "several methods in one are left out and named"
    base = "aa, 2 emotions, 48 utterances"
    names = {title: sorted(runs) for title, runs in questions.items()}
    assert names == {
        f"{base}, 5-shot": ["aa-x-5shot", "aa-y-5shot", "aa-z-5shot"],
        base: ["aa-linear", "aa-net"],
        f"{base}, 1-shot": ["aa-x-1shot"],
        f"{base}, 2-way 5-shot": ["aa-episodes"],
        f"{base}, pink@10": ["aa-net-pink"],
        f"{base}, {groups.ANY}": sorted(set().union(*names.values())),
    }
    assert list(questions)[0] == f"{base}, 5-shot" and list(questions)[-1].endswith(groups.ANY)
    assert groups.first_question(questions) == f"{base}, 5-shot"
    assert groups.first_question(questions, "1shot") == f"{base}, 1-shot"
    assert groups.first_question(questions, "linear") == base
    assert groups.first_question(questions, "net", against="aa-net") == base
    assert groups.first_question(questions, "5shot", "aa-linear") == f"{base}, {groups.ANY}"
    start = groups.choices(questions, "1shot")["question"].default
    assert start == f"{base}, 1-shot"


def test_what_is_shown_says_its_question(like_and_unlike, capsys):
    questions = groups.comparable_runs(like_and_unlike)
    capsys.readouterr()
    runs, _ = side_by_side.show_side_by_side(questions, words="1shot")
    assert len(runs) == 1
    assert "1 of 1 runs, the best first. Question: aa, 2 emotions, 48 utterances, 1-shot." in (
        capsys.readouterr().out
    )
    runs, told = side_by_side.show_side_by_side(questions, against="aa-z-5shot")
    assert list(runs) == ["x-5shot", "y-5shot", "z-5shot"], "the best first"
    assert told.index[told["difference"] == ""].tolist() == ["z-5shot"]
    many = {f"q{number:02d}": {"a": None} for number in range(15)}
    side_by_side.show_questions(many)
    printed = capsys.readouterr().out
    assert "1 runs: q11" in printed and "q12" not in printed and "... and 3 more" in printed


def test_words_begin_a_part_of_a_name(root):
    runs = groups.comparable_runs(root)["aa, 2 emotions, 48 utterances (1)"]
    assert list(groups.chosen_runs(runs, "5shot")) == ["bb-aa-EMOFSL-head-5shot"]
    assert (
        len(groups.chosen_runs(runs, "bb-aa -5shot")) == 2
        and len(groups.chosen_runs(runs, "head")) == 3
    )
    rates = [run.metrics["uar"] for run in groups.chosen_runs(runs).values()]
    assert rates == sorted(rates, reverse=True) and len(groups.chosen_runs(runs, most=2)) == 2
    with pytest.raises(
        ValueError, match="no run's name holds 'nothing': there are aa-logmel-logistic"
    ):
        groups.chosen_runs(runs, "nothing")


def test_the_comparison_is_that_of_methods_table(root):
    questions = groups.comparable_runs(root)
    panel = Panel(
        None,
        run=lambda **chosen: groups.compared(questions, **chosen),
        choices=groups.choices(questions),
    )
    runs, found = panel.run_once()
    best = next(iter(runs))
    assert best == "bb-aa-EMOFSL-head-5shot" and np.isnan(
        found.set_index("method").loc[best, "difference"]
    )
    pd.testing.assert_frame_equal(found, methods_table(runs, best))
    panel.set(words="bb", against="bb-aa-EMOFSL-head-5shot")
    runs, found = groups.compared(questions, **panel.chosen)
    assert list(runs)[0] == "5shot" and (found["difference"].dropna() < 0).all(), (
        "what all names begin with is left out"
    )
    panel.set(against="nobody")
    with pytest.raises(PredictionError, match="no run named 'nobody'"):
        groups.compared(questions, **panel.chosen)


@pytest.mark.parametrize("method", ["few-shot", "domains", "spectrograms"])
def test_runs_of_the_rooms_old_names_stay_readable(tmp_path, method):
    """Their folders, facts and parts look as they did before the contract."""
    make(tmp_path, method, "old", 0.5, table(0.6))
    make(tmp_path, "maml", "new", 0.6, table(0.9))
    questions = groups.comparable_runs(tmp_path)
    runs, found = groups.compared(questions, next(iter(questions)))
    assert {run.config["method"] for run in runs.values()} == {method, "maml"} and len(found) == 2
