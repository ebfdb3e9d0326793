"""A user's own tables and folders: any column names, any layout, and a plain word wherever
something is missing.
"""

import unicodedata

import pandas as pd
import pytest

from colab_utils.corpora.manifest import COLUMNS, LOCAL_COLUMNS, ManifestError
from colab_utils.corpora.own_data import from_csv, from_folder, from_split_csvs


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def audio(tmp_path, tone):
    """Five tones of different pitch: data/a/1.wav ... data/b/5.wav."""
    for number in range(1, 6):
        tone(
            tmp_path / "data" / ("a" if number < 3 else "b") / f"{number}.wav",
            seconds=0.3,
            hz=100 * number,
        )
    return tmp_path / "data"


def test_a_csv_with_any_column_names(audio, capsys):
    table = write(
        audio / "meta.csv",
        "Datei;Gefühl;Person;Geschlecht;Erregung\na/1.wav;Angry;P1;w;0,5\n".replace("0,5", "0.5")
        + "a/2;HAPPY;P2;M;\nb\\3.wav;sehnsucht;P1;;3\n",
    )
    result = from_csv(
        table,
        wav="Datei",
        emotion="Gefühl",
        speaker="Person",
        gender="Geschlecht",
        arousal="Erregung",
    )
    df = result.manifest
    assert (
        list(df.columns) == [*COLUMNS, *LOCAL_COLUMNS]
        and result.problems.empty
        and result.card is None
    )
    assert df["utt_id"].tolist() == ["own/a/1", "own/a/2", "own/b/3"] and df["path"].tolist() == [
        "a/1",
        "a/2",
        "b/3",
    ]
    assert df["emotion"].tolist() == ["anger", "happiness", "sehnsucht"] and df[
        "emotion_raw"
    ].tolist() == ["Angry", "HAPPY", "sehnsucht"]
    assert df["speaker"].tolist() == ["P1", "P2", "P1"] and df["gender"].tolist() == [
        "female",
        "male",
        "",
    ]
    assert df["arousal"].iloc[[0, 2]].tolist() == [0.5, 3.0] and df["arousal"].isna().tolist() == [
        False,
        True,
        False,
    ]
    assert "unknown" not in capsys.readouterr().out


def test_root_absolute_paths_and_paths_that_climb(audio, tmp_path, capsys):
    rooted = from_csv(
        write(tmp_path / "tables" / "t.csv", "w,e\na/1.wav,anger\n"), "w", "e", root=audio
    ).manifest
    assert (rooted["utt_id"].tolist(), rooted["file"].tolist()) == (
        ["own/a/1"],
        [str(audio / "a" / "1.wav")],
    )
    table = write(
        tmp_path / "tables" / "t.csv", f"w,e\n{audio / 'a' / '1.wav'},anger\n../data/b/4.wav,fear\n"
    )
    apart = from_csv(table, "w", "e").manifest
    assert apart["utt_id"].tolist() == ["own/a/1", "own/b/4"]
    assert "own: the speaker of 2 of 2 utterances is unknown" in capsys.readouterr().out


def test_labels_are_lower_cased_and_english_words_understood(audio):
    table = write(audio / "t.csv", "w,e,s\na/1,W,1\na/2,Angry,1\nb/3,L,2\n")
    df = from_csv(table, "w", "e", "s").manifest
    assert df["emotion"].tolist() == ["w", "anger", "l"]
    assert df["emotion_raw"].tolist() == ["W", "Angry", "L"]


def test_a_wrong_header_names_what_is_there_and_what_was_asked(audio):
    table = write(audio / "t.csv", "file,label\na/1.wav,anger\n")
    message = (
        r"t\.csv: no column 'emo' \(for emotion\), 'spk' \(for speaker\); found: file, label;"
        r" expected: file, emo, spk"
    )
    with pytest.raises(ManifestError, match=message):
        from_csv(table, wav="file", emotion="emo", speaker="spk")
    with pytest.raises(
        ManifestError, match="'sex' is not a column of a manifest; possible: gender, language"
    ):
        from_csv(table, wav="file", emotion="label", sex="label")


@pytest.mark.parametrize(("column", "value"), [("gender", "unclear"), ("valence", "high")])
def test_a_value_that_cannot_be_read_is_named_by_row(audio, column, value):
    table = write(audio / "t.csv", f"w,e,x\na/1,anger,\n,,\nb/3,anger,{value}\n")
    with pytest.raises(ManifestError, match=f"t.csv, row 4, column x: '{value}'"):
        from_csv(table, "w", "e", **{column: "x"})


