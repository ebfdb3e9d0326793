"""Own tables and folders as people have them: files elsewhere, ids in several spellings, folders of
speakers, wrappers and splits, pieces of files.
"""

import pathlib
import shutil

import pandas as pd
import pytest

from colab_utils.corpora import ManifestError, choose_utterances, from_csv, from_folder, open_corpus
from colab_utils.corpora.decode import without_extension

ROWS = "w,e,s\n"


@pytest.fixture
def tones(tmp_path, tone):
    """Makes tones of different pitch below data/."""

    def make(*files):
        for number, file in enumerate(files):
            tone(tmp_path / "data" / file, seconds=0.2, hz=100 + 10 * number)
        return tmp_path / "data"

    return make


def table(folder, *cells, label="angry", name="t.csv"):
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f"{cell},{label},s{number % 2}\n" for number, cell in enumerate(cells)]
    (folder / name).write_text(ROWS + "".join(lines))
    return from_csv(folder / name, "w", "e", "s")


def problems(scan):
    return dict(zip(scan.problems["file"], scan.problems["reason"], strict=True))


@pytest.mark.parametrize(
    ("there", "cell"),
    [
        ("wav/a.wav", "a.wav"),
        ("wav/a.wav", r"C:\Users\me\corpus\a.wav"),
        ("wav/a.wav", "/content/drive/MyDrive/corpus/a"),
        ("wav/a.flac", "a.wav"),
        ("wav/a.wav", "wav/a.mp4"),
        ("Wav/A.WAV", "wav/a.wav"),
        ("wav/a.b.wav", "A.B.mp3"),
        ("deep/er/Ä.wav", "ä.wav"),
    ],
)
def test_files_are_found_by_name_and_that_is_said(tones, capsys, there, cell):
    scan = table(tones(there, "wav/other.wav"), cell)
    assert scan.manifest["path"].tolist() == [without_extension(there)]
    told = capsys.readouterr().out
    assert "1 of 1 files" in told and "found by name" in told and there in told


def test_a_table_in_a_folder_of_its_own_finds_the_files_beside_it(tones):
    data = tones("wav/a.wav", "wav/b.wav")
    scan = table(data / "labels", "a.wav", "b")
    assert [pathlib.Path(file).name for file in scan.manifest["file"]] == ["a.wav", "b.wav"]


def test_the_file_with_most_folders_in_common_is_taken(tones):
    data = tones("all/s1/a.wav", "all/s2/a.wav")
    scan = table(data, r"D:\x\s2\a.wav", r"D:\x\s1\a.wav")
    assert scan.manifest["path"].tolist() == ["all/s2/a", "all/s1/a"]


def test_two_files_of_one_name_are_a_problem_that_names_both(tones):
    data = tones("x/a.wav", "y/a.wav", "z/b.flac", "z/b.mp3", "ok.wav")
    reasons = problems(table(data, "ok.wav", "q/a.wav", "z/b.wav"))
    for file, both in (("q/a.wav", ("x/a.wav", "y/a.wav")), ("z/b.wav", ("z/b.flac", "z/b.mp3"))):
        reason = next(reasons[name] for name in reasons if name.endswith(file))
        assert all(one in reason for one in both)


def test_a_missing_file_never_becomes_that_of_another_speaker(tones):
    data = tones("DC/a01.wav", "JE/a02.wav", "KL/a03.wav")
    # JE/a01 is missing beside its neighbour; XY/a03 has a file's name, which is another row's
    scan = table(data, "JE/a01.wav", "JE/a02.wav", "XY/a03.wav", "KL/a03.wav")
    assert scan.manifest["path"].tolist() == ["JE/a02", "KL/a03"]
    reasons = problems(scan)
    assert reasons["JE/a01.wav"] == "no such file"
    assert "another row" in reasons["XY/a03.wav"]


def test_two_rows_that_could_only_share_a_file_get_none(tones):
    data = tones("wav/a.wav", "wav/b.wav")
    scan = table(data, "s1/a.wav", "s2/a.wav", "s1/b.wav")
    assert scan.manifest["path"].tolist() == ["wav/b"]


