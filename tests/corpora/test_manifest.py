"""The manifest table, the choice of emotions, and the corpus cards."""

import time

import numpy as np
import pandas as pd
import pytest

from colab_utils.corpora import cards
from colab_utils.corpora.cards import (
    corpus_names,
    data_folder,
    frozen_folds,
    load_card,
    shipped_manifest,
)
from colab_utils.corpora.check import check_manifest
from colab_utils.corpora.emotions import CANONICAL, chosen_emotions, select_emotions
from colab_utils.corpora.manifest import (
    COLUMNS,
    LOCAL_COLUMNS,
    NUMBERS,
    ManifestError,
    empty_row,
    manifest_hash,
    read_manifest,
    read_table,
    speaker_keys,
    validate,
    write_manifest,
)


def table(number=6, corpus="toy"):
    """A manifest whose emotions and speakers go round."""
    emotions = ("anger", "excited", "calm", "happiness", "neutral", "")
    rows = [
        empty_row(
            corpus,
            f"{i:03}",
            speaker=f"{i % 4:02}",
            emotion=emotions[i % 6],
            emotion_raw=emotions[i % 6].upper(),
            valence=i / 7,
        )
        for i in range(number)
    ]
    return validate(pd.DataFrame(rows))


def test_a_manifest_comes_back_as_written(tmp_path):
    df = table(9).assign(
        file="/x/a.wav",
        sample_rate=16000,
        channels=1,
        duration=1.5,
        audio_sha256="ab",
        note="Ärger, „laut“",
    )
    back = read_manifest(write_manifest(df, tmp_path / "m.csv"))
    assert list(back.columns) == [*COLUMNS, "note"] and not set(LOCAL_COLUMNS) & set(back.columns)
    pd.testing.assert_frame_equal(back, df[[*COLUMNS, "note"]])
    assert (back["valence"].dtype, back["speaker"].iloc[1]) == (np.float64, "01") and back[
        "arousal"
    ].isna().all()
    assert b"\r" not in (tmp_path / "m.csv").read_bytes()


@pytest.mark.parametrize(
    ("separator", "encoding"),
    [(",", "utf-8"), (";", "utf-8-sig"), ("\t", "utf-8"), ("|", "utf-8-sig")],
)
def test_tables_of_spreadsheets_are_read(tmp_path, separator, encoding):
    (tmp_path / "t.csv").write_text(
        f"file{separator} Gefühl \r\n01{separator}NA\r\n02\r\n", encoding=encoding
    )
    assert read_table(tmp_path / "t.csv").to_dict("list") == {
        "file": ["01", "02"],
        "Gefühl": ["NA", ""],
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a readable CSV"),
        (b"a,b\n1,2\n1,2,3\n", "t.csv"),
        ("é,b".encode("latin-1"), "not UTF-8"),
    ],
)
def test_files_that_are_no_tables(tmp_path, content, message):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(ManifestError, match=message):
        read_table(tmp_path / "t.csv")
    with pytest.raises(ManifestError, match="no such file"):
        read_table(tmp_path / "gone.csv")


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("utt_id", "", "utt_id"),
        ("utt_id", "toy/000", "earlier row"),
        ("utt_id", "other/004", "<corpus>/<name>"),
        ("utt_id", "toy/", "<corpus>/<name>"),
        ("corpus", "", "is empty"),
        ("corpus", "to/y", "slash"),
        ("path", "", "is empty"),
        ("path", "/data/a", "absolute"),
        ("path", "C:/a", "absolute"),
        ("path", "a\\b", "backslashes"),
        ("path", "../a", r"\.\."),
        ("path", "a/./b", r"\.\."),
        ("path", "Wu\u0308tend/a", "NFC"),
        ("path", "a.WAV", "extension"),
        ("gender", "F", "female, male"),
        ("path", "C:x/../y", r"\.\."),
        ("emotion", "Anger", "capitals"),
        ("emotion", " anger", "spaces"),
        ("valence", "high", "not a finite number"),
        ("arousal", "inf", "not a finite number"),
    ],
)
def test_bad_cells_are_named_with_file_row_column_and_value(tmp_path, column, value, message):
    df = table().astype(dict.fromkeys(NUMBERS, object))
    df.loc[4, column] = value
    df.to_csv(tmp_path / "bad.csv", index=False)
    with pytest.raises(ManifestError, match=message) as caught:
        read_manifest(tmp_path / "bad.csv")
    assert all(
        part in str(caught.value)
        for part in (str(tmp_path / "bad.csv"), "row 6", f"column {column}", repr(value))
    )


