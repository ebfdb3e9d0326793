"""audformat databases are judged by the audformat library itself, EmoBox lists by counting their lines."""
import collections
import json
import pickle
import string
import sys

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from colab_utils.corpora.cards import load_card, shipped_manifest
from colab_utils.corpora.exchange import from_audformat, from_emobox, to_audformat
from colab_utils.corpora.manifest import COLUMNS, NUMBERS, ManifestError, empty_row, manifest_hash, validate

audformat = pytest.importorskip("audformat", reason="audformat comes with the extra egemaps")


@pytest.mark.parametrize("name", ["emodb", "ravdess", "savee", "emovo"])
def test_the_library_reads_what_is_written_and_the_manifest_comes_back(name, tmp_path):
    manifest = shipped_manifest(name)
    to_audformat(manifest, tmp_path / name)
    db = audformat.Database.load(str(tmp_path / name), load_data=True)
    assert db.name == name and db.license == load_card(name).license and db.source == load_card(name).url
    assert db.files.tolist() == [f"{path}.wav" for path in manifest["path"]]
    assert collections.Counter(db["files"]["emotion"].get()) == collections.Counter(manifest["emotion"])
    assert db["files"]["speaker"].get().astype(str).tolist() == manifest["speaker"].tolist()
    assert db["files"]["speaker"].get(map="gender").astype(str).tolist() == manifest["gender"].tolist()
    assert db.languages == {"emodb": ["deu"], "emovo": ["ita"]}.get(name, ["eng"])
    pd.testing.assert_frame_equal(from_audformat(tmp_path / name), manifest)


TEXT = st.text(string.ascii_letters + "äßé漢 ,;\"'#-0", max_size=6).map(str.strip) | st.sampled_from(["NA", "nan", "None", "null", "1.0"])


@settings(max_examples=25, deadline=None)
@given(rows=st.lists(st.fixed_dictionaries({
    "path": st.from_regex(r"[a-z0-9]{1,5}(/[A-Za-z0-9 é]{1,5}[a-z])?", fullmatch=True), "speaker": TEXT, "film": TEXT, "emotion_raw": TEXT,
    "gender": st.sampled_from(["", "female", "male"]), "emotion": st.sampled_from(["anger", "happiness", "calm", ""]),
    "session": st.sampled_from(["", "01", "1", "007"]),
    "valence": st.one_of(st.just(float("nan")), st.floats(-5, 5, allow_subnormal=False)), "language": st.sampled_from(["", "pseudo-a", "fr-CA"])}),
    min_size=1, max_size=8, unique_by=lambda row: row["path"]))
def test_any_manifest_survives_the_round_trip(rows, tmp_path_factory):
    manifest = validate(pd.DataFrame([{**empty_row("own", row["path"]), **row} for row in rows]))
    folder = to_audformat(manifest, tmp_path_factory.mktemp("db"))
    back = from_audformat(folder)
    assert manifest_hash(back) == manifest_hash(manifest)
    pd.testing.assert_frame_equal(back, manifest)


def test_suffixes_and_local_columns(tmp_path):
    manifest = shipped_manifest("savee").head(3).assign(file=["/x/a.flac", "/x/b.FLAC", "/x/c.wav"], sample_rate=16000)
    db = audformat.Database.load(str(to_audformat(manifest, tmp_path)), load_data=True)
    assert [file.rsplit(".")[1] for file in db.files] == ["flac", "FLAC", "wav"]
    assert "sample_rate" not in db["files"].columns and "film" not in db["files"].columns
    assert sorted(path.name for path in tmp_path.iterdir()) == ["db.files.parquet", "db.yaml"]
    with pytest.raises(ManifestError, match="one corpus.*emodb, savee"):
        to_audformat(pd.concat([shipped_manifest("emodb"), manifest]), tmp_path)


def foreign_database(folder, name="theirs"):
    """A database as others publish them: emotion and speaker in different tables, gender in the speaker scheme, no utterance ids."""
    db = audformat.Database(name, languages=["deu"])
    db.schemes["feeling"] = audformat.Scheme(labels=["Angry", "Happy", "weird"])
    db.schemes["who"] = audformat.Scheme(labels={"s1": {"gender": "female"}, "s2": {"gender": "other"}})
    files = ["wav/b.wav", "wav/a.wav", "wav/c.wav"]
    db["emotion"] = audformat.Table(audformat.filewise_index(files))
    db["emotion"]["feeling"] = audformat.Column(scheme_id="feeling")
    db["emotion"]["feeling"].set(["Angry", "Happy", None])
    db["files"] = audformat.Table(audformat.filewise_index(sorted(files)))
    db["files"]["who"] = audformat.Column(scheme_id="who")
    db["files"]["who"].set(["s1", "s2", "s1"])
    db["parts"] = audformat.Table(audformat.segmented_index(["wav/a.wav"], [0], [1]))
    db["parts"]["feeling"] = audformat.Column(scheme_id="feeling")
    db["parts"]["feeling"].set(["weird"])
    db.save(str(folder), storage_format="csv")
    return db


