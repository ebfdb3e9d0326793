"""Answers made elsewhere as a run: against naive counting, beside others, what is refused."""

import numpy as np
import pandas as pd
import pytest
from toy_predictions import LABELS, predictions

from colab_utils import session
from colab_utils.display import captions
from colab_utils.results.comparison import compare_runs
from colab_utils.results.folders import find_runs
from colab_utils.results.groups import ANY, chosen_runs, comparable_runs
from colab_utils.results.made_elsewhere import add_answers
from colab_utils.results.runs import open_run
from colab_utils.results.tables import methods_table
from colab_utils.settings import Settings
from colab_utils.utterance_tables import TableError


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.setattr(session, "environment", dict)


def asked(root, name="logistic", condition="", **chosen):
    """A finished run of 120 utterances by 12 speakers (more columns: see toy_predictions)."""
    table = predictions(**chosen)
    for label in LABELS:
        table[f"p_{label}"] = np.where(table["pred"] == label, 1.0, 0.0)
    columns = ["seed", "fold", "draw", "task", "utt_id", "speaker"]
    split = table[columns].assign(role="test")
    trained = split[:1].assign(utt_id="emodb/other", speaker=name, role="train")
    facts = {"task": "toy", "model": name, "condition": condition}
    run = open_run(root, "m", name, Settings(), facts, pd.concat([trained, split]))
    run.finish(table, LABELS, speaker_independence="independent")
    run.mark_done()
    return run


def answers(seed=1, n=120):
    """Probabilities, table by utt_id; every second one in another file order."""
    scores = np.random.default_rng(seed).dirichlet(np.ones(4), n)
    table = pd.DataFrame(scores, columns=[f"p_{label}" for label in LABELS])
    table.insert(2, "utt_id", [f"emodb/u{number}" for number in range(n)])
    return table.sample(frac=1, random_state=0)


def written(path, table):
    table.to_csv(path, index=False)
    return path


def naive_uar(run, said):
    """Mean recall, counted one utterance after the other, of an answer by utt_id."""
    right, all_of = dict.fromkeys(LABELS, 0), dict.fromkeys(LABELS, 0)
    for row in run.predictions.itertuples():
        all_of[row.true] += 1
        right[row.true] += said[row.utt_id] == row.true
    return sum(right[label] / all_of[label] for label in LABELS) / len(LABELS)


def test_probabilities_become_a_run_beside_the_others_with_their_truth_speakers_and_folds(
    tmp_path, capsys
):
    like, other = asked(tmp_path), asked(tmp_path, "other", seed=5)
    table = answers()
    table.loc[len(table)] = 0.25
    table["utt_id"] = table["utt_id"].astype(str)
    path = written(tmp_path / "llm v2.csv", table)
    questions = add_answers(comparable_runs(tmp_path), path, tmp_path)
    assert "answers to emodb, 4 emotions, 120 utterances" in capsys.readouterr().out
    (runs,) = questions.values()
    assert len(runs) == 3
    (made,) = [run for run in runs.values() if run.path not in (like.path, other.path)]
    found, truth = made.predictions, like.predictions
    names = ["seed", "fold", "draw", "task", "utt_id", "corpus", "speaker", "true"]
    assert found[names].equals(truth[names])
    assert made.split["role"].eq("test").all() and len(made.split) == 120 == len(like.split) - 1
    table = table.set_index("utt_id").filter(like="p_")
    scores = found.filter(like="p_").to_numpy()
    assert np.allclose(scores, table.loc[found["utt_id"], [f"p_{one}" for one in LABELS]])
    said = table.idxmax(axis=1).str.removeprefix("p_").to_dict()
    assert made.metrics["uar"] == pytest.approx(naive_uar(like, said))
    assert made.metrics["rule"] == ["made elsewhere"]
    assert made.metrics["speaker_independence"] == "unknown"
    assert "llm v2.csv (sha256" in made.metrics["notes"][0]
    stamps = captions.stamps(found, made.metrics)
    assert "Made elsewhere: how is not known here." in stamps
    assert compare_runs(made, like)["p"] is not None
    asked(tmp_path, "another, the first by name", seed=6)
    again = add_answers(comparable_runs(tmp_path), path, tmp_path)
    assert "done before, loaded" in capsys.readouterr().out
    assert [len(runs) for runs in again.values()] == [4]
    assert all(not one.problem for one in find_runs(tmp_path))


def test_emotions_alone_and_episodes_with_draws_keep_the_weights_of_what_was_asked(tmp_path):
    like = asked(tmp_path, draws=3, seeds=(0, 1))
    table = answers()
    said = table.set_index("utt_id").filter(like="p_").idxmax(axis=1).str.removeprefix("p_")
    renamed = said.replace({"happiness": "happy", "sadness": "depressed"}).rename("pred")
    path = written(tmp_path / "llm.csv", renamed.reset_index())
    questions = comparable_runs(tmp_path)
    merge = {"happy": "happiness", "depressed": "sadness"}
    runs = next(iter(add_answers(questions, path, tmp_path, like="logistic", merge=merge).values()))
    (made,) = [run for run in runs.values() if run.path != like.path]
    assert len(made.predictions) == 720 and made.metrics["ece"] is None
    assert made.metrics["uar"] == pytest.approx(naive_uar(like, said.to_dict()))
    assert methods_table(runs, next(iter(runs)))["p"].notna().sum() == 1
    with pytest.raises(TableError, match="has pred = 'd|happ.*that are not among anger, .* MERGE"):
        add_answers(questions, path, tmp_path)


