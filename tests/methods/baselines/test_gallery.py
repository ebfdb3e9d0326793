"""The gallery: which clips it takes, their pitch, pictures and players."""

import re

import numpy as np
import pandas as pd
import pytest

from colab_utils.corpora.audio import load_audio
from colab_utils.display.sound import utterance
from colab_utils.methods.baselines import gallery


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
    columns = ["utt_id", "speaker", "emotion", "text_id"]
    manifest = pd.DataFrame(rows, columns=columns).assign(corpus="x")
    for seed in range(5):
        shuffled = manifest.sample(frac=1, random_state=seed)
        chosen = gallery.choose_clips(shuffled, ["anger", "neutral", "sadness"])
        assert list(chosen["utt_id"]) == ["a", "b", "f"]
    assert list(gallery.choose_clips(manifest, ["sadness", "anger"])["utt_id"]) in (
        ["f", "a"],
        ["e", "d"],
    )
    with pytest.raises(ValueError, match="no utterance of joy.* anger, neutral, sadness"):
        gallery.choose_clips(manifest, ["joy"])


def test_pitch_of_a_voice_like_wave_is_its_fundamental():
    time = np.arange(16000) / 16000
    wave = 0.2 * sum(np.sin(2 * np.pi * 180 * k * time) / k for k in range(1, 15))
    track = utterance.pitch(wave.astype(np.float32))
    assert len(track) == 101 and np.nanmedian(track) == pytest.approx(180, abs=2)
    assert np.isnan(utterance.pitch(np.zeros(8000, dtype=np.float32))).all()


@pytest.mark.slow
def test_gallery_shows_and_plays_one_clip_of_each_emotion(tmp_path, tone):
    rows = []
    for emotion in ("anger", "neutral", "sadness"):
        file = tone(tmp_path / f"{emotion}.wav", seconds=0.5)
        rows.append((f"synthetic-studio/{emotion}", emotion, str(file)))
    manifest = pd.DataFrame(rows, columns=["utt_id", "emotion", "file"])
    manifest = manifest.assign(corpus="synthetic-studio", speaker="01", gender="female", text_id="")
    page = gallery.show_gallery(manifest, ["anger", "sadness"]).data
    assert page.count("<audio") == page.count("<img") == 2
    assert "anger, speaker 01 (female)" in page and "Synthetic corpus" in page
    assert re.search(
        r'alt="Spectrogram and pitch, anger, speaker 01[^"]* s, median of F0 \d+ Hz', page
    )
    assert "neutral" not in page


def test_gallery_of_real_speech(real_corpora):
    letters = {"F": "happiness", "N": "neutral", "W": "anger"}
    files = {}
    for path in sorted((real_corpora / "emodb").glob("03a0*.flac")):
        files[letters.get(path.name[5])] = path
    rows = [(path.name, emotion, str(path)) for emotion, path in files.items() if emotion]
    manifest = pd.DataFrame(rows, columns=["utt_id", "emotion", "file"])
    manifest = manifest.assign(corpus="emodb", speaker="03", gender="male", text_id="a")
    assert len(manifest) >= 2
    page = gallery.show_gallery(manifest, list(manifest["emotion"])).data
    assert page.count("<audio") == page.count("<img") == len(manifest)
    track = utterance.pitch(load_audio(manifest["file"].iloc[0], utterance.RATE))
    assert 80 < np.nanmedian(track) < 350, "a man's fundamental, in Hz"
