"""The manifest table: read, written, refused with file, row, column and value."""

import time

import numpy as np
import pandas as pd
import pytest
from small_manifest import table

from colab_utils.corpora.check import check_manifest
from colab_utils.corpora.emotions import CANONICAL
from colab_utils.corpora.manifest import (
    COLUMNS,
    LOCAL_COLUMNS,
    NUMBERS,
    ManifestError,
    manifest_hash,
    read_manifest,
    read_table,
    speaker_keys,
    validate,
    write_manifest,
)


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
        f"file{separator} Gefühl \r\n01{separator}NA\r\n\r\n02{separator}\r\n", encoding=encoding
    )
    assert read_table(tmp_path / "t.csv").to_dict("list") == {
        "file": ["01", "02"],
        "Gefühl": ["NA", ""],
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a readable CSV"),
        (b"a,b\n1,2\n1,2,3\n", "t.csv, line 3: 3 cell"),
        (b"a,b\n1,2\n1\n", "t.csv, line 3: 1 cell"),
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
        ("utt_id", "toy/a\nb", "control character"),
        ("speaker", "an\tna", "control character"),
        ("emotion", "ang\x7fer", "control character"),
        ("emotion_raw", "ang\x85er", "control character"),
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


@pytest.mark.slow
def test_a_hundred_thousand_rows_in_three_seconds(tmp_path):
    number = 100_000
    lines = [
        f"big/S{i % 500}/Äußerung_{i:06},big,S{i % 500}/Äußerung_{i:06},{i % 500:03},,de,,,,,X,"
        f"{CANONICAL[i % 12]},,0.25,{i / 7},"
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


@pytest.mark.parametrize("text", ["an\rna", "an\0na", "\udcff"])
def test_what_no_text_file_gives_back_is_refused_in_a_manifest(text):
    bad = table()
    bad.loc[1, "speaker"] = text
    with pytest.raises(ManifestError, match="row 3, column speaker") as caught:
        validate(bad)
    assert repr(text) in str(caught.value)


def test_a_nul_byte_is_named_with_its_line(tmp_path):
    """pandas drops what stands behind it in its cell: anger\0 would become another label."""
    (tmp_path / "t.csv").write_bytes(b"wav,emotion\na.wav,anger\nb.wav,ang\0er\n")
    with pytest.raises(ManifestError, match=r"t\.csv, line 3.*NUL"):
        read_table(tmp_path / "t.csv")


def test_formulas_among_the_texts_come_back_from_a_manifest(tmp_path):
    df = validate(table().assign(speaker=["-1", "=1+1", "'@x", "+", "a", "'"]))
    path = write_manifest(df, tmp_path / "m.csv")
    assert read_manifest(path)["speaker"].tolist() == df["speaker"].tolist()
    assert "'-1" in path.read_text() and "'=1+1" in path.read_text()
