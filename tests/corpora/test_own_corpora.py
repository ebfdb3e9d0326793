"""Own corpora by name: a table, a folder, an archive, with the table inside or beside."""

import zipfile

import pandas as pd
import pytest

from colab_utils.corpora import ManifestError, open_corpora, open_corpus
from colab_utils.corpora.own.named import named_own

COLUMNS = {"wav": "file", "emotion": "label", "speaker": "who"}
ROWS = [("a.wav", "angry", "ann"), ("b.wav", "sad", "ann"), ("c.wav", "angry", "bob")]


@pytest.fixture
def clips(tmp_path, tone):
    """A folder of three tones, and their table beside it."""
    for number, (name, _, _) in enumerate(ROWS):
        tone(tmp_path / "clips" / name, seconds=0.3, hz=150 + 60 * number)
    table = pd.DataFrame(ROWS, columns=["file", "label", "who"])
    table.to_csv(tmp_path / "mine.csv", index=False)
    return tmp_path / "clips"


def zipped(folder, archive, *more):
    archive.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(archive, "w") as out:
        for file in (*sorted(folder.iterdir()), *more):
            out.write(file, file.name)
    return archive


def check(manifest, name="mine"):
    assert manifest["utt_id"].tolist() == [f"{name}/{file[0]}" for file, _, _ in ROWS]
    assert manifest["emotion"].tolist() == ["anger", "sadness", "anger"]
    assert manifest["speaker"].tolist() == ["ann", "ann", "bob"]
    assert set(manifest["corpus"]) == {name}


def test_a_table_beside_its_files(tmp_path, clips):
    table = (tmp_path / "mine.csv").rename(clips / "list.csv")
    own = {"mine": {"audio": str(table), **COLUMNS}}
    check(open_corpus("mine", workspace=tmp_path / "w", own=own).manifest)
    check(open_corpora(["mine"], str(tmp_path), tmp_path / "w", own=own))


def test_own_is_one_of_them(tmp_path, clips):
    table = (tmp_path / "mine.csv").rename(clips / "list.csv")
    given = open_corpus("own", table, tmp_path / "w", csv_columns=COLUMNS)
    check(given.manifest, "own")
    named = open_corpus("own", own={"own": {"audio": table, **COLUMNS}}, workspace=tmp_path / "w")
    pd.testing.assert_frame_equal(named.manifest, given.manifest)


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("where", ["here", "on Drive"])
def test_an_archive_with_its_table_inside_or_beside(tmp_path, clips, inside, where):
    folder = tmp_path / ("MyDrive/ser_corpora" if where == "on Drive" else "elsewhere")
    table = tmp_path / "mine.csv"
    archive = zipped(clips, folder / "mine.zip", *([table] if inside else []))
    if not inside:
        table.rename(folder / "mine.csv")
    entry = dict(COLUMNS)
    if where == "here":
        entry["audio"] = str(archive)
    scan = open_corpus("mine", "", tmp_path / "w", tmp_path / "MyDrive", own={"mine": entry})
    check(scan.manifest)
    assert all(file.startswith(str(tmp_path / "w")) for file in scan.manifest["file"])


def test_a_folder_of_emotions(tmp_path, tone):
    for number, (emotion, who) in enumerate((("angry", "ann"), ("sad", "bob"))):
        tone(tmp_path / "rec" / emotion / who / "1.wav", seconds=0.3, hz=150 + 60 * number)
    entry = {"audio": str(tmp_path / "rec"), "speaker_level": 2}
    manifest = open_corpus("mine", workspace=tmp_path / "w", own={"mine": entry}).manifest
    assert manifest["emotion"].tolist() == ["anger", "sadness"]
    assert manifest["speaker"].tolist() == ["ann", "bob"]


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"mine": "clips.csv"}, "write it like OWN = "),
        ({"my corpus": {}}, "letters, digits and _"),
        ({"emodb": {}}, "emodb is a known corpus: choose another name"),
        ({"emodb-copy": {}}, "letters, digits and _"),
        ({"synthetic": {}}, "synthetic is a known corpus"),
    ],
)
def test_what_is_no_corpus_of_ones_own(own, message):
    with pytest.raises(ManifestError, match=message):
        named_own(own, "emovo")


def test_what_is_missing_is_said(tmp_path, clips):
    def opened(name="mine", drive=None, **entry):
        return open_corpus(name, "", tmp_path / "w", drive, own={"mine": entry})

    with pytest.raises(ManifestError, match='mine: where is it.*"audio" names'):
        opened()
    with pytest.raises(ManifestError, match="there is no .*ser_corpora/mine.zip"):
        opened(drive=tmp_path / "MyDrive")
    with pytest.raises(ManifestError, match="nowhere: no such file"):
        opened(audio="nowhere")
    with pytest.raises(ManifestError, match="holds no mine.csv"):
        (tmp_path / "mine.csv").unlink()
        opened(audio=str(clips), **COLUMNS)
    with pytest.raises(ManifestError, match="unknown corpus 'yours'; known: .*mine"):
        opened("yours", audio=str(clips))
