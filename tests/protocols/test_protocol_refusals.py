"""What a protocol refuses to build, and what it warns of: the fault is named in one sentence."""

import pandas as pd
import pytest
from fabricated import needed

from colab_utils.protocols.build import build_task
from colab_utils.protocols.folds import FoldError, LeakError
from colab_utils.protocols.published import Protocol, ProtocolError, Task, load_protocol


def refusal(corpora, name, task, change):
    """What is said of the task's manifest after a change."""
    protocol = load_protocol(name)
    table = change(needed(corpora, protocol.tasks[task]).copy())
    with pytest.raises(ProtocolError) as caught:
        build_task(protocol, task, table)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("emofsl", "I-R"),
        ("alexnet", "iemocap-speakers"),
        ("da_mldg", "2"),
        ("few_shot_ser", "agnostic"),
    ],
)
def test_a_wrong_count_is_refused_with_both_numbers(corpora, name, task):
    protocol = load_protocol(name)
    corpus = protocol.tasks[task].test["corpus"][0]
    expected = protocol.expected[corpus]["utterances"]

    def lose_one(table):
        wanted = (table["corpus"] == corpus) & (table["emotion"] == "happiness")
        if name == "alexnet":
            wanted &= table["style"] == "improvised"
        return table.drop(index=table.index[wanted][0])

    message = refusal(corpora, name, task, lose_one)
    assert corpus in message and str(expected - 1) in message and str(expected) in message


def test_a_recalled_count_only_warns_and_check_counts_can_be_waived(corpora, capsys):
    protocol = load_protocol("emofsl")
    table = needed(corpora, protocol.tasks["I-M"])
    angry = (table["corpus"] == "msp_improv") & (table["emotion"] == "anger")
    rows, _ = build_task(protocol, "I-M", table.drop(index=table.index[angry][0]))
    assert len(rows) == 5531 + 7797
    assert "7797 utterances where 7798 are recalled" in capsys.readouterr().out
    table = needed(corpora, protocol.tasks["I-R"])
    small = table.groupby(["corpus", "emotion", "speaker"], group_keys=False).head(3)
    rows, _ = build_task(protocol, "I-R", small, check_counts=False)
    assert len(rows) < 5531 and "warning" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "task", "unit"),
    [("emofsl", "I-R", "speaker"), ("few_shot_ser", "en+es-it", "film")],
)
def test_an_unknown_group_is_refused(corpora, name, task, unit):
    def forget(table):
        table.loc[table.index[table["emotion"] == "anger"][0], unit] = ""
        return table

    assert f"1 utterance(s) have no {unit}" in refusal(corpora, name, task, forget)


def test_a_missing_corpus_emotion_or_task_is_named(corpora):
    def without_ravdess(table):
        return table[table["corpus"] == "iemocap"]

    def without_anger(table):
        return table[(table["corpus"] == "iemocap") | (table["emotion"] != "anger")]

    assert "has no ravdess" in refusal(corpora, "emofsl", "I-R", without_ravdess)
    assert "no anger" in refusal(corpora, "emofsl", "I-R", without_anger)
    with pytest.raises(ProtocolError, match="no task 'R-R'; it has I-R"):
        build_task(load_protocol("emofsl"), "R-R", corpora["ravdess"])


def one_task(group, **rules):
    """A protocol of a single task "t"."""
    task = Task(name="t", **rules)
    return Protocol(name="x", title="", source="", metric="", group=group, tasks={"t": task})


def test_an_overlap_is_refused(corpora):
    """The same film on the training and the test side, as there are no film folds."""
    leaky = one_task(
        "film",
        train={"corpus": ["emofilm"], "language": ["en"]},
        test={"corpus": ["emofilm"], "language": ["it"]},
        emotions=load_protocol("few_shot_ser").tasks["agnostic"].emotions,
    )
    with pytest.raises(LeakError, match="film.*on both the training and the test side"):
        build_task(leaky, "t", corpora["emofilm"])


def test_an_emotion_that_nobody_trains_is_refused(corpora):
    silent = one_task(
        "speaker",
        train={"corpus": ["shemo"]},
        test={"corpus": ["aesdd"]},
        emotions=load_protocol("da_mldg").tasks["1"].emotions,
    )
    with pytest.raises(FoldError, match="nobody on the training side speaks disgust"):
        build_task(silent, "t", pd.concat([corpora["shemo"], corpora["aesdd"]]), check_counts=False)
