"""Scanning folders: whole corpora, any layout, annotation files."""

import os
import sys
import types

import numpy as np
import pandas as pd
import pytest
import soundfile
from scanned import GOOD, reasons

from colab_utils.corpora import cards, frozen_folds, parsers
from colab_utils.corpora.cards import shipped_manifest
from colab_utils.corpora.check import check_manifest
from colab_utils.corpora.manifest import (
    ManifestError,
    empty_row,
    manifest_hash,
)
from colab_utils.corpora.scan import load_corpus, scan


@pytest.mark.slow
@pytest.mark.parametrize(
    ("corpus", "number"), [("emodb", 535), ("ravdess", 1440), ("emovo", 588), ("savee", 480)]
)
def test_real_corpora_are_whole(corpus, number, real_corpora):
    result = scan(corpus, real_corpora / corpus)
    assert (len(result.manifest), len(result.problems), result.ignored) == (number, 0, {})
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


def test_the_order_of_rows_does_not_follow_the_folders(emodb):
    before = scan("emodb", emodb).manifest
    for folder, stem in zip(("z", "y", "x"), GOOD, strict=True):
        (emodb / folder).mkdir()
        (emodb / "wav" / f"{stem}.wav").rename(emodb / folder / f"{stem}.WAV")
    after = scan("emodb", emodb).manifest
    assert after["path"].tolist() == list(GOOD) and after.drop(columns="file").equals(
        before.drop(columns="file")
    )


def test_savee_is_found_in_the_owners_layout_even_from_a_speakers_folder(tmp_path, tone):
    for speaker, stem in (("DC", "a01"), ("KL", "su15")):
        tone(tmp_path / "AudioData" / speaker / f"{stem}.wav")
    tone(tmp_path / "AudioData" / "XX" / "a01.wav")
    result = scan("savee", tmp_path)
    assert result.manifest["utt_id"].tolist() == ["savee/DC_a01", "savee/KL_su15"] and list(
        reasons(result)
    ) == ["AudioData/XX/a01.wav"]
    assert scan("savee", tmp_path / "AudioData" / "DC").manifest["utt_id"].tolist() == [
        "savee/DC_a01"
    ]


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

    def make_synthetic_corpus(folder):
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
    load_corpus("emodb", emodb, workspace=tmp_path / "work")
    assert decoded == []
    with pytest.raises(ManifestError, match="pass audio="):
        load_corpus("savee", workspace=tmp_path)


def test_scan_names_the_silent_clip_and_reads_the_short_name(tmp_path, tone):
    for name in ("1001_DFA_ANG_XX", "1040_ITH_SAD_X"):
        tone(tmp_path / "AudioWAV" / f"{name}.wav", hz=200 + len(name))
    soundfile.write(tmp_path / "AudioWAV" / "1076_MTI_SAD_XX.wav", np.zeros(16000), 16000)
    result = scan("crema_d", tmp_path)
    assert sorted(result.manifest["utt_id"]) == [
        "crema_d/1001_DFA_ANG_XX",
        "crema_d/1040_ITH_SAD_XX",
    ]
    reasons = result.problems.set_index("utt_id")["reason"]
    assert (
        "it holds no sound" in reasons["crema_d/1076_MTI_SAD_XX"]
        and reasons.str.startswith("missing").sum() == 7441 - 2
    )


def test_scan_reads_both_layouts_of_tess_and_its_misspelt_name(tmp_path, tone):
    tone(tmp_path / "OAF_Pleasant_surprise" / "OAF_back_ps.wav", hz=210)
    tone(tmp_path / "YAF_pleasant_surprised" / "YAF_back_ps.wav", hz=230)
    tone(tmp_path / "OAF_neutral" / "OA_bite_neutral.wav", hz=250, rate=24414)
    tone(tmp_path / "OAF_neutral" / "OAF_nonsense_neutral.wav", hz=270)
    result = scan("tess", tmp_path)
    assert dict(zip(result.manifest["utt_id"], result.manifest["emotion"], strict=True)) == {
        "tess/OAF_back_ps": "surprise",
        "tess/YAF_back_ps": "surprise",
        "tess/OAF_bite_neutral": "neutral",
    }
    assert (
        "not among the utterances"
        in result.problems.set_index("utt_id").loc["tess/OAF_nonsense_neutral", "reason"]
    )


def test_scan_reads_corpora_without_shipped_rows(tmp_path, tone):
    tone(tmp_path / "aesdd" / "sadness" / "s01 (5)b.wav", hz=200)
    (tmp_path / "aesdd" / "sadness" / "s05 (3).wav").write_bytes(b"RIFF damaged")
    tone(tmp_path / "shemo" / "female" / "F21W37.wav", rate=22050)
    tone(tmp_path / "shemo" / "female" / "03a01Fa.wav", hz=300)
    aesdd, shemo = (
        scan("aesdd", tmp_path / "aesdd"),
        scan("shemo", tmp_path / "shemo"),
    )
    assert aesdd.manifest[["utt_id", "speaker", "emotion"]].to_numpy().tolist() == [
        ["aesdd/s01 (5)b", "5", "sadness"]
    ]
    assert (
        "known: a damaged file" in aesdd.problems.set_index("utt_id").loc["aesdd/s05 (3)", "reason"]
    )
    assert shemo.manifest[["utt_id", "emotion", "sample_rate"]].to_numpy().tolist() == [
        ["shemo/F21W37", "surprise", 22050]
    ]
    assert (
        shemo.problems[["file"]].to_numpy().tolist() == [["female/03a01Fa.wav"]]
        and len(frozen_folds("shemo")) == 87
    )