def test_bad_rows_are_problems_and_the_rest_goes_on(audio):
    (audio / "b" / "5.wav").write_bytes(b"")
    rows = (
        "w,e,s",
        "a/1.wav,anger,1",
        "a/gone.wav,anger,1",
        ",fear,1",
        "b/3.wav,,2",
        "b/5.wav,fear,2",
        "a/1.wav,fear,1",
        "b/4.wav,fear,2",
    )
    table = write(audio / "t.csv", "\n".join(rows))
    result = from_csv(table, "w", "e", "s")
    assert result.manifest["path"].tolist() == ["a/1", "b/4"]
    found = result.problems.set_index("file")["reason"].to_dict()
    assert set(found) == {"a/gone.wav", str(table), "b/3.wav", "b/5.wav", "a/1.wav"}
    assert (
        found["a/gone.wav"] == "no such file"
        and found["b/5.wav"].startswith("empty")
        and found["a/1.wav"].startswith("duplicate")
    )
    assert (
        "row 4" in found[str(table)]
        and "no audio file" in found[str(table)]
        and "row 5" in found["b/3.wav"]
        and "no emotion" in found["b/3.wav"]
    )
    with pytest.raises(ManifestError, match="no row has both"):
        from_csv(write(audio / "t.csv", "w,e\n,anger\n"), "w", "e")


def test_a_table_in_one_unicode_form_finds_files_in_the_other(audio, tone):
    tone(audio / unicodedata.normalize("NFD", "Ärger/Müller.wav"))
    table = write(
        audio / "t.csv", unicodedata.normalize("NFC", "w,e,s\nÄrger/Müller.wav,Ärger,Müller\n")
    )
    df = from_csv(table, "w", "e", "s").manifest
    assert df["path"].tolist() == [unicodedata.normalize("NFC", "Ärger/Müller")] and df[
        "emotion"
    ].tolist() == ["ärger"]


def test_the_cache_serves_own_tables_too(audio, decoded):
    table = write(audio / "t.csv", "w,e,s\na/1.wav,anger,1\na/2.wav,anger,1\n")
    first = from_csv(table, "w", "e", "s", cache=audio / "cache.csv")
    second = from_csv(table, "w", "e", "s", cache=audio / "cache.csv")
    assert sorted(decoded) == ["1.wav", "2.wav"] and first.manifest.equals(second.manifest)


def test_a_folder_for_each_emotion(tmp_path, tone, capsys):
    for file in ("Angry/1.wav", "Angry/deep/1.wav", "joy/1.wav", "loose.wav", "joy/._1.wav"):
        tone(tmp_path / "own" / file, seconds=0.2)
    write(tmp_path / "own" / "joy" / "readme.txt", "x")
    result = from_folder(tmp_path / "own")
    assert result.manifest["utt_id"].tolist() == ["own/Angry/1", "own/Angry/deep/1", "own/joy/1"]
    assert result.manifest["emotion"].tolist() == ["anger", "anger", "happiness"] and set(
        result.manifest["speaker"]
    ) == {""}
    assert dict(zip(result.problems["file"], result.problems["reason"].str[:6], strict=True)) == {
        "loose.wav": "lies i",
        "joy/._1.wav": "hidden",
    }
    assert (
        result.ignored == {".txt": 1}
        and "speaker of 3 of 3 utterances is unknown" in capsys.readouterr().out
    )
    (tmp_path / "flat").mkdir()
    tone(tmp_path / "flat" / "a.wav")
    with pytest.raises(ManifestError, match="one folder for each emotion"):
        from_folder(tmp_path / "flat")


def test_a_ready_made_split(audio, capsys):
    train = write(audio / "train.csv", "w,e,s\na/1.wav,anger,A\na/2.wav,fear,B\n")
    test = write(audio / "sub" / "test.csv", "w,e,s\nb/3.wav,anger,D\nb/4.wav,fear,E\n")
    result, split = from_split_csvs(train, test, "w", "e", "s", root=audio)
    assert split.to_dict("list") == {
        "utt_id": ["own/a/1", "own/a/2", "own/b/3", "own/b/4"],
        "role": ["train", "train", "test", "test"],
    }
    assert list(result.manifest.columns) == [*COLUMNS, *LOCAL_COLUMNS]
    assert result.manifest["utt_id"].tolist() == split["utt_id"].tolist()
    assert result.manifest["speaker"].tolist() == ["A", "B", "D", "E"]
    assert "unknown" not in capsys.readouterr().out


def test_splits_that_leak_are_said_or_refused(audio, tone, capsys):
    # the same samples as a/1.wav
    tone(audio / "b" / "copy.wav", seconds=0.3, hz=100)
    train = write(audio / "train.csv", "w,e,s\na/1.wav,anger,A\na/2.wav,fear,B\n")
    test = write(audio / "test.csv", "w,e,s\nb/copy.wav,anger,A\nb/4.wav,fear,E\n")
    from_split_csvs(train, test, "w", "e", "s")
    out = capsys.readouterr().out
    assert "1 speakers in both tables (not independent)" in out and ": A" in out
    assert "1 equal recordings in both tables" in out and "own/a/1, own/b/copy" in out
    from_split_csvs(train, test, "w", "e")
    assert "speaker of 4 of 4" in capsys.readouterr().out
    write(audio / "test.csv", "w,e,s\na/1.wav,anger,A\n")
    with pytest.raises(ManifestError, match=r"a/1\.wav stands in the tables test and train"):
        from_split_csvs(train, test, "w", "e", "s")


