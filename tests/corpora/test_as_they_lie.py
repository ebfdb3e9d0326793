"""Known corpora as they lie on disks: downloads, copies, parts, zips of zips, videos."""

import io
import os
import tarfile

import numpy as np
import pytest
import soundfile
from fetching import a_zip
from scanned import noise, reasons

from colab_utils.corpora import archives, download, load_corpus, open_corpora
from colab_utils.corpora.cards import corpus_names, load_card
from colab_utils.corpora.manifest import ManifestError
from colab_utils.drive import ArchiveError

# one utterance of each corpus
CLIPS = {
    "aesdd": "a03 (3).wav",
    "cafe": "01-C-1-1.wav",
    "crema_d": "1001_DFA_ANG_XX.wav",
    "emodb": "03a01Fa.wav",
    "emofilm": "f_ans001aen.wav",
    "emovo": "dis-f1-b1.wav",
    "esd": "0011_000351.wav",
    "iemocap": "Ses01F_impro01_F000.wav",
    "msp_improv": "MSP-IMPROV-S01A-F01-P-FM01.wav",
    "ravdess": "03-01-05-02-01-02-12.wav",
    "savee": "DC/a01.wav",
    "shemo": "F21N37.wav",
    "tess": "OAF_back_angry.wav",
}
RENAMED = [
    ("ravdess", "ravdess (1).zip"),
    ("ravdess", "RAVDESS - Copy (2).zip"),
    ("ravdess", "Audio_Speech_Actors_01-24.zip"),
    ("ravdess", "Audio_Speech_Actors_01-24 (3).zip"),
    ("ravdess", "1188976.zip"),
    ("emodb", "EMO-DB-20240101T000000Z-001.zip"),
    ("emodb", "EMO-DB-20240101T000000Z-1-001.zip"),
    ("emodb", "EmoDB-001.zip"),
    ("emodb", "EMO-DB.zip"),
    ("emodb", "Copy of emodb.zip"),
    ("emodb", "emo db.TAR.GZ"),
    ("crema_d", "AudioWAV.zip"),
    ("crema_d", "CREMA-D-master.zip"),
    ("crema_d", "CREMA-D"),
    ("iemocap", "IEMOCAP_full_release_withoutVideos.tar.gz"),
    ("iemocap", "IEMOCAP_full_release.tar.gz"),
    ("esd", "ESD.zip"),
    ("esd", "Emotional Speech Dataset (ESD).zip"),
    ("esd", "Emotional Speech Dataset (ESD) (1).zip"),
    ("tess", "TESS Toronto emotional speech set data.zip"),
    ("cafe", "CaFE_48k.zip"),
    ("shemo", "ShEMO-master.zip"),
    ("savee", "AudioData.zip"),
    ("msp_improv", "MSP-IMPROV.tgz"),
]


def wav(seed=0, kind="WAV"):
    """A short recording as bytes."""
    out = io.BytesIO()
    samples = (noise(seed) * 2**15).astype(np.int16)
    soundfile.write(out, samples, 16000, format=kind)
    return out.getvalue()


