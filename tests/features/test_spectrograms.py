"""Log-mel frames against librosa, alone and in a batch."""

import librosa
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from colab_utils.corpora.audio import load_audio
from colab_utils.features.acoustic.log_mel import LogMel
from colab_utils.settings import SettingError

DB = 10 / np.log(10)


def oracle(wave, spec):
    """librosa's mel power, float64 (frames, n_mels)."""
    return librosa.feature.melspectrogram(
        y=wave.astype(np.float64),
        sr=spec.sample_rate,
        n_fft=spec.n_fft,
        hop_length=spec.hop,
        win_length=spec.window,
        window="hann",
        center=True,
        pad_mode="reflect",
        power=2.0,
        n_mels=spec.n_mels,
        fmin=spec.low_hz,
        fmax=spec.high_hz,
        htk=False,
        norm="slaney",
    ).T


def noise(length, seed=0):
    return np.random.default_rng(seed).normal(0, 0.1, length).astype(np.float32)


def check_against_librosa(waves, spec):
    for wave, got in zip(waves, spec.compute(waves), strict=True):
        power = oracle(wave, spec)
        assert (
            got.shape == power.shape == (1 + len(wave) // spec.hop, spec.dim)
            and got.dtype == np.float32
        )
        assert np.abs(DB * got - DB * np.log(spec.floor + power)).max() < 1e-3
        above = power > spec.floor
        with np.errstate(divide="ignore", invalid="ignore"):
            bare = 10 * np.log10(np.exp(got.astype(np.float64)) - spec.floor)
        assert (
            not above.any()
            or np.abs(bare - 10 * np.log10(power, where=above, out=np.zeros_like(power)))[
                above
            ].max()
            < 2e-3
        )


def test_equals_librosa_on_real_speech_of_odd_lengths(real_corpora):
    files = [
        file
        for corpus in ("emodb", "emovo", "ravdess", "savee")
        for file in sorted((real_corpora / corpus).glob("*.flac"))[::190]
    ]
    waves = [load_audio(file) for file in files]
    waves = [wave[: len(wave) - number] for number, wave in enumerate(waves)]
    assert len({len(wave) % 160 for wave in waves}) > 5
    check_against_librosa(waves, LogMel())


@pytest.mark.parametrize(
    "spec",
    [
        LogMel(),
        LogMel(window=512, hop=128, n_mels=40),
        LogMel(window=640, n_fft=800, n_mels=128, low_hz=0.0, high_hz=8000.0),
        LogMel(
            sample_rate=8000, window=200, hop=80, n_fft=256, n_mels=20, high_hz=4000.0, floor=1e-5
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:n_fft=")
def test_equals_librosa_on_noise_also_where_it_is_shorter_than_the_reflection(spec):
    check_against_librosa(
        [
            noise(length, length)
            for length in (1, 2, 3, 100, 255, 256, 257, 258, 400, 511, 512, 513, 1600, 4001)
        ],
        spec,
    )


@settings(max_examples=30, deadline=None)
@given(lengths=st.lists(st.integers(1, 3000), min_size=1, max_size=6))
def test_alone_equals_in_a_batch(lengths):
    waves = [noise(length, seed) for seed, length in enumerate(lengths)]
    for wave, together in zip(waves, LogMel().compute(waves), strict=True):
        (alone,) = LogMel().compute([wave])
        assert alone.shape == together.shape and np.abs(alone - together).max() < 1e-5


def test_a_real_clip_alone_equals_itself_in_a_batch(real_corpora):
    waves = [load_audio(file) for file in sorted((real_corpora / "emodb").glob("*.flac"))[:24]]
    for wave, together in zip(waves, LogMel().compute(waves), strict=True):
        assert np.abs(LogMel().compute([wave])[0] - together).max() < 1e-5


def test_silence_gives_the_floor_and_no_waveform_gives_nothing():
    assert (
        np.allclose(LogMel(floor=1e-5).compute([np.zeros(800, np.float32)])[0], np.log(1e-5))
        and LogMel().compute([]) == []
    )


@pytest.mark.parametrize("wave", [np.zeros(0, np.float32), np.zeros((5, 2), np.float32)])
def test_refuses_waveforms_without_samples_or_with_channels(wave):
    with pytest.raises(ValueError, match=r"waveform 1 has shape"):
        LogMel().compute([noise(100), wave])


@pytest.mark.filterwarnings("ignore:At least one mel")
@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"window": 600}, "window"),
        ({"n_fft": 513}, "n_fft"),
        ({"high_hz": 9000.0}, "high_hz"),
        ({"low_hz": 7600.0}, "low_hz"),
        ({"n_mels": 200}, "n_mels"),
        ({"floor": 0.0}, "floor"),
    ],
)
def test_settings_that_cannot_work_are_named(changed, named):
    with pytest.raises(SettingError, match=named):
        LogMel(**changed)
