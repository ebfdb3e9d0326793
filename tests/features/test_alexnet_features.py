"""The AlexNet system's features against librosa, its published traps beside the repaired way."""

import dataclasses

import librosa
import numpy as np
import pytest
from sounds import speech

from colab_utils.corpora.audio import load_audio
from colab_utils.features import front_end
from colab_utils.features.published.alexnet import (
    FEATURE_SETS,
    AlexNetSpectrogram,
    deltas,
    segment_count,
    segments,
)
from colab_utils.settings import SettingError


def by_librosa(wave, mel=False):
    """The published computation (features_util.py of the system), (frames, bins)."""
    emphasised = librosa.effects.preemphasis(wave.astype(np.float64), coef=0.97, zi=[0.0])
    spectrum = np.abs(
        librosa.stft(
            emphasised,
            n_fft=800,
            hop_length=160,
            win_length=640,
            window="hamming",
            pad_mode="reflect",
        )
    )
    if mel:
        return librosa.power_to_db(
            librosa.feature.melspectrogram(S=spectrum**2, sr=16000, n_mels=128),
            ref=np.max,
            top_db=80,
        ).T
    return librosa.amplitude_to_db(spectrum, ref=np.max, top_db=80)[:200].T


def above_floor(values, expected):
    """Largest difference where neither is near the floor, in dB."""
    return np.abs(values - expected)[(expected > -79.99) & (values > -79.99)].max()


@pytest.mark.parametrize("samples", [401, 4800, 24011])
def test_levels_equal_librosas(samples):
    wave = speech(samples)
    for feature_set, mel in (("logspec", False), ("logmelspec", True)):
        (values,) = AlexNetSpectrogram(feature_set=feature_set).compute([wave])
        expected = by_librosa(wave, mel)
        assert values.shape == expected.shape and above_floor(values, expected) < 1e-3
        assert values.min() >= -80 and values.max() <= 0


def test_on_real_speech(real_corpora):
    for file in sorted((real_corpora / "emodb").rglob("*.flac"))[:40:13]:
        wave = load_audio(file, 16000)
        for feature_set, mel in (("logspec", False), ("logmelspec", True)):
            (values,) = AlexNetSpectrogram(feature_set=feature_set).compute([wave])
            assert above_floor(values, by_librosa(wave, mel)) < 1e-3
            if not mel:
                assert values.shape[1] == 200


@pytest.mark.parametrize(("feature_set", "width"), [("logmeldeltaspec", 5), ("logdeltaspec", 9)])
def test_deltas_equal_librosas(feature_set, width):
    spec = AlexNetSpectrogram(feature_set=feature_set)
    (values,) = spec.compute([speech()])
    level, first, second = np.split(values, 3, axis=1)
    expected = librosa.feature.delta(level.T, width=width).T
    assert np.abs(first - expected).max() < 1e-3
    assert np.abs(second - librosa.feature.delta(expected.T, width=width).T).max() < 1e-3
    assert (
        spec.channels == 3
        and spec.padding == (-80.0, 0.0, 0.0)
        and len(spec.feature_names) == values.shape[1]
    )
    short = deltas(np.arange(3.0)[:, None], 9)
    assert short.shape == (3, 1) and np.isfinite(short).all() and short[1] > 0


def test_noise_and_room_channels_lie_beside_the_clean_one():
    wave = speech()
    clean, noisy, reverberant = np.split(
        AlexNetSpectrogram(feature_set="lognrevspec").compute([wave])[0], 3, axis=1
    )
    assert np.array_equal(clean, AlexNetSpectrogram().compute([wave])[0])
    pauses = clean < -60
    assert (
        noisy[pauses].mean() > clean[pauses].mean() + 3
        and reverberant[pauses].mean() > clean[pauses].mean() + 3
    )


@pytest.mark.parametrize(
    "spec",
    [
        *(AlexNetSpectrogram(feature_set=one) for one in FEATURE_SETS),
        AlexNetSpectrogram(condition="babble@5"),
        AlexNetSpectrogram(condition="reverb"),
    ],
    ids=lambda one: f"{one.feature_set} {one.condition}",
)
def test_clips_do_not_see_each_other(spec):
    waves = [speech(9000, 1), speech(300, 2), speech(16000, 3)]
    together = spec.compute(waves)
    for wave, values in zip(waves[::-1], together[::-1], strict=True):
        assert np.array_equal(spec.compute([wave])[0], values)


def test_short_silent_and_empty_clips():
    for samples in (1, 2, 100, 399):
        (values,) = AlexNetSpectrogram(feature_set="logdeltaspec").compute([speech(samples)])
        assert values.shape == (1 + samples // 160, 600) and np.isfinite(values).all()
    assert (AlexNetSpectrogram().compute([np.zeros(1600, np.float32)])[0] == -80).all()
    # librosa's rule: silence is the loudest there is
    assert (by_librosa(np.zeros(1600, np.float32)) == 0).all()
    with pytest.raises(ValueError, match="waveform 0"):
        AlexNetSpectrogram().compute([np.zeros(0, np.float32)])


def test_padding_is_silence_and_the_published_padding_is_the_loudest_value():
    spec = AlexNetSpectrogram()
    (frames,) = spec.compute([speech(16000)])
    pictures, valid = segments(frames, spec)
    assert pictures.shape == (1, 1, 200, 300) and valid.tolist() == [101]
    own, padded = pictures[0, 0, :, :101], pictures[0, 0, :, 101:]
    assert padded.max() <= own.min() and (padded == -80).all()
    published = segments(frames, spec, padding="zero")[0][0, 0, :, 101:]
    # the trap: the padding outshines all speech
    assert (published >= own.max()).all()


@pytest.mark.parametrize(
    ("n_frames", "length", "hop"),
    [
        (1, 300, 300),
        (300, 300, 300),
        (301, 300, 300),
        (900, 300, 150),
        (731, 300, 150),
        (450, 300, 150),
    ],
)
def test_segments_against_a_naive_loop(n_frames, length, hop):
    spec = AlexNetSpectrogram(feature_set="logdeltaspec")
    frames = np.random.default_rng(n_frames).normal(size=(n_frames, 600)).astype(np.float32)
    pictures, valid = segments(frames, spec, length, hop)
    assert len(pictures) == segment_count(n_frames, length, hop)
    seen = np.zeros(n_frames, dtype=int)
    for number, picture in enumerate(pictures):
        for t in range(length):
            at = number * hop + t
            for channel in range(3):
                expected = (
                    frames[at, 200 * channel : 200 * (channel + 1)]
                    if at < n_frames
                    else np.full(200, spec.padding[channel])
                )
                assert np.array_equal(picture[channel, :, t], expected.astype(np.float32))
            if at < n_frames:
                seen[at] += 1
        assert valid[number] == min(length, n_frames - number * hop) > 0
    assert (seen >= 1).all()


def test_it_is_a_front_end_like_the_others():
    spec = front_end("alexnet")
    assert (
        spec == AlexNetSpectrogram() and dataclasses.replace(spec, condition="pink@10").dim == 200
    )


@pytest.mark.parametrize(
    "condition", ["noisy", "white", "white@x", "white@900", "reverb@0", "cafe@5", "", "8khz@2"]
)
def test_conditions_that_do_not_exist_are_refused(condition):
    with pytest.raises(SettingError, match="choose clean, 8khz, reverb"):
        AlexNetSpectrogram(condition=condition)