def test_a_database_of_others(tmp_path, capsys):
    foreign_database(tmp_path)
    manifest = from_audformat(tmp_path, corpus="mine", emotion="feeling", speaker="who").set_index("utt_id")
    assert manifest.index.tolist() == ["mine/wav/b", "mine/wav/a", "mine/wav/c"]
    assert manifest["emotion"].tolist() == ["anger", "happiness", ""] and manifest["emotion_raw"].tolist() == ["Angry", "Happy", ""]
    assert manifest["speaker"].tolist() == ["s2", "s1", "s1"] and manifest["gender"].tolist() == ["", "female", "female"]
    assert set(manifest["language"]) == {"deu"}
    shown = capsys.readouterr().out
    assert "segments are not read: parts" in shown and "is other" in shown
    renamed = from_audformat(tmp_path, emotion="feeling", speaker="who", label_map={"Angry": "frustration"})
    assert renamed["emotion"].tolist() == ["frustration", "happiness", ""] and set(renamed["corpus"]) == {"theirs"}
    with pytest.raises(ManifestError, match="no table of files has a column 'emotion'; columns found: feeling, who"):
        from_audformat(tmp_path)


def test_tables_that_disagree(tmp_path):
    db = foreign_database(tmp_path)
    db["gold"] = audformat.Table(audformat.filewise_index(["wav/a.wav", "wav/b.wav"]))
    db["gold"]["feeling"] = audformat.Column(scheme_id="feeling")
    db["gold"]["feeling"].set(["Happy", "weird"])
    db.save(str(tmp_path), storage_format="csv")
    with pytest.raises(ManifestError, match="emotion, gold give wav/b.wav different values of feeling: Angry, weird"):
        from_audformat(tmp_path, emotion="feeling", speaker="who")


class Harm:
    """Creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_databases_that_would_run_code_are_refused(tmp_path):
    harmed = tmp_path / "harmed"
    pickled = tmp_path / "pickled"
    foreign_database(pickled)
    (pickled / "db.emotion.pkl").write_bytes(pickle.dumps(Harm(harmed)))
    with pytest.raises(ManifestError, match="db.emotion.pkl is a pickle"):
        from_audformat(pickled, emotion="feeling")
    header = tmp_path / "header"
    foreign_database(header)
    (header / "db.yaml").write_text(f"name: !!python/object/apply:builtins.open [{str(harmed)!r}, 'w']\n" + (header / "db.yaml").read_text())
    with pytest.raises(ManifestError, match="not plain YAML"):
        from_audformat(header, emotion="feeling")
    with pytest.raises(ManifestError, match="no db.yaml"):
        from_audformat(tmp_path)
    assert not harmed.exists()


def test_without_the_library_one_sentence_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "audformat", None)
    with pytest.raises(ImportError, match="pip install audformat"):
        to_audformat(shipped_manifest("savee"), tmp_path)
    assert list(tmp_path.iterdir()) == []


def emobox(folder, name, clips, label_map=None, keys=("wav", "emo")):
    """Write a list in EmoBox's form: clips are (wav, label)."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({"key": f"k-{number}", "dataset": "d", keys[0]: wav, "type": "raw", keys[1]: label, "length": 1.5, "channel": 1})
             for number, (wav, label) in enumerate(clips)]
    (folder / name).write_text("".join(line + "\n" for line in lines))
    if label_map:
        (folder / "label_map.json").write_text(json.dumps(label_map))
    return folder / name


EMODB = [("downloads/emodb/wav/03a01Wa.wav", "anger"), ("downloads/emodb/wav/08a01Fd.wav", "happy"), ("downloads/emodb/wav/03a01Nc.wav", "neutral")]
EMODB_MAP = {"anger": "Angry", "happy": "Happy", "Neutral": "Neutral"}      # the capital is EmoBox's own slip


def test_a_known_corpus_gets_our_ids_and_its_speakers(tmp_path, capsys):
    manifest, split = from_emobox(emobox(tmp_path, "emodb.jsonl", EMODB, EMODB_MAP), "emodb")
    assert split is None and list(manifest.columns) == list(COLUMNS)
    ours = shipped_manifest("emodb").set_index("utt_id").loc[manifest["utt_id"]].reset_index()[list(COLUMNS)]
    pd.testing.assert_frame_equal(manifest, ours)
    assert "2 speakers were read from the file names" in capsys.readouterr().out