def put(path, content=b""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def packed(path, members):
    """A folder, zip or tar, by its name."""
    if path.suffix == ".zip":
        return put(path, a_zip(members))
    if not path.suffix:
        for name, content in members.items():
            put(path / name, content)
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def used(scan):
    """utt_id -> name of the file that stands for it."""
    names = scan.manifest["file"].map(os.path.basename)
    return dict(zip(scan.manifest["utt_id"], names, strict=True))


@pytest.mark.parametrize("lossy", ["A/{}.mp3", "Z/{}.ogg", "{}.MP3", "A/{}.opus"])
@pytest.mark.parametrize("lossless", ["M/{}.wav", "M/{}.flac", "M/{}.AIFF"])
def test_lossless_comes_before_lossy(tmp_path, lossy, lossless):
    kinds = {".mp3": "MP3", ".ogg": "OGG", ".opus": "OGG"}
    stem = "1001_DFA_ANG_XX"
    copy, original = (tmp_path / "crema" / name.format(stem) for name in (lossy, lossless))
    put(copy, wav(1, kinds[copy.suffix.lower()]))
    put(original, wav(1, original.suffix[1:].upper()))
    put(tmp_path / "crema" / "VideoFlash" / f"{stem}.flv", b"FLV")
    scan = load_corpus("crema_d", tmp_path / "crema", tmp_path / "w")
    assert scan.manifest["file"].tolist() == [str(original)] and scan.ignored == {".flv": 1}
    (file, reason), *_ = reasons(scan).items()
    assert tmp_path / "crema" / file == copy
    assert "duplicate" in reason and original.name in reason


def test_of_two_lossless_files_one_is_used_and_the_other_called_the_same(tmp_path):
    put(tmp_path / "wav" / "03a01Fa.wav", wav(1))
    put(tmp_path / "flac" / "03a01Fa.flac", wav(1, "FLAC"))
    scan = load_corpus("emodb", tmp_path, tmp_path / "w")
    assert len(scan.manifest) == 1
    assert "the same samples" in next(iter(reasons(scan).values()))


def test_a_lossy_copy_stands_in_for_a_broken_file_and_that_is_said(tmp_path):
    put(tmp_path / "wav" / "03a01Fa.wav", wav(1)[:-400])
    put(tmp_path / "mp3" / "03a01Fa.mp3", wav(1, "MP3"))
    put(tmp_path / "ogg" / "03a01Fa.ogg", wav(1, "OGG")[:900])
    scan = load_corpus("emodb", tmp_path, tmp_path / "w")
    assert used(scan) == {"emodb/03a01Fa": "03a01Fa.mp3"}
    for reason in reasons(scan).values():
        assert "mp3/03a01Fa.mp3" in reason and "in its place" in reason


def test_the_rule_holds_for_folders_of_own_recordings(tmp_path):
    from colab_utils.corpora import from_folder

    for emotion in ("anger", "sadness"):
        put(tmp_path / emotion / "1.mp3", wav(len(emotion), "MP3"))
        put(tmp_path / emotion / "1.wav", wav(len(emotion)))
    assert sorted(used(from_folder(tmp_path)).values()) == ["1.wav", "1.wav"]


@pytest.mark.parametrize(("corpus", "name"), RENAMED)
def test_a_download_is_found_by_its_name(tmp_path, corpus, name):
    """Without a look inside: no archive here holds an utterance."""
    drive = tmp_path / "drive"
    packed(drive / name, {"readme.txt": name.encode()})
    packed(drive / "notes.zip", {"readme.txt": b"other"})
    folder = download.prepare_corpus(corpus, drive, tmp_path / "local")
    assert (folder / "readme.txt").read_bytes() == name.encode()
    archive = download.drive_overview(drive).set_index("corpus")["archive"]
    assert archive[archive != ""].to_dict() == {corpus: name, "notes": "notes.zip"}


@pytest.mark.parametrize("name", ["emodb_labels.zip", "emodb2.zip", "my emodb.zip", "emo.zip"])
def test_a_name_that_only_begins_alike_is_none(tmp_path, name):
    packed(tmp_path / name, {"labels.csv": b"x"})
    with pytest.raises(FileNotFoundError, match=f"{name}.*download.zip on http"):
        download.prepare_corpus("emodb", tmp_path, tmp_path / "local")


def test_a_name_belongs_to_one_corpus():
    keys = [key for name in corpus_names() for key in set(archives._keys(name))]
    assert len(keys) - len(set(keys)) == 0


@pytest.mark.parametrize("corpus", CLIPS)
@pytest.mark.parametrize("name", ["download.zip", "archive (2).zip", "DC.zip"])
def test_a_zip_with_a_general_name_is_known_by_what_is_in_it(tmp_path, corpus, name):
    packed(tmp_path / name, {f"a/{CLIPS[corpus]}": wav(), "a/read me.wav": wav(1)})
    packed(tmp_path / "song.zip", {"Actor_01/03-02-05-01-01-01-01.wav": wav(2)})
    packed(tmp_path / "Video_Speech_Actor_01.zip", {"01-01-05-01-01-01-01.mp4": b"x"})
    folder = download.prepare_corpus(corpus, tmp_path, tmp_path / "local")
    assert (folder / "a" / CLIPS[corpus]).is_file()


def test_the_exact_name_is_taken_and_the_others_are_named(tmp_path, capsys):
    for name, content in (("emodb.zip", b"1"), ("EMO-DB.zip", b"2"), ("emodb (1).zip", b"3")):
        packed(tmp_path / name, {"wav/03a01Fa.wav": content})
    folder = download.prepare_corpus("emodb", tmp_path, tmp_path / "local")
    assert (folder / "wav/03a01Fa.wav").read_bytes() == b"1"
    said = capsys.readouterr().out
    assert "EMO-DB.zip" in said and "emodb (1).zip" in said
    (tmp_path / "emodb.zip").unlink()
    folder = download.prepare_corpus("emodb", tmp_path, tmp_path / "local")
    assert (folder / "wav/03a01Fa.wav").read_bytes() == b"2"


@pytest.mark.parametrize(
    "names",
    [
        ("emodb (1).zip", "emodb (2).zip"),
        ("EMO-DB-20240101T000000Z-001.zip", "EMO-DB-20250101T000000Z-001.zip"),
        ("download.zip", "archive.zip"),
        ("emodb.tar.gz", "emodb.zip"),
    ],
)
def test_copies_that_fit_equally_well_are_refused_by_name(tmp_path, names):
    for name in names:
        packed(tmp_path / name, {"03a01Fa.wav": name.encode()})
    with pytest.raises(ManifestError) as error:
        download.prepare_corpus("emodb", tmp_path, tmp_path / "local")
    assert all(name in str(error.value) for name in names)


@pytest.mark.parametrize(
    "names",
    [
        ("EMO-DB-20240101T000000Z-001.zip", "EMO-DB-20240101T000000Z-002.zip"),
        ("speakers 03.zip", "speakers 08.zip"),
        ("women/a.zip", "men/a b.zip"),
    ],
)
def test_parts_belong_together(tmp_path, names):
    for name, stem in zip(names, ("03a01Fa", "08a01Wa"), strict=True):
        packed(tmp_path / name, {f"wav/{stem}.wav": wav(len(stem)), "readme.txt": b"in both"})
    scan = load_corpus("emodb", tmp_path, tmp_path / "w")
    assert sorted(used(scan)) == ["emodb/03a01Fa", "emodb/08a01Wa"]
    folder = download.prepare_corpus("emodb", tmp_path, tmp_path / "local")
    assert len(list(folder.rglob("*.wav"))) == 2


def test_a_part_of_drive_without_audio_comes_with_the_others(tmp_path):
    clips = {f"Session1/sentences/wav/{CLIPS['iemocap']}": wav()}
    labels = {"Session1/dialog/EmoEvaluation/Ses01F_impro01.txt": b"x"}
    for number, members in enumerate((clips, labels), 1):
        packed(tmp_path / f"IEMOCAP-20240101T000000Z-00{number}.zip", members)
    folder = download.prepare_corpus("iemocap", tmp_path, tmp_path / "local")
    found = {path.name for path in folder.rglob("*.[wt][ax]*")}
    assert found == {CLIPS["iemocap"], "Ses01F_impro01.txt"}
    table = download.drive_overview(tmp_path).set_index("corpus")
    assert table.at["iemocap", "state"] == "ready"


@pytest.mark.parametrize("corpus", ["ravdess", "savee", "crema_d"])
@pytest.mark.parametrize("given", ["archive", "folder", "drive"])
def test_a_zip_of_zips_is_unpacked(tmp_path, corpus, given):
    inner = a_zip({CLIPS[corpus]: wav()})
    song = a_zip({"03-02-05-01-01-01-01.wav": wav(1)})
    members = {"bundle/part one.zip": inner, "bundle/song.zip": song, "license.txt": b"x"}
    outer = packed(tmp_path / "MyDrive/ser_corpora" / f"{corpus} (1).zip", members)
    audio = {"archive": outer, "folder": outer.parent}
    if given == "drive":
        audio = {given: download.prepare_corpus(corpus, outer.parent, tmp_path / "w/corpora")}
    scan = load_corpus(corpus, audio[given], tmp_path / "w")
    assert len(scan.manifest) == 1
    assert not list(tmp_path.rglob("03-02-*"))


def test_a_link_that_leads_nowhere_and_a_damaged_zip_hold_nothing(tmp_path):
    (tmp_path / "lost.zip").symlink_to(tmp_path / "gone.zip")
    put(tmp_path / "torn.zip", a_zip({CLIPS["emodb"]: wav()})[:-30])
    packed(tmp_path / "whole.zip", {CLIPS["emodb"]: wav()})
    assert download.drive_overview(tmp_path).set_index("corpus").at["emodb", "state"] == "ready"
    folder = download.prepare_corpus("emodb", tmp_path, tmp_path / "local")
    assert folder.name == "whole"


def test_archives_in_archives_end(tmp_path):
    deep = a_zip({CLIPS["ravdess"]: wav()})
    for _ in range(4):
        deep = a_zip({"ravdess.zip": deep})
    put(tmp_path / "in" / "ravdess.zip", deep)
    with pytest.raises(ManifestError, match="ravdess.zip"):
        load_corpus("ravdess", tmp_path / "in", tmp_path / "w")


def test_two_downloads_of_one_name_do_not_replace_each_other(tmp_path):
    for corpus in ("emodb", "emovo"):
        packed(tmp_path / corpus / "download.zip", {CLIPS[corpus]: wav(len(corpus))})
    manifest = open_corpora(["emodb", "emovo"], tmp_path, tmp_path / "w")
    assert manifest["corpus"].tolist() == ["emodb", "emovo"]
    assert all(map(os.path.isfile, manifest["file"]))


def test_a_folder_of_corpora_holds_them_under_any_of_their_names(tmp_path, capsys):
    put(tmp_path / "all" / "EMO-DB" / "wav" / CLIPS["emodb"], wav(1))
    packed(tmp_path / "all" / "ravdess (1).zip", {CLIPS["ravdess"]: wav(2)})
    bundle = {f"Savee/{CLIPS['savee']}": wav(3), f"Tess/{CLIPS['tess']}": wav(4)}
    packed(tmp_path / "all" / "archive.zip", bundle)
    names = ["emodb", "ravdess", "savee", "tess"]
    manifest = open_corpora(names, tmp_path / "all", tmp_path / "w")
    assert sorted(manifest["corpus"]) == names
    assert "emodb is taken from EMO-DB" in capsys.readouterr().out
    with pytest.raises(ManifestError, match="archive.zip"):
        open_corpora(["emovo"], tmp_path / "all", tmp_path / "w")


@pytest.mark.parametrize("suffix", ["rar", "7z", "7z.001", "RAR"])
def test_what_only_another_program_unpacks_is_called_so(tmp_path, suffix):
    archive = put(tmp_path / f"ravdess.{suffix}", b"Rar!\x1a\x07\x00")
    table = download.drive_overview(tmp_path).set_index("corpus")
    assert "unpack it" in table.at["ravdess", "state"]
    for give in (
        lambda: download.prepare_corpus("ravdess", tmp_path, tmp_path / "local"),
        lambda: load_corpus("ravdess", archive, tmp_path / "w"),
        lambda: load_corpus("ravdess", tmp_path, tmp_path / "w"),
    ):
        with pytest.raises(ValueError, match=f"ravdess.{suffix}.*unpack it.*7-Zip") as error:
            give()
        assert "\n" not in str(error.value)
    packed(tmp_path / "ravdess (1).zip", {CLIPS["ravdess"]: wav()})
    assert len(load_corpus("ravdess", tmp_path, tmp_path / "w").manifest) == 1


@pytest.mark.parametrize(
    ("start", "told"),
    [(b"Rar!\x1a\x07", "RAR"), (b"7z\xbc\xaf\x27", "7z"), (b"<!DOCTYPE html>", "web page")],
)
def test_an_archive_that_is_none_by_its_first_bytes_is_called_what_it_is(tmp_path, start, told):
    put(tmp_path / "emodb.zip", start + b"x" * 100)
    with pytest.raises(ArchiveError, match=f"emodb.zip.*{told}"):
        download.prepare_corpus("emodb", tmp_path, tmp_path / "local")


@pytest.mark.parametrize(
    ("files", "told"),
    [
        (["Actor_01/01-01-05-01-01-01-01.mp4", "Actor_02/b.MP4"], ["2 .mp4", "video", "Actor_02"]),
        (["VideoFlash/1001_DFA_ANG_XX.flv"], ["1 .flv", "video", "VideoFlash/1001"]),
        (["a/1.amr", "a/2.wma", "b/readme.txt"], ["1 .amr", "1 .wma", "WAV or FLAC", "a, b"]),
        (["data/x.rar", "data/y.7z.001"], ["1 .rar", "1 .001", "unpack", "data/x.rar"]),
        (["models.zip"], ["models.zip", "1 .zip", "unpack"]),
        (["wrapper/Actor_01/x.txt", "wrapper/Actor_02/x.txt"], ["wrapper/Actor_01", "2 .txt"]),
        (["labels.csv", "LICENSE"], ["1 .csv", "labels.csv", "LICENSE"]),
        (["__MACOSX/._03a01Fa.wav"], ["1 refused", "hidden"]),
        ([], ["nothing"]),
    ],
)
def test_where_nothing_is_found_the_message_says_what_is_there(tmp_path, files, told):
    (tmp_path / "in").mkdir()
    for file in files:
        put(tmp_path / "in" / file, b"x")
    with pytest.raises(ManifestError) as error:
        load_corpus("ravdess", tmp_path / "in", tmp_path / "w")
    message = str(error.value)
    assert all(word in message for word in told), message
    assert "03-01-05-02-01-02-12" in message and "\n" not in message


def test_other_audio_and_missing_folders_say_what_is_there(tmp_path):
    put(tmp_path / "in" / "Actor_01" / "03-02-05-01-01-01-01.wav", wav())
    put(tmp_path / "in" / "Actor_01.rar", b"x")
    with pytest.raises(ManifestError, match=r"song.*Actor_01, Actor_01.rar; 1 .rar"):
        load_corpus("ravdess", tmp_path / "in", tmp_path / "w")
    with pytest.raises(ManifestError, match="no such folder.*is there.*Actor_01"):
        load_corpus("emodb", tmp_path / "in" / "nope" / "emodb", tmp_path / "w")
    with pytest.raises(ManifestError, match="is a file"):
        load_corpus("emodb", tmp_path / "in" / "Actor_01/03-02-05-01-01-01-01.wav", tmp_path)


def test_counts_of_shemo_are_those_of_its_owners():
    """As counted over the 3,000 names of their list of labels."""
    counts = load_card("shemo").counts
    of_each = {"neutral": 1160, "anger": 1042, "sadness": 362, "happiness": 203, "surprise": 201}
    assert counts["per_emotion"] == of_each | {"fear": 32}
    assert sum(counts["per_emotion"].values()) == counts["utterances"] == 3000