def test_missing_columns_and_unknown_cells_are_named(tmp_path):
    table().drop(columns=["speaker", "film"]).to_csv(tmp_path / "m.csv", index=False)
    with pytest.raises(
        ManifestError, match="speaker, film.*found: utt_id.*expected: utt_id, corpus"
    ):
        read_manifest(tmp_path / "m.csv")
    with pytest.raises(ManifestError, match="row 3, column speaker: nan is not text"):
        validate(table().assign(speaker=["0", np.nan, "1", np.nan, "2", "3"]))
    with pytest.raises(ManifestError, match="no column film"):
        validate(table().drop(columns="film"))


def test_dots_inside_a_name_are_no_climbing():
    assert (
        validate(table().assign(path=["a.b/c", "..a/b", "a..", "a (3)", "x/y..z", "wav"]))[
            "path"
        ].iloc[1]
        == "..a/b"
    )


def test_the_hash_follows_the_content_only():
    df = table()
    assert (
        manifest_hash(df) == manifest_hash(df.sample(frac=1, random_state=0).assign(file="x"))
        and len(manifest_hash(df)) == 12
    )
    for column, value in (("emotion", "fear"), ("speaker", "99"), ("valence", 0.5), ("path", "q")):
        changed = df.copy()
        changed.loc[2, column] = value
        assert manifest_hash(changed) != manifest_hash(df), column


def test_speaker_keys_keep_corpora_apart():
    df = pd.concat([table(4, "one"), table(4, "two")], ignore_index=True)
    df.loc[0, "speaker"] = ""
    assert speaker_keys(df).tolist() == [
        "",
        "one/01",
        "one/02",
        "one/03",
        "two/00",
        "two/01",
        "two/02",
        "two/03",
    ]


def test_a_hundred_thousand_rows_in_three_seconds(tmp_path):
    number = 100_000
    lines = [
        f"big/S{i % 500}/Äußerung_{i:06},big,S{i % 500}/Äußerung_{i:06},{i % 500:03},,de,,,,,X,{CANONICAL[i % 12]},,0.25,{i / 7},"
        for i in range(number)
    ]
    (tmp_path / "big.csv").write_text("\n".join([",".join(COLUMNS), *lines]), encoding="utf-8")
    # a busy machine does not count; nothing here waits
    start = time.process_time()
    back = read_manifest(tmp_path / "big.csv")
    findings = check_manifest(back.assign(audio_sha256=back["path"]))
    seconds = time.process_time() - start
    assert len(back) == number and "error" not in set(findings["severity"]) and seconds < 3.0, (
        seconds
    )


def test_select_emotions_merges_and_accounts_for_every_utterance():
    df = table(30)
    kept, left = select_emotions(
        df, ["anger", "happiness", "neutral"], {"excited": "happiness", "calm": None}
    )
    expected = [{"excited": "happiness"}.get(emotion, emotion) for emotion in df["emotion"]]
    assert kept["emotion"].tolist() == [
        emotion for emotion in expected if emotion in ("anger", "happiness", "neutral")
    ]
    assert sorted([*kept["utt_id"], *left["utt_id"]]) == sorted(df["utt_id"])
    assert set(kept.loc[kept["emotion"] == "happiness", "emotion_raw"]) == {"EXCITED", "HAPPINESS"}
    assert left.groupby("emotion")["reason"].unique().map(list).to_dict() == {
        "calm": ["left out by merge"],
        "": ["has no emotion label"],
    }
    assert df["emotion"].tolist() == table(30)["emotion"].tolist()


def test_select_emotions_is_one_step_and_says_why_something_is_out():
    df = table(12)
    kept, _ = select_emotions(df, ["anger", "excited"], {"anger": "excited", "excited": "anger"})
    assert (kept["emotion"] == "anger").tolist() == (kept["emotion_raw"] == "EXCITED").tolist()
    _, left = select_emotions(df, ["anger"], {"excited": "happiness"})
    assert set(left.loc[left["emotion"] == "excited", "reason"]) == {
        "merged into an emotion that is not chosen"
    }
    assert set(left.loc[left["emotion"] == "happiness", "reason"]) == {
        "not among the chosen emotions"
    }
    coarse, _ = select_emotions(
        df, ["positive", "anger"], {"excited": "positive", "happiness": "positive"}
    )
    assert coarse["emotion"].value_counts().to_dict() == {"positive": 4, "anger": 2}


@pytest.mark.parametrize(
    ("emotions", "merge", "message"),
    [
        (["angry"], {}, "unknown emotion 'angry'; present: .*anger \\(2\\)"),
        (["anger"], {"exited": "happiness"}, "unknown emotion 'exited'"),
        (["anger"], {"excited": "hapiness"}, "unknown emotion 'hapiness'"),
        (["anger", "anger"], {}, "stands twice"),
        ([], {}, "no emotion chosen"),
        (["anger", "surprise"], {}, "no utterance of surprise"),
        (["excited"], {"excited": "happiness"}, "no utterance of excited"),
    ],
)
def test_emotions_that_cannot_be_meant(emotions, merge, message):
    with pytest.raises(ManifestError, match=message):
        select_emotions(table(12), emotions, merge)


