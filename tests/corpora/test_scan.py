"""Scanning folders: real corpora to the last file, and every kind of bad file named with its reason
while the rest goes on.
"""

import os
import shutil
import sys
import threading
import time
import types
import unicodedata

import numpy as np
import pandas as pd
import pytest
import soundfile

from colab_utils.corpora import cards, parsers
from colab_utils.corpora.audio import read_audio, samples_sha256
from colab_utils.corpora.cards import shipped_manifest
from colab_utils.corpora.check import check_manifest
from colab_utils.corpora.decode import audio, find_audio, without_extension
from colab_utils.corpora.manifest import (
    COLUMNS,
    LOCAL_COLUMNS,
    ManifestError,
    empty_row,
    manifest_hash,
    validate,
    write_manifest,
)
from colab_utils.corpora.scan import load_corpus, scan

GOOD = ("03a01Fa", "03a01Nc", "08a01Wa")


def noise(seed=0, seconds=0.3, rate=16000, channels=1):
    return (
        0.1 * np.random.default_rng(seed).standard_normal((int(seconds * rate), channels))
    ).astype(np.float32)


@pytest.fixture
def emodb(tmp_path):
    """A folder with three EmoDB utterances that differ."""
    folder = tmp_path / "emodb" / "wav"
    folder.mkdir(parents=True)
    for seed, stem in enumerate(GOOD):
        soundfile.write(folder / f"{stem}.wav", noise(seed), 16000)
    return folder.parent


@pytest.fixture
def decoded(monkeypatch):
    """The names of the files decoded, in any order."""
    names, original, lock = [], audio.read_audio, threading.Lock()

    def counting(file):
        with lock:
            names.append(os.path.basename(file))
        return original(file)

    monkeypatch.setattr(audio, "read_audio", counting)
    return names


def reasons(result, without=("missing",)):
    """file -> reason, leaving out the hundreds of utterances that a small folder lacks."""
    return {
        row.file: row.reason
        for row in result.problems.itertuples()
        if not row.reason.startswith(without)
    }


