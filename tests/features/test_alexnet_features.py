"""The AlexNet system's features against librosa, its published traps beside the repaired way, worse
recordings, and the export.
"""

import dataclasses

import librosa
import numpy as np
import pandas as pd
import pytest

from colab_utils.corpora.audio import load_audio
from colab_utils.features import front_end
from colab_utils.features.acoustic import degrade
from colab_utils.features.published.alexnet import (
    FEATURE_SETS,
    AlexNetSpectrogram,
    deltas,
    segment_count,
    segments,
)
from colab_utils.methods.alexnet.export import SpeakerArrays, save_export, speaker_export
from colab_utils.settings import SettingError


def by_librosa(wave, mel=False):
    """The published computation (method_facts §3.2), (frames, bins)."""
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


def speech(samples=24011, seed=0):
    rng = np.random.default_rng(seed)
    n = np.arange(samples)
    return (
        0.3 * np.sin(n * 0.06 + 8 * np.sin(n / 4000)) * (np.sin(n / 2500) > -0.5)
        + 0.01 * rng.normal(size=samples)
    ).astype(np.float32)


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


# --- segments
# ---------------------------------------------------------------------------------------------------------------------------


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


# --- worse recordings
# -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", degrade.NOISES)
@pytest.mark.parametrize("snr", [0, 5, 20])
def test_noise_has_the_asked_level_over_the_active_speech(kind, snr):
    wave = np.concatenate([speech(), np.zeros(8000, np.float32)])
    noisy = degrade.degraded(wave, 16000, f"{kind}@{snr}")
    active = degrade.active_samples(wave, 16000)
    measured = 10 * np.log10(
        np.mean(wave[active].astype(float) ** 2)
        / np.mean((noisy - wave)[active].astype(float) ** 2)
    )
    assert (
        measured == pytest.approx(snr, abs=0.01)
        and noisy.dtype == np.float32
        and len(noisy) == len(wave)
    )
    assert np.array_equal(noisy, degrade.degraded(wave.copy(), 16000, f"{kind}@{snr}"))
    assert not np.array_equal(
        noisy[:100], degrade.degraded(wave[::-1].copy(), 16000, f"{kind}@{snr}")[:100]
    )


def test_noises_for_tests_are_not_those_for_training_and_all_differ():
    assert not set(degrade.TRAINING_NOISES) & set(degrade.UNSEEN_NOISES)
    spectra = []
    for kind in degrade.NOISES:
        noise = degrade.make_noise(kind, 64000, 16000, np.random.default_rng(0))
        power = np.abs(np.fft.rfft(noise)) ** 2
        hertz = np.fft.rfftfreq(64000, 1 / 16000)
        bands = ((0, 150), (150, 600), (600, 2500), (2500, 8000))
        spectra.append(
            [power[(hertz >= low) & (hertz < high)].sum() / power.sum() for low, high in bands]
        )
    apart = [
        np.abs(np.subtract(one, other)).sum()
        for i, one in enumerate(spectra)
        for other in spectra[:i]
    ]
    assert min(apart) > 0.05


def test_a_room_keeps_energy_and_length_and_decays_as_told():
    click = np.zeros(16000, np.float32)
    click[0] = 1.0
    room = degrade.reverberate(click, 16000, 0.5, seed=1)
    assert len(room) == 16000 and np.sum(room.astype(float) ** 2) == pytest.approx(1.0, abs=1e-3)
    # Schroeder's backward integral
    energy = 10 * np.log10(np.cumsum(room[::-1].astype(float) ** 2)[::-1] + 1e-20)
    start, end = 160, 2400
    slope = (energy[end] - energy[start]) / ((end - start) / 16000)
    assert slope == pytest.approx(-60 / 0.5, rel=0.1)


def test_the_telephone_band_has_nothing_above_four_kilohertz():
    wave = np.random.default_rng(0).normal(0, 0.1, 16001).astype(np.float32)
    narrow = degrade.degraded(wave, 16000, "8khz")
    power, hertz = np.abs(np.fft.rfft(narrow)) ** 2, np.fft.rfftfreq(len(narrow), 1 / 16000)
    assert len(narrow) == len(wave) and power[hertz > 4200].sum() < 1e-4 * power.sum()
    assert power[hertz < 3500].sum() == pytest.approx(
        (np.abs(np.fft.rfft(wave)) ** 2)[hertz < 3500].sum(), rel=0.02
    )


@pytest.mark.parametrize(
    "condition", ["noisy", "white", "white@x", "white@900", "reverb@0", "cafe@5", "", "8khz@2"]
)
def test_conditions_that_do_not_exist_are_refused(condition):
    with pytest.raises(SettingError, match="choose clean, 8khz, reverb"):
        AlexNetSpectrogram(condition=condition)


def test_silence_stays_silence():
    assert (degrade.degraded(np.zeros(500, np.float32), 16000, "white@0") == 0).all()
    assert (degrade.degraded(np.zeros(500, np.float32), 16000, "reverb") == 0).all()


# --- export
# -----------------------------------------------------------------------------------------------------------------------------


class Store(dict):
    pass


def load_export(path):
    """What `save_export` wrote; nothing is unpickled."""
    found = {}
    with np.load(path, allow_pickle=False) as content:
        for speaker in sorted({name.rpartition("/")[0] for name in content.files}):
            arrays = [content[f"{speaker}/{field}"] for field in SpeakerArrays._fields]
            found[speaker] = SpeakerArrays(*arrays)
    return found


def test_export_holds_every_segment_and_counts_that_do_not_overflow(tmp_path):
    spec = AlexNetSpectrogram()
    rng = np.random.default_rng(0)
    emotions = ["anger", "fear", "fear", "anger", "anger"] * 26
    rows = pd.DataFrame(
        {"utt_id": [f"u{i}" for i in range(130)], "speaker": ["b", "a"] * 65, "emotion": emotions}
    )
    store = Store(
        {
            utt: rng.normal(size=(int(rng.integers(301, 600)), 200)).astype(np.float32)
            for utt in rows["utt_id"]
        }
    )
    export = speaker_export(rows, store, spec, ["anger", "fear"])
    assert list(export) == ["a", "b"]
    one = export["a"]
    assert (
        one.segments.shape == (130, 1, 200, 300) and one.segments_per_utterance.tolist() == [2] * 65
    )
    assert one.segments_per_utterance.dtype == np.int64
    assert np.array_equal(one.segment_labels, np.repeat(one.utterance_labels, 2))
    first = rows.index[rows["speaker"] == "a"][0]
    assert np.array_equal(one.segments[1, 0, :, 0], store[rows["utt_id"][first]][300])
    ends = np.cumsum(one.segments_per_utterance)
    assert ends[-1] == len(one.segments)
    published = one.segments_per_utterance.astype(np.int8)
    assert (
        np.add.accumulate(published, dtype=np.int8)[-1] < 0
    )  # the published type: 130 segments wrap to a negative number
    back = load_export(save_export(export, tmp_path / "out" / "emodb.npz"))
    pairs = [pair for name in export for pair in zip(export[name], back[name], strict=True)]
    assert all(np.array_equal(mine, other) and mine.dtype == other.dtype for mine, other in pairs)
    with pytest.raises(ValueError, match="'anger' is not among"):
        speaker_export(rows, store, spec, ["fear"])


def test_it_is_a_front_end_like_the_others():
    spec = front_end("alexnet")
    assert (
        spec == AlexNetSpectrogram() and dataclasses.replace(spec, condition="pink@10").dim == 200
    )