def test_tables_in_different_folders_share_one_root(tmp_path, tone):
    for side, hz in (("train", 200), ("test", 300)):
        tone(tmp_path / side / "1.wav", hz=hz)
        write(tmp_path / side / "t.csv", "w,e,s\n1.wav,anger," + side + "\n")
    result, split = from_split_csvs(
        tmp_path / "train" / "t.csv", tmp_path / "test" / "t.csv", "w", "e", "s"
    )
    assert split["utt_id"].tolist() == ["own/train/1", "own/test/1"] and isinstance(
        result.manifest, pd.DataFrame
    )


def test_a_missing_file_elsewhere_does_not_rename_the_others(audio):
    table = write(audio / "meta.csv", "f,e\na/1.wav,angry\n/no/where/z.wav,sad\n")
    result = from_csv(table, wav="f", emotion="e")
    assert result.manifest["utt_id"].tolist() == ["own/a/1"]
    assert (
        result.problems["reason"].tolist() == ["no such file"]
        and "no/where/z.wav" in result.problems["file"][0]
    )


def test_one_file_with_two_labels_names_both(audio):
    table = write(audio / "meta.csv", "f,e\na/1.wav,angry\na/1.wav,sad\na/2.wav,sad\na/2.wav,sad\n")
    reasons = from_csv(table, wav="f", emotion="e").problems["reason"].tolist()
    assert reasons[0].endswith(
        "a/1.wav, which is used with the label anger (this one says sadness)"
    ) and reasons[1].endswith("2.wav, which is used")


def test_a_header_in_the_other_unicode_form_is_found(audio):
    table = write(
        audio / "meta.csv", "f," + unicodedata.normalize("NFD", "Gefühl") + "\na/1.wav,angry\n"
    )
    for form in ("NFC", "NFD"):
        assert from_csv(table, wav="f", emotion=unicodedata.normalize(form, "Gefühl")).manifest[
            "emotion"
        ].tolist() == ["anger"]


def test_a_split_with_an_empty_table_and_a_folder_that_is_not_there(audio):
    train, test = (
        write(audio / "train.csv", "f,e\na/1.wav,angry\n"),
        write(audio / "test.csv", "f,e\n"),
    )
    with pytest.raises(ManifestError, match="test.csv: no row has both"):
        from_split_csvs(train, test, wav="f", emotion="e")
    with pytest.raises(ManifestError, match="nowhere: no such folder"):
        from_folder(audio / "nowhere")


def test_names_with_control_characters_are_problems_named_by_row(audio):
    table = write(
        audio / "t.csv",
        'w,e,s\na/1.wav,anger,an\tna\na/2.wav,"sad\nness",b\nb/3.wav,anger,b\n"b/4\r.wav",fear,b\n',
    )
    result = from_csv(table, "w", "e", "s")
    assert result.manifest["path"].tolist() == ["b/3"]
    told = result.problems["reason"].tolist()
    expected = [(2, "an\tna"), (3, "sad\nness"), (5, "b/4\r.wav")]
    for (row, text), reason in zip(expected, told, strict=True):
        assert f"row {row} of {table}" in reason and repr(text) in reason
    with pytest.raises(ManifestError, match="no row has both.*row 2"):
        from_csv(write(audio / "none.csv", "w,e\na/1.wav,an\tger\n"), "w", "e")


def test_folders_and_files_with_line_breaks_in_their_names_are_problems(audio, tone):
    tone(audio / "sad\nness" / "1.wav")
    tone(audio / "a" / "1\r.wav")
    result = from_folder(audio, cache=audio.parent / "cache.csv")
    assert len(result.manifest) == 5
    told = result.problems.set_index("file")["reason"].to_dict()
    for file in ("sad\nness/1.wav", "a/1\r.wav"):
        assert repr(f"own/{file.removesuffix('.wav')}") in told[file]
    again = from_folder(audio, cache=audio.parent / "cache.csv")
    pd.testing.assert_frame_equal(again.problems, result.problems)


def test_one_file_without_a_name_refuses_itself_alone(audio, tone):
    for name in (".wav", "..wav", "...wav"):
        tone(audio / "b" / name)
    rows = "".join(f"{file},anger\n" for file in ("a/1.wav", "b/.wav", "b/..wav", "b/...wav"))
    result = from_csv(write(audio / "t.csv", f"w,e\n{rows}"), "w", "e")
    assert result.manifest["path"].tolist() == ["a/1"]
    assert set(result.problems["file"]) == {"b/.wav", "b/..wav", "b/...wav"}