@pytest.mark.parametrize(
    ("written", "groups", "joined"),
    [
        (["01", "1", "1.0", "2"], ["1 = 01 = 1.0"], ["1", "1", "1", "2"]),
        (["Spk03", "spk03", "spk3", "spk30"], ["spk3"], ["spk3", "spk3", "spk3", "spk30"]),
        (["nan", "NA", "None", "x"], ["nan", "NA", "None"], ["", "", "", "x"]),
        (["10", "1", "100", "1.5"], [], ["10", "1", "100", "1.5"]),
    ],
)
def test_speakers_in_several_spellings(tones, capsys, written, groups, joined):
    files = [f"{number}.wav" for number in range(4)]
    data = tones(*files)
    lines = [f"{file},angry,{who}\n" for file, who in zip(files, written, strict=True)]
    (data / "t.csv").write_text(ROWS + "".join(lines))
    columns = {"wav": "w", "emotion": "e", "speaker": "s"}
    plain = open_corpus("own", data / "t.csv", data / "o", csv_columns=columns)
    told = capsys.readouterr().out
    assert plain.manifest["speaker"].tolist() == written
    assert told.count("join_speakers") == bool(groups) and all(group in told for group in groups)
    columns["join_speakers"] = True
    one = open_corpus("own", data / "t.csv", data / "o", csv_columns=columns)
    assert one.manifest["speaker"].tolist() == joined


def test_decimal_commas_and_unknown_numbers(tones):
    data = tones("a.wav", "b.wav", "c.wav")
    (data / "t.csv").write_text("w;e;v;a\na.wav;x;0,5;1\nb.wav;y;NA;-2,25\nc.wav;y;-1;\n")
    df = from_csv(data / "t.csv", "w", "e", valence="v", arousal="a").manifest
    assert df["valence"].iloc[[0, 2]].tolist() == [0.5, -1.0] and df["valence"].isna()[1]
    assert df["arousal"].iloc[[0, 1]].tolist() == [1.0, -2.25]
    (data / "t.csv").write_text("w;e;v\na.wav;x;0.5\nb.wav;y;1,500\n")
    with pytest.raises(ManifestError, match="row 3, column v: '1,500'"):
        from_csv(data / "t.csv", "w", "e", valence="v")


@pytest.mark.parametrize(
    "text",
    [
        "w,start,end,e\na.wav,0.0,0.1,angry\na.wav,0.1,0.2,sad\n",
        "w,Onset,Offset,e\na.wav,0.05,0.1,angry\nb.wav,0,0.1,sad\n",
        "w,start_time,duration,e\na.wav,0,0.1,angry\na.wav,0.1,0.1,sad\n",
    ],
)
def test_a_table_of_pieces_is_refused_and_says_how_to_cut(tones, text):
    data = tones("a.wav", "b.wav")
    (data / "t.csv").write_text(text)
    with pytest.raises(ManifestError, match="row 2.*a.wav.*cut them first"):
        from_csv(data / "t.csv", "w", "e")


def test_whole_files_with_start_and_end_are_read_and_that_is_said(tones, capsys):
    data = tones("a.wav", "b.wav")
    (data / "t.csv").write_text("w,start,end,e\na.wav,0.0,0.2,angry\nb.wav,,,sad\n")
    assert len(from_csv(data / "t.csv", "w", "e").manifest) == 2
    assert "start and end are not used" in capsys.readouterr().out


def test_merge_takes_labels_as_they_were_written(tones):
    data = tones("a.wav", "b.wav", "c.wav", "d.wav")
    lines = "a.wav,Wut\nb.wav,wut\nc.wav,Angry\nd.wav,Freude\n"
    (data / "t.csv").write_text("w,e\n" + lines)
    manifest = from_csv(data / "t.csv", "w", "e").manifest
    merge = {"Wut": "anger", "FREUDE": "happiness"}
    kept, labels = choose_utterances(manifest, "all", merge)
    assert kept["emotion"].tolist() == ["anger", "anger", "anger", "happiness"]
    kept, labels = choose_utterances(manifest, "Angry, Freude", {"Wut": None})
    assert labels == ["anger", "freude"] and len(kept) == 2
    with pytest.raises(ManifestError, match="renamed differently"):
        choose_utterances(manifest, "all", {"Wut": "anger", "wut": "sadness"})
    with pytest.raises(ManifestError, match="unknown emotion 'Zorn'"):
        choose_utterances(manifest, "all", {"Zorn": "anger"})


def who(scan):
    return scan.manifest.set_index("path")[["emotion", "speaker"]].T.to_dict("list")