def test_an_unknown_corpus_has_unknown_speakers_and_says_so(tmp_path, capsys):
    clips = [("downloads/far/x/a.wav", "A"), ("downloads/far/y/a.wav", "B")]
    manifest, split = from_emobox(emobox(tmp_path, "far.jsonl", clips, {"A": "Angry", "B": "Boredom"}), "far")
    assert manifest["utt_id"].tolist() == ["far/x/a", "far/y/a"] and manifest["emotion"].tolist() == ["anger", "boredom"]
    assert manifest["speaker"].tolist() == ["", ""] and manifest["emotion_raw"].tolist() == ["A", "B"] and split is None
    assert manifest[list(NUMBERS)].isna().all(axis=None)
    assert "cannot read 2 of 2" in capsys.readouterr().out


@pytest.mark.parametrize("keys", [("wav", "emo"), ("audio", "label")], ids=["newer lists", "older lists"])
def test_a_split_and_its_leak(tmp_path, capsys, keys):
    fold = tmp_path / "fold_3"
    emobox(fold, "emodb_test_fold_3.jsonl", EMODB[2:], keys=keys)
    train = emobox(fold, "emodb_train_fold_3.jsonl", EMODB[:2], keys=keys)
    (tmp_path / "label_map.json").write_text(json.dumps(EMODB_MAP))
    manifest, split = from_emobox(train, "emodb")
    assert list(split.columns) == ["seed", "fold", "draw", "task", "utt_id", "speaker", "role"]
    assert dict(zip(split["utt_id"], split["role"], strict=True)) == {"emodb/03a01Wa": "train", "emodb/08a01Fd": "train", "emodb/03a01Nc": "test"}
    assert set(split["fold"]) == {3} and split["speaker"].tolist() == ["emodb/03", "emodb/08", "emodb/03"] and len(manifest) == 3
    assert "1 speakers stand in both" in capsys.readouterr().out
    emobox(fold, "emodb_test_fold_3.jsonl", EMODB[1:], keys=keys)
    with pytest.raises(ManifestError, match="emodb/08a01Fd stands in the lists twice"):
        from_emobox(train, "emodb")


def test_labels_that_differ_from_the_file_names_are_kept_and_printed(tmp_path, capsys):
    manifest, _ = from_emobox(emobox(tmp_path, "emodb.jsonl", [(EMODB[0][0], "happy")], EMODB_MAP), "emodb")
    assert manifest["emotion"].tolist() == ["happiness"] and manifest["emotion_raw"].tolist() == ["W"]
    assert "1 labels differ" in capsys.readouterr().out


def test_without_a_label_map_the_file_names_or_plain_words_decide(tmp_path, capsys):
    manifest, _ = from_emobox(emobox(tmp_path, "emodb.jsonl", EMODB), "emodb")
    assert manifest["emotion"].tolist() == ["anger", "happiness", "neutral"]
    other, _ = from_emobox(emobox(tmp_path, "far.jsonl", [("a.wav", "Sad")]), "far")
    assert other["emotion"].tolist() == ["sadness"] and other["utt_id"].tolist() == ["far/a"]
    assert "no label_map.json" in capsys.readouterr().out
    mapped, _ = from_emobox(tmp_path / "far.jsonl", "far", label_map={"sad": "calm"})
    assert mapped["emotion"].tolist() == ["calm"]


@pytest.mark.parametrize("clips, keys, corpus, reason", [
    ([("a.wav", "Z")], ("wav", "emo"), "far", "line 1: label 'Z' is not in the label map; it has a"),
    ([("a.wav", "A")], ("wav", "mood"), "far", "line 1: a record needs wav and emo.*found: key, dataset, wav, type, mood"),
    ([("downloads/emodb/wav/nonsense.wav", "A")], ("wav", "emo"), "emodb", "line 1: .*is corpus='emodb' right"),
    ([], ("wav", "emo"), "far", "no record")], ids=["label", "key", "name", "empty"])
def test_lists_that_cannot_be_read_name_file_and_line(tmp_path, clips, keys, corpus, reason):
    path = emobox(tmp_path, "x.jsonl", clips, {"A": "Angry"}, keys)
    with pytest.raises(ManifestError, match=reason) as error:
        from_emobox(path, corpus)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_missing_and_torn_lists(tmp_path):
    with pytest.raises(ManifestError, match="no such list"):
        from_emobox(tmp_path / "none.jsonl", "emodb")
    train = emobox(tmp_path, "emodb_train_fold_1.jsonl", EMODB)
    with pytest.raises(ManifestError, match="emodb_test_fold_1.jsonl: no such list"):
        from_emobox(train, "emodb")
    train.write_text("{broken\n" + train.read_text())
    with pytest.raises(ManifestError, match="line 1"):
        from_emobox(train, "emodb")
