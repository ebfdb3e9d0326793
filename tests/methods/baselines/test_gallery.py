"""The gallery: which clips it takes, their pitch, pictures and players."""

import numpy as np
import pandas as pd
import pytest

from colab_utils.corpora.audio import load_audio
from colab_utils.methods.baselines import gallery

LABELS = ["anger", "happiness", "neutral", "sadness"]


def test_clips_are_of_one_speaker_and_text_where_possible():
    rows = [
        ("a", "s1", "anger", "t1"),
        ("b", "s1", "neutral", "t1"),
        ("c", "s1", "neutral", "t2"),
        ("d", "s2", "anger", "t1"),
        ("e", "s2", "sadness", "t1"),
        ("f", "s1", "sadness", "t1"),
        ("g", "s1", "anger", "t3"),
    ]
    manifest = pd.DataFrame(rows, columns=["utt_id", "speaker", "emotion", "text_id"]).assign(
        corpus="x"
    )
    for seed in range(5):
        assert list(gallery.choose_clips(manifest, seed=seed)["utt_id"]) == ["a", "b", "f"]
    assert list(gallery.choose_clips(manifest, ["sadness"], per_emotion=5)["emotion"]) == [
        "sadness",
        "sadness",
    ]
    with pytest.raises(
        ValueError, match="no utterance of joy: the manifest has anger, neutral, sadness"
    ):
        gallery.choose_clips(manifest, ["joy"])


def test_pitch_of_a_voice_like_wave_is_its_fundamental():
    time = np.arange(16000) / 16000
    wave = (
        sum(np.sin(2 * np.pi * 180 * k * time) / k for k in range(1, 15)).astype(np.float32) * 0.2
    )
    track = gallery.pitch(wave)
    assert len(track) == 101
    assert np.nanmedian(track) == pytest.approx(180, abs=2)
    assert np.isnan(gallery.pitch(np.zeros(8000, dtype=np.float32))).all()


def test_gallery_shows_and_plays_one_clip_of_each_emotion(tmp_path, tone):
    manifest = pd.DataFrame(
        [
            {
                "utt_id": f"synthetic-studio/{e}",
                "corpus": "synthetic-studio",
                "speaker": "01",
                "gender": "female",
                "text_id": "",
                "emotion": e,
                "file": str(tone(tmp_path / f"{e}.wav", seconds=0.5)),
            }
            for e in LABELS
        ]
    )
    page = gallery.show_gallery(manifest, ["anger", "sadness"]).data
    assert page.count("<audio") == page.count("<img") == 2
    assert (
        "anger, speaker 01 (female)" in page
        and "Synthetic corpus" in page
        and "neutral" not in page
    )


def test_gallery_of_real_speech(real_corpora):
    found = {
        name[5]: name
        for name in sorted(p.name for p in (real_corpora / "emodb").glob("03a0*.flac"))
    }
    manifest = pd.DataFrame(
        [
            {
                "utt_id": f"emodb/{name}",
                "corpus": "emodb",
                "speaker": "03",
                "gender": "male",
                "text_id": name[2:5],
                "emotion": {"F": "happiness", "N": "neutral", "W": "anger"}[letter],
                "file": str(real_corpora / "emodb" / name),
            }
            for letter, name in found.items()
            if letter in "FNW"
        ]
    )
    assert len(manifest) >= 2
    page = gallery.show_gallery(manifest).data
    assert page.count("<audio") == page.count("<img") == len(manifest)
    track = gallery.pitch(load_audio(manifest["file"].iloc[0], gallery.RATE))
    assert 80 < np.nanmedian(track) < 350, "a man's fundamental, in Hz"
