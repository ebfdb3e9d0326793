"""Windows cover a recording, nothing is lost at their seams, and long files are read in blocks."""

import librosa
import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from known_model import RATE, tone

from colab_utils.corpora import audio
from colab_utils.learning.hearing import window_ends, windows


@given(seconds=st.floats(0.05, 20000), window=st.floats(0.5, 4000))
def test_windows_cover_everything_and_none_is_very_short_or_long(seconds, window):
    ends = window_ends(seconds, window)
    lengths = np.diff([0.0, *ends])
    assert ends[-1] == seconds
    assert np.allclose(lengths[:-1], window)
    if seconds < 1.5 * window * (1 - 1e-12):
        assert len(ends) == 1
    else:
        assert 0.499 * window < lengths[-1] < 1.501 * window


def recording(path, seconds, rate, channels=1, **options):
    """Noise of so many seconds, a different one in each channel."""
    wave = np.random.default_rng(0).normal(0, 0.1, (round(seconds * rate), channels))
    soundfile.write(path, wave, rate, **options)
    return path


@settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    seconds=st.floats(1.0, 4.0),
    window=st.floats(0.5, 3.0),
    rate=st.sampled_from([8000, 16000, 22050, 44100]),
)
def test_the_pieces_are_the_whole_recording(tmp_path, monkeypatch, seconds, window, rate):
    file = recording(tmp_path / "a.wav", seconds, rate, 2)
    monkeypatch.setattr(audio, "WHOLE_SECONDS", 0.0)
    monkeypatch.setattr("colab_utils.corpora.codecs.reading._BLOCK", 5000)
    found = audio.survey(file, 1e4)
    pieces = list(windows(found, window, [RATE, 24000]))
    assert [one.start for one in pieces] == [0.0, *(one.end for one in pieces[:-1])]
    assert pieces[-1].end == found.length / rate
    for hertz in (RATE, 24000):
        whole = audio.load_audio(file, hertz)
        joined = np.concatenate([one.waves[hertz] for one in pieces])
        assert len(joined) == len(whole)
        assert np.abs(joined - whole).max() < 1e-4
        for one in pieces:
            assert abs(len(one.waves[hertz]) - (one.end - one.start) * hertz) <= 1.5


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 48000])
@pytest.mark.parametrize("kind", ["WAV", "MP3", "OGG", "FLAC"])
def test_a_stream_is_the_recording_resampled_at_once(tmp_path, monkeypatch, rate, kind):
    """Without a click: the seams of blocks are as exact as all the rest."""
    file = tmp_path / f"a.{kind.lower()}"
    soundfile.write(file, tone(440, 3.3, rate), rate, format=kind)
    monkeypatch.setattr(audio, "WHOLE_SECONDS", 0.0)
    monkeypatch.setattr("colab_utils.corpora.codecs.reading._BLOCK", 4096)
    blocks = list(audio.stream(audio.survey(file, 1e4)))
    samples, _ = audio.read_audio(file)
    whole = librosa.resample(samples[:, 0], orig_sr=rate, target_sr=RATE, res_type="soxr_hq")
    joined = np.concatenate(blocks)
    assert len(blocks) > 5
    assert joined.shape == whole.shape
    assert np.abs(joined - whole).max() < 2e-6


def test_a_long_recording_is_used_as_a_short_one_is(tmp_path, monkeypatch):
    """Channels that cancel, and whole numbers as floats, are set right from what all blocks say."""
    wave = tone(300, 2.0, level=20000).round()
    soundfile.write(tmp_path / "a.wav", np.stack([wave, -wave], 1), RATE, subtype="FLOAT")
    whole = audio.load_audio(tmp_path / "a.wav")
    monkeypatch.setattr(audio, "WHOLE_SECONDS", 0.0)
    monkeypatch.setattr(audio, "_BLOCK", 3000)
    monkeypatch.setattr("colab_utils.corpora.codecs.reading._BLOCK", 3000)
    found = audio.survey(tmp_path / "a.wav", 1e4)
    assert found.note == audio.decode(tmp_path / "a.wav").note
    assert "channel 1" in found.note and "16-bit" in found.note
    assert np.array_equal(np.concatenate(list(audio.stream(found))), whole)


def test_a_file_that_changes_meanwhile_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(audio, "WHOLE_SECONDS", 0.0)
    found = audio.survey(recording(tmp_path / "a.wav", 2, RATE), 1e4)
    recording(tmp_path / "a.wav", 3, RATE)
    with pytest.raises(audio.AudioError, match="changed"):
        list(audio.stream(found))
    with pytest.raises(audio.AudioError, match="longer than 0 minutes"):
        audio.survey(tmp_path / "a.wav", 1.0)


@pytest.mark.parametrize(("level", "share"), [(0.98, 0.0), (5.0, 0.87)])
def test_clipping_is_counted(tmp_path, level, share):
    """Of a sine cut off at a fifth of its height asin(1/5) / (pi/2) is below: 0.128."""
    wave = np.clip(tone(200, 1.0, level=level), -1, 1)
    soundfile.write(tmp_path / "a.wav", wave, RATE)
    assert audio.survey(tmp_path / "a.wav", 1e4).clipped == pytest.approx(share, abs=0.01)