def test_probabilities_are_merged_left_out_and_sum_to_one_again(tmp_path):
    asked(tmp_path)
    table = answers().rename(columns={"p_happiness": "p_happy", "p_sadness": "p_other"})
    table["p_joy"] = table["p_happy"] * 0.5
    table["p_happy"] *= 0.5
    path = written(tmp_path / "a.csv", table)
    merge = {"happy": "happiness", "joy": "happiness", "other": None}
    runs = next(iter(add_answers(comparable_runs(tmp_path), path, tmp_path, merge=merge).values()))
    made = next(iter(runs.values())).predictions
    table = table.set_index("utt_id").loc[made["utt_id"]]
    rest = 1 - table["p_other"].to_numpy()
    assert np.allclose(made["p_happiness"], 2 * table["p_joy"] / rest)
    assert np.allclose(made["p_anger"], table["p_anger"] / rest) and (made["p_sadness"] == 0).all()
    notes = next(iter(runs.values())).metrics["notes"]
    assert "no probability above 0 for sadness" in notes


def test_the_largest_question_that_is_answered_in_full_is_taken(tmp_path):
    small, large = asked(tmp_path, n=60, n_speakers=4), asked(tmp_path, "large", n=160)
    middle = asked(tmp_path, "middle", n=100)
    path = written(tmp_path / "a.csv", answers())
    questions = comparable_runs(tmp_path)
    assert len(questions) == 3
    first, *others = add_answers(questions, path, tmp_path).values()
    assert middle.path in [run.path for run in first.values()] and list(map(len, others)) == [1, 1]
    for like in ("logistic", small.path.name):
        first = next(iter(add_answers(questions, path, tmp_path, like=like).values()))
        assert small.path in [run.path for run in first.values()]
    with pytest.raises(
        TableError, match=r"answers 120 of 160 .* large-.* and lacks emodb/u120, emo"
    ):
        add_answers(questions, path, tmp_path, like=large.path.name)
    with pytest.raises(TableError, match="no finished run is called 'lo': choose from"):
        add_answers(questions, path, tmp_path, like="lo")
    with pytest.raises(TableError, match="choose from none"):
        add_answers({}, path, tmp_path)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda table: table.rename(columns={"p_anger": "p_angry"}), "p_angry is of no emotion am"),
        (lambda table: table.assign(p_anger=table["p_anger"] + 1), "has p_anger, .* that sum to 1"),
        (
            lambda table: table.assign(p_anger=-1.0, p_neutral=table["p_neutral"] + 1),
            "sum to 1 are",
        ),
        (lambda table: table.assign(p_anger="high"), "p_anger = 'high': a finite number"),
        (lambda table: table[["utt_id"]].assign(answer="anger"), "utt_id, answer: neither `pred` "),
        (lambda table: table[["utt_id"]].assign(pred=""), "pred = '', one of 120 answers"),
        (lambda table: table[["utt_id"]].assign(pred="Anger"), "pred = 'Anger', one of 120"),
        (lambda table: table[1:], "answers 119 of 120 utterances"),
        (lambda table: table.drop(columns="utt_id"), "has no utt_id"),
    ],
)
def test_what_is_no_answer_is_one_sentence_and_leaves_no_run(tmp_path, change, told):
    asked(tmp_path)
    path = written(tmp_path / "a.csv", change(answers()))
    with pytest.raises(TableError, match=told) as found:
        add_answers(comparable_runs(tmp_path), path, tmp_path)
    assert "\n" not in str(found.value) and str(path) in str(found.value)
    assert len(find_runs(tmp_path)) == 1


def test_answers_are_shown_however_good_they_are(tmp_path):
    for right in (0.5, 0.9, 0.7):
        asked(tmp_path, f"right {right}", right=right)
    path = written(tmp_path / "a.csv", answers())
    (runs,) = add_answers(comparable_runs(tmp_path), path, tmp_path).values()
    shown = chosen_runs(runs, most=2)
    assert [run.config["model"] for run in shown.values()] == ["right 0.9", "a"]


def test_answers_stand_with_the_shots_of_the_run_that_they_were_asked_as(tmp_path):
    """In its question, where all shots are together, and there again when runs are read anew."""
    for shots in (1, 5):
        asked(tmp_path, f"{shots} shots", condition=f"{shots}-shot")
    path = written(tmp_path / "llm.csv", answers())
    given = add_answers(comparable_runs(tmp_path), path, tmp_path, like="5-shots")
    anew = comparable_runs(tmp_path)
    for questions in (given, anew):
        with_them = [title for title, runs in questions.items() if "toy-llm" in runs]
        base = "emodb, 4 emotions, 120 utterances"
        assert sorted(with_them) == [f"{base}, 5-shot", f"{base}, {ANY}"]