def test_absent_emotions_on_purpose():
    kept, _ = select_emotions(table(12), ["anger", "surprise"], allow_absent=True)
    assert set(kept["emotion"]) == {"anger"}


def test_all_emotions_are_those_that_occur_after_merging():
    # anger excited calm happiness neutral and no label
    data = table(12)
    assert chosen_emotions(data, "all") == ["anger", "calm", "excited", "happiness", "neutral"]
    merge = {"excited": "happiness", "calm": None}
    assert chosen_emotions(data, "all", merge) == ["anger", "happiness", "neutral"]
    kept, left_out = select_emotions(data, chosen_emotions(data, "all", merge), merge)
    assert (
        kept["emotion"].value_counts().to_dict() == {"happiness": 4, "anger": 2, "neutral": 2}
        and len(left_out) == 4
    )
    assert (
        chosen_emotions(data, ("neutral", "anger"), merge)
        == ["neutral", "anger"]
        == chosen_emotions(data, "neutral, anger")
    )
    assert (
        chosen_emotions(data, "", merge)
        == chosen_emotions(data, [], merge)
        == chosen_emotions(data, "all", merge)
    )
    assert chosen_emotions(data, "anger") == ["anger"] and chosen_emotions(data[:0], "all") == []


def test_cards_say_what_they_must():
    assert corpus_names() == sorted(path.stem for path in data_folder().glob("*.yaml"))
    for name in corpus_names():
        card = load_card(name)
        assert (
            card.title
            and card.citation
            and card.license
            and card.url.startswith("http")
            and card.language
            and card.naming
        )
        # "" is for raters who did not agree
        assert set(card.label_map.values()) <= {*CANONICAL, ""}
        rows = shipped_manifest(name)
        assert rows is None or len(rows) == card.counts["utterances"]
        assert not card.folds.get("file") or (data_folder() / card.folds["file"]).is_file()
    synthetic = load_card("synthetic")
    assert (
        "synthetic" in synthetic.title.lower()
        and "never" in synthetic.note
        and not synthetic.counts
    )
    assert (
        load_card("ravdess").label_map["02"] == "calm"
        and load_card("emodb").label_map["L"] == "boredom"
    )
    with pytest.raises(ManifestError, match="unknown corpus 'iemocapp'; known: .*emodb, .*savee"):
        load_card("iemocapp")
    with pytest.raises(ManifestError, match="no frozen folds"):
        frozen_folds("emofilm")


GOOD_CARD = """{title: t, citation: c, license: l, access: open, url: http://x, language: de, label_map: {"01": anger}}"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("access: open", "access: maybe", "access"),
        ('"01"', "01", "quotes"),
        ("anger", "rage", "rage"),
        ("title: t,", "", "title"),
        ("title", "titel", "titel"),
        ("url", "counts: {utterances: 3}, url", "confidence"),
        ("url", "counts: {files: 3, confidence: V}, url", "files"),
        ("{title", "{title: [", "toy.yaml"),
    ],
)
def test_a_card_with_a_fault_is_refused(tmp_path, monkeypatch, old, new, message):
    monkeypatch.setattr(cards, "data_folder", lambda: tmp_path)
    (tmp_path / "toy.yaml").write_text(GOOD_CARD)
    assert cards.load_card("toy").label_map == {"01": "anger"}
    (tmp_path / "toy.yaml").write_text(GOOD_CARD.replace(old, new, 1))
    with pytest.raises(ManifestError, match=message):
        cards.load_card("toy")


def test_faulty_fold_files_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(cards, "data_folder", lambda: tmp_path)
    (tmp_path / "toy.yaml").write_text(GOOD_CARD.replace("url", "folds: {unit: session}, url"))
    (tmp_path / "folds").mkdir()
    for content, message in (
        ("speaker,fold\n1,0\n", "session, fold expected"),
        ("session,fold\n1,0\n1,1\n", "once"),
        ("session,fold\n1,a\n", "whole"),
    ):
        (tmp_path / "folds" / "toy.csv").write_text(content)
        with pytest.raises(ManifestError, match=message):
            cards.frozen_folds("toy")
    (tmp_path / "folds" / "toy.csv").write_text("session,fold\n01,0\n02,1\n")
    assert cards.frozen_folds("toy").to_dict("list") == {"session": ["01", "02"], "fold": [0, 1]}
