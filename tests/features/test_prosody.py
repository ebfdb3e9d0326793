"""Prosody against signals whose pitch, level and voicing are known by construction."""

import numpy as np
import pytest

from colab_utils.corpora.audio import load_audio
from colab_utils.features.acoustic.log_mel import LogMel
from colab_utils.features.acoustic.prosody import ENERGY_FLOOR_DB, Prosody, frame_energy_db
from colab_utils.settings import SettingError

RATE = 16000


def voice(hz, seconds=1.0, level=0.1):
    """A pulse-like tone with harmonics up to 7 kHz and F0 `hz` (a number or an array of one value a
    sample).
    """
    phase = 2 * np.pi * np.cumsum(np.broadcast_to(hz, int(seconds * RATE))) / RATE
    tone = sum(np.cos(k * phase) / k for k in range(1, int(7000 / np.max(hz))))
    return (level * tone / np.abs(tone).max()).astype(np.float32)


@pytest.mark.parametrize("hz", [85.0, 140.0, 220.0, 390.0])
def test_steady_voices_have_their_pitch(hz):
    (frames,) = Prosody().compute([voice(hz)])
    # the tone is cut off at its ends, which no voice is
    frames = frames[10:-10]
    voiced = frames[:, 1] == 1
    assert voiced.mean() > 0.95
    assert np.abs(12 * (frames[voiced, 0] - np.log(hz)) / np.log(2)).max() < 0.2, (
        "a fifth of a semitone"
    )
    assert np.median(frames[voiced, 3]) < -10, "a periodic tone is not noisy"


def test_a_glide_is_followed_frame_by_frame():
    hz = np.linspace(120, 240, RATE)
    (frames,) = Prosody().compute([voice(hz)])
    inner = np.arange(10, 90)
    assert np.abs(np.exp(frames[inner, 0]) - hz[inner * 160]).max() < 3.0


def test_noise_and_silence_are_unvoiced():
    noise = np.random.default_rng(0).normal(0, 0.05, RATE).astype(np.float32)
    hiss, silence = Prosody().compute([noise, np.zeros(RATE, np.float32)])
    assert hiss[:, 1].mean() < 0.1 and silence[:, 1].sum() == 0
    for frames in (hiss, silence):
        unvoiced = frames[:, 1] == 0
        assert (frames[unvoiced, 0] == 0).all() and (frames[unvoiced, 3] == 0).all()
    assert (silence[:, 2] == ENERGY_FLOOR_DB).all()
    assert np.allclose(hiss[:, 2], 20 * np.log10(0.05), atol=1.5)


def test_energy_equals_a_naive_loop():
    wave = np.random.default_rng(1).normal(0, 0.1, 1234)
    naive = [
        10 * np.log10(np.mean(wave[max(0, k * 160 - 200) : k * 160 + 200] ** 2)) for k in range(8)
    ]
    assert np.allclose(frame_energy_db(wave, 160, 8), naive, atol=1e-6)


def test_frames_stand_where_log_mel_frames_stand_and_do_not_depend_on_neighbours():
    waves = [voice(150, seconds) for seconds in (0.05, 0.0937, 0.31, 0.5)] + [
        voice(150)[:length] for length in (800, 959, 960, 961)
    ]
    together = Prosody().compute(waves)
    for wave, frames, mel in zip(waves, together, LogMel().compute(waves), strict=True):
        assert (
            frames.shape == (len(mel), 4)
            and frames.dtype == np.float32
            and np.isfinite(frames).all()
        )
        assert np.array_equal(Prosody().compute([wave])[0], frames)


def test_the_strict_voicing_test_refuses_some_of_what_dio_accepts(real_corpora):
    waves = [load_audio(file) for file in sorted((real_corpora / "emodb").glob("*.flac"))[:6]]
    for free, default in zip(
        Prosody(voicing_threshold=0.0).compute(waves), Prosody().compute(waves), strict=True
    ):
        assert not (default[:, 1] > free[:, 1]).any() and 0.2 < default[:, 1].mean() < 0.95


def test_women_speak_higher_than_men(real_corpora):
    def pitch(speaker):
        waves = [
            load_audio(real_corpora / "emovo" / f"neu-{speaker}-{sentence}.flac")
            for sentence in ("b1", "l1")
        ]
        frames = np.concatenate(Prosody().compute(waves))
        return np.exp(np.median(frames[frames[:, 1] > 0, 0]))

    men = [pitch("m1"), pitch("m2")]
    women = [pitch("f1"), pitch("f2")]
    assert 80 < max(men) < min(women) < 300


def test_settings_and_waveforms_that_cannot_work():
    with pytest.raises(SettingError, match="low_hz"):
        Prosody(low_hz=200.0, high_hz=200.0)
    with pytest.raises(ValueError, match="at least one sample"):
        Prosody().compute([np.zeros(0, np.float32)])