@pytest.mark.parametrize(
    ("corpus", "number"), [("emodb", 535), ("ravdess", 1440), ("emovo", 588), ("savee", 480)]
)
def test_real_corpora_are_whole(corpus, number, real_corpora):
    result = scan(corpus, real_corpora / corpus)
    assert (len(result.manifest), len(result.problems), result.decoded, result.ignored) == (
        number,
        0,
        number,
        {},
    )
    assert manifest_hash(result.manifest) == manifest_hash(shipped_manifest(corpus))
    assert set(result.manifest["sample_rate"]) == {16000} and set(result.manifest["channels"]) == {
        1
    }
    sample = result.manifest.iloc[number // 2]
    waves, rate = soundfile.read(sample["file"])
    assert sample["duration"] == pytest.approx(len(waves) / rate) and os.path.basename(
        sample["file"]
    ).startswith(sample["path"])
    findings = check_manifest(result.manifest, result.card)
    assert "error" not in set(findings["severity"])
    warned = findings.query("severity == 'warning'")
    # the one identical pair, by its samples
    if corpus == "ravdess":
        assert warned["check"].tolist() == ["same recording twice"]
        assert all(
            f"ravdess/03-01-03-01-02-{repetition}-07" in warned["detail"].iloc[0]
            for repetition in ("01", "02")
        )
    else:
        assert warned.empty


def test_each_bad_file_is_named_and_the_rest_goes_on(emodb, tone):
    wav = emodb / "wav"
    (wav / "03a01Wa.wav").write_bytes(b"")
    whole = tone(wav / "03a02Fc.wav").read_bytes()
    (wav / "03a02Fc.wav").write_bytes(whole[: len(whole) // 2])
    soundfile.write(wav / "03a02Nc.flac", noise(4, 2.0), 16000)
    whole = (wav / "03a02Nc.flac").read_bytes()
    (wav / "03a02Nc.flac").write_bytes(whole[: len(whole) // 2])
    soundfile.write(wav / "03a02Ta.wav", np.full(8000, np.nan), 16000, subtype="FLOAT")
    (wav / "03a02Wb.wav").write_text("these are words\n" * 50)
    soundfile.write(wav / "03a02Wc.wav", np.zeros(0), 16000)
    (wav / "03a04Ad.wav").write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"
    )
    tone(wav / "my_voice.wav")
    tone(wav / "03a04Zz.wav")
    # a legal name that the corpus does not have
    tone(wav / "03a01Fb.wav")
    (wav / "._03a01Fa.wav").write_bytes(b"\0\5\x16\7")
    (wav / "notes.txt").write_text("x")
    result = scan("emodb", emodb)
    assert result.manifest["path"].tolist() == list(GOOD) and result.ignored == {".txt": 1}
    expected = {
        "03a01Wa.wav": "empty file",
        "03a02Fc.wav": "truncated",
        "03a02Nc.flac": "not readable as audio",
        "03a02Ta.wav": "NaN",
        "03a02Wb.wav": "not readable as audio",
        "03a02Wc.wav": "0 samples",
        "03a04Ad.wav": "Git LFS pointer",
        "my_voice.wav": "foreign",
        "03a04Zz.wav": "foreign",
        "03a01Fb.wav": "foreign: a legal name",
        "._03a01Fa.wav": "hidden",
    }
    found = reasons(result)
    assert set(found) == {f"wav/{name}" for name in expected}
    assert all(reason in found[f"wav/{name}"] for name, reason in expected.items())
    unusable = {
        row.utt_id
        for row in result.problems.itertuples()
        if row.utt_id and "a legal name" not in row.reason
    }
    assert unusable == set(shipped_manifest("emodb")["utt_id"]) - set(result.manifest["utt_id"])
    assert "missing" not in " ".join(reason for file, reason in found.items())


def test_missing_utterances_are_listed(emodb):
    result = scan("emodb", emodb)
    assert (
        set(result.problems["reason"]) == {"missing: no audio file of this name"}
        and len(result.problems) == 535 - 3
    )
    assert {"file": "03a01Wa", "utt_id": "emodb/03a01Wa"}.items() <= result.problems.iloc[
        0
    ].to_dict().items()
    text = str(result)
    assert "3 utterances, 2 known speakers" in text and "532 problems" in text


@pytest.mark.parametrize(
    ("rate", "channels", "subtype"),
    [(8000, 1, "PCM_16"), (44100, 2, "PCM_16"), (16000, 1, "FLOAT"), (48000, 1, "PCM_24")],
)
def test_odd_but_good_audio_is_used(emodb, rate, channels, subtype):
    wave = noise(9, 0.5, rate, channels) * (30 if subtype == "FLOAT" else 1)
    soundfile.write(emodb / "wav" / "16b10Wb.wav", wave, rate, subtype=subtype)
    row = scan("emodb", emodb).manifest.set_index("path").loc["16b10Wb"]
    assert (row["sample_rate"], row["channels"], row["duration"]) == (rate, channels, 0.5)
    assert row["audio_sha256"] == samples_sha256(*read_audio(emodb / "wav" / "16b10Wb.wav"))


def test_a_ten_minute_file_takes_no_minute(emodb):
    soundfile.write(emodb / "wav" / "16b10Wb.wav", np.zeros(10 * 60 * 16000, np.int16), 16000)
    start = time.perf_counter()
    manifest = scan("emodb", emodb).manifest
    assert manifest["duration"].max() == 600 and time.perf_counter() - start < 10


def test_duplicates_say_which_file_is_used_and_a_good_copy_stands_in_for_a_bad_one(emodb):
    copy = emodb / "zz_copy"
    copy.mkdir()
    shutil.copy(emodb / "wav" / "03a01Fa.wav", copy / "03a01Fa.wav")
    soundfile.write(copy / "03a01Nc.flac", noise(99), 16000)
    soundfile.write(copy / "08a01Wa.wav", noise(2), 16000)
    (emodb / "wav" / "08a01Wa.wav").write_bytes(b"")
    result = scan("emodb", emodb)
    found = reasons(result)
    assert (
        found["zz_copy/03a01Fa.wav"]
        == "duplicate: the same samples under the same name as wav/03a01Fa.wav, which is used"
    )
    assert found["zz_copy/03a01Nc.flac"].startswith("duplicate: other samples")
    assert found["wav/08a01Wa.wav"].startswith("empty") and len(found) == 3
    assert result.manifest.set_index("path")["file"].str.contains("zz_copy").to_dict() == dict(
        zip(GOOD, (False, False, True), strict=True)
    )


def test_a_second_scan_decodes_nothing_and_a_changed_file_again(emodb, tmp_path, decoded):
    (emodb / "wav" / "03a01Wa.wav").write_bytes(b"not audio" * 20)
    cache = tmp_path / "cache.csv"
    first = scan("emodb", emodb, cache)
    assert (
        sorted(decoded) == ["03a01Fa.wav", "03a01Nc.wav", "03a01Wa.wav", "08a01Wa.wav"]
        and first.decoded == 4
    )
    decoded.clear()
    second = scan("emodb", emodb, cache)
    assert decoded == [] and second.decoded == 0
    pd.testing.assert_frame_equal(first.manifest, second.manifest)
    pd.testing.assert_frame_equal(first.problems, second.problems)
    soundfile.write(emodb / "wav" / "03a01Nc.wav", noise(77), 16000)
    third = scan("emodb", emodb, cache).manifest
    assert decoded == ["03a01Nc.wav"]
    changed = third["audio_sha256"] != first.manifest["audio_sha256"]
    assert third.loc[changed, "path"].tolist() == ["03a01Nc"]


def test_a_torn_cache_costs_time_only(emodb, tmp_path, decoded, capsys):
    cache = tmp_path / "cache.csv"
    whole = scan("emodb", emodb, cache).manifest
    for content in (
        b"\xff\xfe junk",
        b"path,size\na,1\n",
        cache.read_bytes().replace(b"16000", b"fast"),
        b"",
    ):
        cache.write_bytes(content)
        decoded.clear()
        pd.testing.assert_frame_equal(scan("emodb", emodb, cache).manifest, whole)
        assert len(decoded) == 3 and "not a scan cache" in capsys.readouterr().out
    (tmp_path / "blocked").write_text("a file where a folder is needed")
    assert (
        len(scan("emodb", emodb, tmp_path / "blocked" / "cache.csv").manifest) == 3
    )
    assert "could not be written" in capsys.readouterr().out


def test_an_interrupted_scan_keeps_what_it_decoded(emodb, tmp_path, monkeypatch, decoded):
    counting = audio.read_audio

    def interrupted(file):
        if "08a01Wa" in str(file):
            raise KeyboardInterrupt
        return counting(file)

    monkeypatch.setattr(audio, "read_audio", interrupted)
    with pytest.raises(KeyboardInterrupt):
        scan("emodb", emodb, tmp_path / "cache.csv")
    monkeypatch.setattr(audio, "read_audio", counting)
    decoded.clear()
    assert len(
        scan("emodb", emodb, tmp_path / "cache.csv").manifest
    ) == 3 and decoded == ["08a01Wa.wav"]


def test_what_the_disk_refused_is_tried_again(emodb, tmp_path, monkeypatch):
    original = audio.read_audio

    def lost(file):
        if "08a01Wa" in str(file):
            raise audio.AudioError(file, "cannot be read from the disk") from OSError(
                5, "Input/output error"
            )
        return original(file)

    monkeypatch.setattr(audio, "read_audio", lost)
    first = scan("emodb", emodb, tmp_path / "cache.csv")
    monkeypatch.setattr(audio, "read_audio", original)
    second = scan("emodb", emodb, tmp_path / "cache.csv")
    assert (len(first.manifest), len(second.manifest), second.decoded) == (2, 3, 1)
    assert "from the disk" in reasons(first)["wav/08a01Wa.wav"]


def test_the_order_of_rows_does_not_follow_the_folders(emodb):
    before = scan("emodb", emodb).manifest
    for folder, stem in zip(("z", "y", "x"), GOOD, strict=True):
        (emodb / folder).mkdir()
        (emodb / "wav" / f"{stem}.wav").rename(emodb / folder / f"{stem}.WAV")
    after = scan("emodb", emodb).manifest
    assert after["path"].tolist() == list(GOOD) and after.drop(columns="file").equals(
        before.drop(columns="file")
    )


def test_a_folder_in_which_every_file_is_bad_still_gives_its_reasons(emodb):
    for file in (emodb / "wav").iterdir():
        file.write_bytes(b"")
    result = scan("emodb", emodb)
    assert len(result.manifest) == 0 and list(result.manifest.columns) == [*COLUMNS, *LOCAL_COLUMNS]
    assert set(reasons(result).values()) == {
        "empty file (0 bytes)"
    } and "nothing: 0 utterances" in str(result)
    assert "error" in set(check_manifest(result.manifest, result.card)["severity"])


def test_savee_is_found_in_the_owners_layout_even_from_a_speakers_folder(tmp_path, tone):
    for speaker, stem in (("DC", "a01"), ("KL", "su15")):
        tone(tmp_path / "AudioData" / speaker / f"{stem}.wav")
    tone(tmp_path / "AudioData" / "XX" / "a01.wav")
    result = scan("savee", tmp_path)
    assert result.manifest["utt_id"].tolist() == ["savee/DC_a01", "savee/KL_su15"] and list(
        reasons(result)
    ) == ["AudioData/XX/a01.wav"]
    assert scan("savee", tmp_path / "AudioData" / "DC").manifest[
        "utt_id"
    ].tolist() == ["savee/DC_a01"]


def test_folders_that_cannot_be_meant(emodb, tmp_path):
    (tmp_path / "empty").mkdir()
    for corpus, root, message in (
        ("emodb", tmp_path / "gone", "no such folder"),
        ("emodb", emodb / "wav" / "03a01Fa.wav", "unpack it first"),
        ("emodb", tmp_path / "empty", "no audio file"),
        ("ravdess", emodb, "none of its 3 audio files.*one of emodb"),
        ("synthetic", emodb, "no file-name rule"),
        ("emodbb", emodb, "unknown corpus"),
    ):
        with pytest.raises(ManifestError, match=message):
            scan(corpus, root)


def test_names_in_both_unicode_forms_meet(tmp_path, tone):
    name = "Wütend/Äpfel_ら"
    manifest = validate(
        pd.DataFrame(
            [empty_row("own", unicodedata.normalize("NFC", name)), empty_row("own", "plain")]
        )
    )
    tone(tmp_path / "a" / (unicodedata.normalize("NFD", name) + ".WAV"))
    tone(tmp_path / "a" / "deep" / "plain.flac.wav")
    result = scan(manifest, tmp_path / "a")
    assert (
        result.manifest["path"].tolist() == [unicodedata.normalize("NFC", name), "plain"]
        and result.problems.empty
    )
    assert all(os.path.isfile(file) for file in result.manifest["file"])
    tone(tmp_path / "a" / (unicodedata.normalize("NFC", name) + ".wav"))
    assert (
        "duplicate: the same samples"
        in scan(manifest, tmp_path / "a").problems["reason"].iloc[0]
    )


def test_a_manifest_is_found_by_path_then_by_unique_name(tmp_path, tone):
    rows = [empty_row("own", path) for path in ("x/one", "y/one", "y/two", "z/three", "z/four")]
    manifest = validate(pd.DataFrame(rows))
    for seconds, file in enumerate(
        ("x/one.wav", "elsewhere/one.wav", "moved/two.wav", "z/three.wav", "extra.wav"), 1
    ):
        tone(tmp_path / "root" / file, seconds=seconds / 10)
    result = scan(write_manifest(manifest, tmp_path / "m.csv"), tmp_path / "root")
    assert result.manifest[["path", "duration"]].to_dict("list") == {
        "path": ["x/one", "y/two", "z/three"],
        "duration": [0.1, 0.3, 0.4],
    }
    assert list(result.manifest.columns) == [*COLUMNS, *LOCAL_COLUMNS]
    expected = {
        "elsewhere/one.wav": "foreign",
        "extra.wav": "foreign",
        "y/one": "missing",
        "z/four": "missing",
    }
    assert {
        file: reason.split(":")[0] for file, reason in reasons(result, without=("nothing",)).items()
    } == expected
    again = scan(result.manifest, tmp_path / "root")
    pd.testing.assert_frame_equal(again.manifest, result.manifest)
    with pytest.raises(
        ManifestError, match="none of the manifest's 1 utterances.*audio files found: 5"
    ):
        scan(
            validate(pd.DataFrame([empty_row("own", "nowhere")])), tmp_path / "root"
        )


def test_hidden_folders_links_and_loops(tmp_path, tone):
    root = tmp_path / "root"
    for file in (
        "a/one.wav",
        ".ipynb_checkpoints/two.wav",
        "__MACOSX/a/one.wav",
        "a/back\\slash.wav",
        "a/three.OGGx",
    ):
        tone(root / file)
    tone(tmp_path / "other" / "linked.Wav")
    (root / "link").symlink_to(tmp_path / "other")
    (tmp_path / "other" / "loop").symlink_to(tmp_path / "other")
    found = find_audio(root)
    assert found.files == ["a/one.wav", "link/linked.Wav"] and found.ignored == {".oggx": 1}
    assert set(found.refused) == {
        ".ipynb_checkpoints/two.wav",
        "__MACOSX/a/one.wav",
        "a/back\\slash.wav",
    }
    assert [
        without_extension(name) for name in ("a.wav", "a.b.WAV", "a.wav.wav", "x/.wav", "é.flac")
    ] == ["a", "a.b", "a", "x/.wav", "é"]


def test_a_corpus_with_annotation_files_needs_only_a_module_and_a_card(tmp_path, monkeypatch, tone):
    """The shape that IEMOCAP, MSP-IMPROV and EmoFilm need: labels and speakers beside the audio, no
    shipped rows.
    """

    def parse(path):
        if not path.stem.startswith("Ses"):
            raise parsers.ForeignNameError(path, "no session")
        return empty_row("toy", path.stem, session=path.stem[3:5])

    def annotations(root):
        lines = [line.split() for line in (root / "labels.txt").read_text().splitlines()]
        return pd.DataFrame(
            [{"emotion_raw": raw, "valence": float(valence)} for _, raw, valence in lines],
            index=[f"toy/{line[0]}" for line in lines],
        )

    monkeypatch.setitem(parsers.PARSERS, "toy", parse)
    monkeypatch.setitem(parsers.ANNOTATIONS, "toy", annotations)
    monkeypatch.setattr(cards, "data_folder", lambda: tmp_path / "cards")
    (tmp_path / "cards").mkdir()
    (tmp_path / "cards" / "toy.yaml").write_text(
        "{title: t, citation: c, license: l, access: request, url: u, language: en, "
        "label_map: {ang: anger, exc: excited}, known_bad: [{path: Ses01c, reason: silent}, "
        "{path: Ses02f, reason: clipped, skip: true}, {path: Ses02b, reason: same as Ses02a}]}"
    )
    for stem in ("Ses01a", "Ses02b", "Ses02d", "Ses02e", "Ses02f", "other"):
        tone(tmp_path / "root" / f"{stem}.wav")
    (tmp_path / "root" / "Ses01c.wav").write_bytes(b"")
    (tmp_path / "root" / "labels.txt").write_text(
        "Ses01a ang 2.5\nSes02b exc 4\nSes02d xxx 3\nSes02f ang 1\nSes01c ang 1\nSes09z ang 1\n"
    )
    result = scan("toy", tmp_path / "root")
    columns = ["utt_id", "session", "emotion_raw", "emotion", "valence"]
    assert result.manifest[columns].to_numpy().tolist() == [
        ["toy/Ses01a", "01", "ang", "anger", 2.5],
        ["toy/Ses02b", "02", "exc", "excited", 4.0],
    ]
    assert reasons(result) == {
        "other.wav": "foreign: no session",
        "Ses02e.wav": "no entry in the annotation files",
        "Ses02d.wav": "label 'xxx' is not in the label map of toy.yaml",
        "Ses01c.wav": "empty file (0 bytes) (known: silent)",
        "Ses02f.wav": "left out: a known bad file (known: clipped)",
    }


def test_the_synthetic_corpus_is_made_in_the_workspace(tmp_path, monkeypatch, tone, capsys):
    made = []

    def make_synthetic_corpus(folder, seed=0, n_speakers=8, progress=True):
        made.append(folder)
        rows = [
            {
                **empty_row("synthetic-studio", "a"),
                "file": str(tone(folder / "a.wav")),
                "sample_rate": 16000,
                "channels": 1,
                "duration": 1.0,
                "audio_sha256": "0",
            }
        ]
        return pd.DataFrame(rows)

    monkeypatch.setitem(
        sys.modules,
        "colab_utils.corpora.synthetic",
        types.SimpleNamespace(make_synthetic_corpus=make_synthetic_corpus),
    )
    result = load_corpus("synthetic", workspace=tmp_path)
    assert (
        made[0].is_relative_to(tmp_path)
        and result.manifest["utt_id"].tolist() == ["synthetic-studio/a"]
        and result.card.name == "synthetic"
    )
    load_corpus("synthetic", tmp_path / "here")
    assert (
        made[1] == tmp_path / "here" and "synthetic-studio: 1 utterances" in capsys.readouterr().out
    )


def test_load_corpus_prints_what_matters_and_remembers(emodb, tmp_path, capsys, decoded):
    result = load_corpus("emodb", emodb, workspace=tmp_path / "work")
    out = capsys.readouterr().out
    assert (
        "emodb: 3 utterances" in out
        and "error: number of utterances: emodb: 3 found, 535 expected" in out
        and result.card.name == "emodb"
    )
    decoded.clear()
    assert load_corpus("emodb", emodb, workspace=tmp_path / "work").decoded == 0 and decoded == []
    with pytest.raises(ManifestError, match="pass audio="):
        load_corpus("savee", workspace=tmp_path)
