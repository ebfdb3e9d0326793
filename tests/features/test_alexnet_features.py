"""The AlexNet system's features against librosa, its published traps beside the repaired way."""

import collections
import dataclasses

import librosa
import numpy as np
import pytest
from sounds import speech

from colab_utils.corpora.audio import load_audio
from colab_utils.features import front_end
from colab_utils.features.acoustic.degrade import own_seed
from colab_utils.features.published.alexnet import (
    FEATURE_SETS,
    AlexNetSpectrogram,
    deltas,
    segment_count,
    segments,
)
from colab_utils.features.published.sox_reverb import sox_reverb
from colab_utils.settings import SettingError


def emphasised(wave):
    """Pre-emphasis from a sample of 0, one sample after the other."""
    before, out = 0.0, []
    for sample in wave.astype(np.float64):
        out.append(sample - 0.97 * before)
        before = sample
    return np.array(out)


def levels(signal, mel=False):
    """What extract_logspec and extract_logmelspec do after pre-emphasis, (frames, bins)."""
    how = {"n_fft": 800, "hop_length": 160, "win_length": 640, "window": "hamming"}
    if mel:
        power = librosa.feature.melspectrogram(
            y=signal, sr=16000, n_mels=128, pad_mode="reflect", **how
        )
        return librosa.power_to_db(power, ref=np.max).T
    spectrum = np.abs(librosa.stft(signal, pad_mode="reflect", **how))
    return librosa.amplitude_to_db(spectrum, ref=np.max)[:200].T


def fitted(values, width, order, nearest):
    """A derivative by a line or parabola fitted anew to the frames around each one."""
    half, n = width // 2, len(values)
    padded = np.pad(values, ((half, half), (0, 0)), mode="edge")
    out = np.empty_like(values)
    for t in range(n):
        window = padded[t : t + width]
        if not nearest:  # at the ends, the curve of the last whole window
            begin = min(max(t - half, 0), n - width)
            window = values[begin : begin + width]
        first = np.polyfit(np.arange(width), window, order)[0]
        # the slope of a line, the second derivative of a parabola: the same all along it
        out[t] = first if order == 1 else 2 * first
    return out


def freeverb(signal):
    """SoX's reverb 50 50 100 100 20 0 at 44.1 kHz of one channel, sample after sample."""
    combs, allpasses = [1116, 1188, 1277, 1356, 1422, 1491, 1557, 1617], [225, 341, 441, 556]
    a = -1 / np.log(1 - 0.3)
    b = 100 / (np.log(1 - 0.98) * a + 1)
    feedback, damping = 1 - np.exp((50 - b) / (a * b)), 50 / 100 * 0.3 + 0.2
    signal = [min(max(float(sample), -1), 1) for sample in signal]
    late = [0.0] * 882 + signal
    out = np.zeros(len(signal))
    for side in (0, 1):
        lines = []
        for bank in (combs, allpasses):
            signs = [1 if number % 2 == 0 else -1 for number in range(len(bank))]
            sizes = [size + 12 * side * sign for size, sign in zip(bank, signs, strict=True)]
            lines.append([collections.deque([0.0] * size) for size in sizes])
        soft = [0.0] * len(combs)
        for t in range(len(signal)):
            total = 0.0
            for number, line in enumerate(lines[0]):
                heard = line.popleft()
                soft[number] = heard + (soft[number] - heard) * damping
                line.append(late[t] + soft[number] * feedback)
                total += heard
            for line in reversed(lines[1]):
                heard = line.popleft()
                line.append(total + 0.5 * heard)
                total = heard - total
            out[t] += min(max(signal[t] + 0.015 * total, -1), 1) / 2
    return out


def released(feature_set, wave):
    """The channels of features_util.py at a38c296, in float64; the noise is drawn as ours is."""
    signal = emphasised(wave)
    level = levels(signal, mel="mel" in feature_set)
    if feature_set == "logmeldeltaspec":
        slope = fitted(level, 5, 1, nearest=True)
        return [level, slope, fitted(slope, 5, 1, nearest=True)]
    if feature_set == "logdeltaspec":
        slope, curvature = (fitted(level, 9, order, nearest=False) for order in (1, 2))
        return [level, slope, curvature]
    if feature_set == "lognrevspec":
        rng = np.random.default_rng(own_seed(wave, "lognrevspec"))
        noisy = signal + rng.normal(0, 0.002, len(signal))
        return [level, levels(noisy), levels(freeverb(signal))]
    return [level]


@pytest.mark.parametrize("samples", [2000, 9001])
@pytest.mark.parametrize("feature_set", FEATURE_SETS)
def test_the_five_feature_sets_are_those_of_the_released_code(feature_set, samples):
    wave = speech(samples)
    spec = AlexNetSpectrogram(feature_set=feature_set)
    (values,) = spec.compute([wave])
    expected = released(feature_set, wave)
    assert len(expected) == spec.channels and values.shape[1] == len(spec.feature_names)
    assert np.abs(values - np.concatenate(expected, axis=1)).max() < 1e-3
    assert values[:, : spec.bins].max() == 0 and values.min() >= -80


def test_on_real_speech(real_corpora):
    for file in sorted((real_corpora / "emodb").rglob("*.flac"))[:40:13]:
        wave = load_audio(file, 16000)
        for feature_set in ("logspec", "logmeldeltaspec", "logdeltaspec"):
            (values,) = AlexNetSpectrogram(feature_set=feature_set).compute([wave])
            expected = np.concatenate(released(feature_set, wave), axis=1)
            assert np.abs(values - expected).max() < 1e-3


def test_the_room_is_that_of_sox():
    impulse = np.zeros(4000)
    impulse[0] = 0.5
    loud = 6 * speech(6000).astype(np.float64)
    assert np.abs(loud).max() > 1.5  # clipped on its way in, and on its way out
    for wave in (impulse, loud):
        assert np.abs(sox_reverb(wave) - freeverb(wave)).max() < 1e-12


def test_slopes_of_a_line_and_curvature_of_a_parabola():
    t = np.arange(20.0)[:, None]
    assert np.allclose(deltas(3 * t, 9), 3) and np.allclose(deltas(t**2, 9, order=2), 2)
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
    assert (levels(np.zeros(1600)) == 0).all()
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