@pytest.mark.parametrize(
    ("files", "keys", "expected"),
    [
        (["x/angry/1.wav", "x/sad/2.wav"], {}, {"x/angry/1": ["anger", ""]}),
        (["x/y/wut/1.wav", "x/y/foo/2.wav"], {}, {"x/y/foo/2": ["foo", ""]}),
        (["s1/angry/1.wav", "s2/sad/1.wav"], {}, {"s2/sad/1": ["sadness", "s2"]}),
        (["angry/s1/1.wav", "sad/s2/1.wav"], {}, {"sad/s2/1": ["sadness", "s2"]}),
        (["x/01/愤怒/1.wav", "x/02/悲伤/1.wav"], {}, {"x/01/愤怒/1": ["愤怒", "01"]}),
        (["angry/01/1.wav", "sad/02/1.wav"], {}, {"sad/02/1": ["sadness", ""]}),
        (["ann/angry/1.wav", "bob/sad/1.wav"], {}, {"bob/sad/1": ["sadness", ""]}),
        (
            ["ann/angry/1.wav", "bob/sad/1.wav"],
            {"speaker_level": 1},
            {"bob/sad/1": ["sadness", "bob"]},
        ),
        (["ann/q/1.wav", "bob/r/1.wav"], {"speaker_level": 1}, {"bob/r/1": ["r", "bob"]}),
        (
            ["s1/angry/u7_1.wav", "s1/sad/u8_1.wav"],
            {"speaker_level": 1, "speaker_pattern": r"(u\d)_"},
            {"s1/sad/u8_1": ["sadness", "u8"]},
        ),
        (["train/angry/1.wav", "train/sad/1.wav"], {}, {"train/sad/1": ["sadness", ""]}),
        (["Joy/angry/1.wav", "Ann/sad/1.wav"], {}, {"Ann/sad/1": ["sadness", ""]}),
    ],
)
def test_what_folders_mean(tones, files, keys, expected):
    found = who(from_folder(tones(*files), **keys))
    assert len(found) == len(files) and found.items() >= expected.items()


@pytest.mark.parametrize(
    ("files", "keys", "message"),
    [
        (["train/angry/1.wav", "test/sad/1.wav"], {}, "test, train.*ready split"),
        (["x/Train/angry/1.wav", "x/Val/sad/1.wav"], {}, "Train, Val.*ready split"),
        (["q/a/1.wav", "r/b/1.wav"], {}, "level 1: q, r; level 2: a, b"),
        (["angry/happy/1.wav", "sad/fear/1.wav"], {}, "level 1: angry, sad; level 2: fear, happy"),
        (["angry/1.wav", "sad/1.wav"], {"speaker_level": 2}, "speaker_level = 2.*level 1 to 1"),
        (["angry/1.wav", "sad/1.wav"], {"speaker_pattern": "x("}, "no pattern"),
        (["angry/1.wav", "sad/1.wav"], {"speaker_pattern": "x"}, "0 groups"),
        (["angry/1.wav", "sad/1.wav"], {"speaker_pattern": "(x)"}, "none of 2 files"),
        (["angry/1.wav", "sad/1.wav"], {"language": "de"}, "language: not for a folder"),
        (["angry/1.wav"], {"speaker_level": 1}, "no level of folders is left"),
    ],
)
def test_folders_that_are_refused_in_words(tones, files, keys, message):
    with pytest.raises(ManifestError, match=message):
        from_folder(tones(*files), **keys)


def test_what_does_not_match_is_a_problem_each(tones):
    data = tones("angry/s1_1.wav", "sad/s2_1.wav", "sad/other.wav")
    scan = from_folder(data, speaker_pattern=r"(s\d)_")
    assert who(scan) == {"angry/s1_1": ["anger", "s1"], "sad/s2_1": ["sadness", "s2"]}
    assert list(problems(scan)) == ["sad/other.wav"]
    data = tones("a/b/angry/1.wav", "a/sad/2.wav", "c/b/angry/3.wav")
    assert "no emotion folder" in problems(from_folder(data))["a/sad/2.wav"]


def test_audio_that_is_not_read_is_named(tones):
    data = tones("a.wav")
    (data / "wma" / "anger").mkdir(parents=True)
    shutil.copy(data / "a.wav", data / "wma" / "anger" / "1.wma")
    with pytest.raises(ManifestError, match=r"anger.*1 \.wma.*convert to WAV or FLAC"):
        open_corpus("own", data / "wma", data / "w")


def test_every_row_of_a_nasty_table_is_an_utterance_or_a_problem(tones):
    names = [
        "a\nb",
        "-n",
        "q\"u'ote",
        "<b>x",
        "NA",
        "nan",
        "=1+1",
        "  lead",
        "trail ",
        "..dots..",
        ".",
    ]
    labels = ["<img src=x>", "true", "NA", "=HYPERLINK()", "path", "emotion"]
    data = tones(*(f"e/{name}.wav" for name in names))
    rows = pd.DataFrame({"file": [f"e/{name}.wav" for name in names]})
    rows["label"] = [labels[number % len(labels)] for number in range(len(names))]
    rows["who"] = "-rf"
    rows.to_csv(data / "t.csv", index=False)
    scan = from_csv(data / "t.csv", wav="file", emotion="label", speaker="who")
    assert len(scan.manifest) + len(scan.problems) == len(names)
    assert [repr("e/a\nb.wav") in reason for reason in scan.problems["reason"]].count(True) == 1
    assert {"true", "na", "path"} <= set(scan.manifest["emotion"])
