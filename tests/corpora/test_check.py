"""Checks before training, each against a table in which the fault was put by hand."""

import dataclasses

import pandas as pd
import pytest

from colab_utils.corpora.cards import load_card, shipped_manifest
from colab_utils.corpora.check import check_manifest
from colab_utils.corpora.manifest import empty_row, validate

CARD = load_card("savee")


def finding(manifest, check, card=None):
    table = check_manifest(manifest, card)
    assert list(table.columns) == ["severity", "check", "detail"] and set(table["severity"]) <= {
        "error",
        "warning",
        "ok",
    }
    return [
        tuple(row)
        for row in table.loc[table["check"] == check, ["severity", "detail"]].itertuples(
            index=False
        )
    ]


def toy(tmp_path, number=6):
    rows = [
        {
            **empty_row("toy", f"{i}", speaker=f"{i % 3}", emotion="anger"),
            "file": str(tmp_path / "a.wav"),
            "audio_sha256": f"{i:064}",
        }
        for i in range(number)
    ]
    (tmp_path / "a.wav").write_bytes(b"x")
    return validate(pd.DataFrame(rows))


def test_a_sound_manifest_passes_every_check(tmp_path):
    assert set(check_manifest(toy(tmp_path))["severity"]) == {"ok"}
    bare = check_manifest(shipped_manifest("savee"), CARD).set_index("check")
    assert set(bare.drop(["same recording twice", "files"])["severity"]) == {"ok"}
    assert (
        bare.at["files", "severity"] == "warning"
        and "not checked" in bare.at["same recording twice", "detail"]
    )


def test_repeated_ids_and_recordings(tmp_path):
    df = toy(tmp_path)
    ((severity, detail),) = finding(pd.concat([df, df.iloc[[2]]]), "utterance ids")
    assert severity == "error" and "toy/2" in detail
    # 0 and 3: the same speaker
    same = df.assign(audio_sha256=["a", "b", "c", "a", "d", "e"])
    ((severity, detail),) = finding(same, "same recording twice")
    assert (
        severity == "warning"
        and "toy/0" in detail
        and "toy/3" in detail
        and "labelled" not in detail
    )
    across = df.assign(
        audio_sha256=["a", "a", "c", "d", "e", "f"], emotion=["anger", "fear", *["anger"] * 4]
    )
    ((severity, detail),) = finding(across, "same recording twice")
    assert severity == "error" and "anger and fear" in detail and "several speakers" in detail


def test_unknown_speakers_emotions_and_lost_files(tmp_path):
    df = toy(tmp_path)
    ((severity, detail),) = finding(df.assign(speaker=["", "1", "2", "", "1", "2"]), "speakers")
    assert severity == "warning" and "2 of 6" in detail and "toy/3" in detail
    ((severity, detail),) = finding(df.assign(emotion=["", "glee", *["anger"] * 4]), "emotions")
    assert severity == "warning" and "1 utterances without a label" in detail and "glee" in detail
    ((severity, detail),) = finding(
        df.assign(file=[str(tmp_path / "gone.wav"), *df["file"][1:]]), "files"
    )
    assert severity == "error" and "gone.wav" in detail


@pytest.mark.parametrize(("confidence", "severity"), [("V", "error"), ("R", "warning")])
def test_wrong_counts_weigh_as_much_as_what_is_known(confidence, severity):
    card = dataclasses.replace(CARD, counts={**CARD.counts, "confidence": confidence})
    rows = shipped_manifest("savee")
    assert finding(rows, "number of utterances", card)[0][0] == "ok"
    fewer = rows[rows["utt_id"] != "savee/DC_a03"]
    assert finding(fewer, "number of utterances", card) == [
        (severity, "savee: 479 found, 480 expected")
    ]
    assert finding(fewer, "utterances per emotion", card) == [
        (severity, "savee: anger 59 found, 60 expected")
    ]
    assert finding(fewer, "utterances per speaker", card) == [
        (severity, "savee: DC 119 found, 120 expected")
    ]
    assert finding(fewer, "number of speakers", card)[0][0] == "ok"
    assert finding(rows[rows["speaker"] != "DC"], "number of speakers", card) == [
        (severity, "savee: 3 found, 4 expected")
    ]


def test_other_corpora_in_the_table_do_not_count():
    both = pd.concat([shipped_manifest("savee"), shipped_manifest("emovo")], ignore_index=True)
    assert finding(both, "number of utterances", CARD)[0][0] == "ok"
    assert finding(shipped_manifest("emovo"), "number of utterances", CARD)[0] == (
        "error",
        "savee: 0 found, 480 expected",
    )


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("tess", "only two speakers"),
        ("savee", "Four folds"),
        ("emofilm", "Group any split by film"),
    ],
)
def test_what_the_folds_of_a_corpus_cannot_do_is_repeated(name, words):
    (row,) = (
        check_manifest(shipped_manifest("savee"), load_card(name))
        .query("check == 'folds'")
        .itertuples()
    )
    assert row.severity == "ok" and row.detail.startswith(f"{name}: ") and words in row.detail
