"""The table of predictions: what is refused, and that a CSV brings back every bit."""

import numpy as np
import pandas as pd
import pytest

from colab_utils.results.predictions import (
    PREDICTION_COLUMNS,
    PredictionError,
    predictions_table,
    read_predictions,
    read_texts,
    validate,
    write_predictions,
)

LABELS = ["anger", "neutral", "sadness"]


def manifest_rows(n=4):
    return pd.DataFrame(
        {
            "utt_id": [f"emodb/{i}" for i in range(n)],
            "corpus": "emodb",
            "speaker": [f"0{i % 2 + 3}" for i in range(n)],
            "emotion": [LABELS[i % 3] for i in range(n)],
        }
    )


def make(n=4, **changes):
    given = np.random.default_rng(0).dirichlet(np.ones(3), size=n)
    facts = {"method": "logistic", "rule": "inductive", "seed": 1, "fold": "03", **changes}
    return predictions_table(manifest_rows(n), ["anger"] * n, LABELS, given, **facts)


def test_columns_types_and_order():
    table = make()
    assert list(table.columns) == [*PREDICTION_COLUMNS, "p_anger", "p_neutral", "p_sadness"]
    assert (
        table["seed"].dtype == table["draw"].dtype == np.int64
        and table["p_anger"].dtype == np.float64
    )
    assert list(table["true"]) == ["anger", "neutral", "sadness", "anger"] and list(
        table["speaker"]
    ) == ["03", "04", "03", "04"]
    without = table[list(PREDICTION_COLUMNS)]
    assert list(validate(without).columns) == list(PREDICTION_COLUMNS), "scores may be left out"


def test_csv_brings_back_every_bit_and_every_leading_zero(tmp_path):
    table = make(200)
    table.loc[0, "speaker"] = ""
    table.loc[1, "speaker"] = "NA"
    write_predictions(table, tmp_path / "predictions.csv")
    pd.testing.assert_frame_equal(
        read_predictions(tmp_path / "predictions.csv"), table, check_exact=True
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns="speaker"), "lack the column.*speaker"),
        (lambda t: t.assign(colour="red"), "unknown column.*colour"),
        (lambda t: t.assign(pred="boredom"), "emodb/0 has pred = 'boredom'"),
        (lambda t: t.assign(p_anger=0.9), "emodb/0 has scores"),
        (lambda t: t.assign(p_anger=-0.1), "probabilities that sum to 1"),
        (lambda t: t.assign(p_anger=np.nan), "probabilities that sum to 1"),
        (
            lambda t: pd.concat([t, t.tail(1)]),
            "emodb/3 is predicted twice in seed 1, fold 03, draw 0, task 0",
        ),
    ],
)
def test_what_cannot_be_evaluated_is_refused(change, message):
    with pytest.raises(PredictionError, match=message):
        validate(change(make()), LABELS)


def test_probabilities_of_the_wrong_shape_are_refused():
    with pytest.raises(PredictionError, match=r"shape \(4, 2\)"):
        predictions_table(
            manifest_rows(),
            ["anger"] * 4,
            LABELS,
            np.full((4, 2), 0.5),
            method="m",
            rule="r",
            seed=0,
            fold="0",
        )


HEADER = ",".join(PREDICTION_COLUMNS).encode()


@pytest.mark.parametrize(
    "content", [b"", b"method,rule\nm,r\n", b"\xff\xfe\x00", HEADER + b"\nm,r,x,0,0,0,u,c,s,a,b\n"]
)
def test_a_broken_file_is_named(tmp_path, content):
    (tmp_path / "predictions.csv").write_bytes(content)
    with pytest.raises(PredictionError, match="predictions.csv"):
        read_predictions(tmp_path / "predictions.csv")


@pytest.mark.parametrize("name", ["01", "an, other", "=1+1", "'quoted'", 'say "x"', "NA", ""])
def test_texts_alone_are_those_of_the_whole_table(tmp_path, name):
    path = write_predictions(make(30).assign(speaker=name), tmp_path / "predictions.csv")
    table, found = read_predictions(path), read_texts(path)
    for column in ("method", "rule", "fold", "utt_id", "corpus", "speaker", "true", "pred"):
        assert list(found[column]) == table[column].tolist()


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("p_anger", "colour"),
        lambda text: text.replace("speaker", "person"),
        lambda text: text + text.splitlines()[-1] + "\n",
        lambda text: text + text.splitlines()[-1].replace(",0,0,", ",00,0,") + "\n",
        lambda text: text.replace(",0,0,", f",{'9' * 30},0,", 1),
        lambda text: text.replace(",0.", ",0.9", 1),
        lambda text: text.replace(",0.", ",-0.", 1),
        lambda text: text.replace(",0.", ",nan0.", 1),
        lambda text: text.splitlines()[0] + "\n1,2\n",
        lambda text: "",
    ],
)
def test_texts_alone_are_refused_as_the_whole_table_is(tmp_path, change):
    path = write_predictions(make(30), tmp_path / "predictions.csv")
    path.write_text(change(path.read_text()))
    with pytest.raises(PredictionError) as expected:
        read_predictions(path)
    with pytest.raises(PredictionError) as found:
        read_texts(path)
    assert str(found.value) == str(expected.value)


def test_same_utterance_in_two_draws_is_fine():
    both = pd.concat([make(), make(draw=1)])
    assert len(validate(both, LABELS)) == 8
