"""The front ends of Few-Shot_SER against librosa and scipy, alone and in a batch."""

import dataclasses

import librosa
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from colab_utils.corpora.audio import load_audio
from colab_utils.features import front_end
from colab_utils.features.published.maml import PaperLogMel, PaperMfcc
from colab_utils.settings import SettingError

SPECS = [
    PaperLogMel(),
    PaperLogMel(symmetric=False),
    PaperLogMel(sample_rate=16000, window=400, hop=160, n_fft=512, n_mels=40),
    PaperMfcc(),
    PaperMfcc(n_mels=20),
    PaperMfcc(sample_rate=22050, window=1024, n_fft=1024, hop=256),
]
LENGTHS = (1, 2, 3, 100, 255, 256, 257, 511, 512, 513, 1023, 1024, 1025, 1600, 4001, 22050)


def noise(length, seed=0):
    return np.random.default_rng(seed).normal(0, 0.1, length).astype(np.float32)


def spoken(real_corpora, sample_rate):
    files = [
        file
        for corpus in ("emodb", "emovo", "ravdess", "savee")
        for file in sorted((real_corpora / corpus).glob("*.flac"))[::400]
    ]
    waves = [load_audio(file, sample_rate) for file in files]
    return [wave[: len(wave) - number] for number, wave in enumerate(waves)]


def mel(wave, spec, power):
    return librosa.feature.melspectrogram(
        y=wave.astype(np.float64),
        sr=spec.sample_rate,
        n_fft=spec.n_fft,
        hop_length=spec.hop,
        win_length=spec.window,
        window="hann",
        center=True,
        pad_mode="reflect",
        power=power,
        n_mels=spec.n_mels,
        fmin=spec.low_hz,
        fmax=spec.high_hz,
        htk=False,
        norm="slaney",
    )


def oracle(wave, spec):
    """What method_facts §1.2 says, by librosa in float64."""
    if isinstance(spec, PaperMfcc):
        return librosa.feature.mfcc(
            S=np.log(mel(wave, spec, 2.0) + 1e-6), n_mfcc=spec.n_mels, htk=False
        ).T
    level = (20 * np.log10(np.maximum(1e-5, mel(wave, spec, 1.0))) - 20 + 100) / 100
    return (np.clip(2 * 4 * level - 4, -4, 4) if spec.symmetric else np.clip(4 * level, 0, 4)).T


def check_against_librosa(waves, spec):
    """A thousandth of a dB, or of a coefficient; near the clipping level, 85 dB under a loud
    frame's peak, float32 holds three.
    """
    for wave, got in zip(waves, spec.compute(waves), strict=True):
        expected = oracle(wave, spec)
        assert (
            got.shape == expected.shape == (1 + len(wave) // spec.hop, spec.dim)
            and got.dtype == np.float32
        )
        if isinstance(spec, PaperMfcc):
            assert np.abs(got - expected).max() < 1e-3
        else:
            # of 100 dB
            units = 8 if spec.symmetric else 4
            far = np.abs(got - expected) * 100 / units
            assert (
                far.max() < 3e-3
                and np.max(far, where=expected - expected.min() > 0.15 * units, initial=0) < 1e-3
            )


@pytest.mark.parametrize("spec", SPECS, ids=repr)
@pytest.mark.filterwarnings("ignore:n_fft=")
def test_equals_librosa_to_a_thousandth_of_a_db_or_of_a_coefficient_also_on_very_short_noise(spec):
    check_against_librosa([noise(length, length) for length in LENGTHS], spec)


@pytest.mark.parametrize("spec", [PaperLogMel(), PaperMfcc()], ids=repr)
def test_equals_librosa_on_real_speech_of_odd_lengths(spec, real_corpora):
    check_against_librosa(spoken(real_corpora, spec.sample_rate), spec)


@pytest.mark.parametrize("spec", [*SPECS, PaperMfcc(normalise=True)], ids=repr)
@settings(max_examples=10, deadline=None)
@given(lengths=st.lists(st.integers(1, 3000), min_size=1, max_size=6))
def test_alone_equals_in_a_batch(spec, lengths):
    waves = [noise(length, seed) for seed, length in enumerate(lengths)]
    for wave, together in zip(waves, spec.compute(waves), strict=True):
        (alone,) = spec.compute([wave])
        assert alone.shape == together.shape and np.abs(alone - together).max() < 1e-4


def test_the_intended_range_is_twice_the_computed_one_less_four_and_both_are_clipped_at_the_same_levels():
    loud, quiet = 1e4 * noise(6000), 1e-5 * noise(6000)
    waves = [loud, quiet, noise(6000)]
    intended, computed = (
        np.concatenate(PaperLogMel().compute(waves)),
        np.concatenate(PaperLogMel(symmetric=False).compute(waves)),
    )
    assert np.allclose(intended, 2 * computed - 4, atol=1e-6)
    assert (
        intended.min() == -4 and intended.max() == 4 and computed.min() == 0 and computed.max() == 4
    )
    middle = PaperLogMel(symmetric=False).compute(waves)[2]
    assert 0 < middle.min() < middle.max() < 4


def test_ten_times_the_amplitude_is_a_fifth_of_the_original_range():
    wave = noise(8000)
    for symmetric, step in ((True, 1.6), (False, 0.8)):
        spec = PaperLogMel(symmetric=symmetric)
        assert np.allclose(spec.compute([wave])[0] - spec.compute([wave / 10])[0], step, atol=1e-4)


def test_normalised_coefficients_have_mean_zero_and_deviation_one_whatever_the_level():
    wave = noise(16000)
    (bare,) = PaperMfcc().compute([wave])
    (got,) = PaperMfcc(normalise=True).compute([wave])
    assert np.abs(got.mean(0)).max() < 1e-4 and np.abs(got.std(0) - 1).max() < 1e-4
    assert np.allclose(got, (bare - bare.mean(0)) / bare.std(0), atol=1e-4)


@pytest.mark.parametrize(
    "wave", [np.zeros(4000, np.float32), noise(50)], ids=["digital silence", "a single frame"]
)
def test_coefficients_that_do_not_move_normalise_to_zero(wave):
    assert (PaperMfcc(normalise=True).compute([wave])[0] == 0).all()


def test_digital_silence_gives_the_floor():
    assert (PaperLogMel().compute([np.zeros(800, np.float32)])[0] == -4).all()
    expected = np.log(1e-6) * np.sqrt(80)
    (got,) = PaperMfcc().compute([np.zeros(800, np.float32)])
    assert np.allclose(got[:, 0], expected, rtol=1e-5) and np.abs(got[:, 1:]).max() < 1e-3


def test_the_names_lead_to_the_front_ends_with_the_published_settings():
    assert front_end("paper-logmel") == PaperLogMel() and front_end("paper-mfcc") == PaperMfcc()
    assert PaperLogMel().feature_names[::79] == ["mel_00", "mel_79"] and PaperMfcc(
        n_mels=20
    ).feature_names[::19] == ["mfcc_00", "mfcc_19"]
    frames = [
        len(spec.compute([noise(int(2.4 * spec.sample_rate))])[0])
        for spec in (PaperLogMel(), PaperMfcc())
    ]
    # 200 frames: 2.32 s and 1.60 s, as method_facts §1.2 counts
    assert frames == [207, 301]


@pytest.mark.parametrize("spec", [PaperLogMel(), PaperMfcc()], ids=repr)
@pytest.mark.filterwarnings("ignore:At least one mel")
def test_settings_that_cannot_work_are_named_and_no_waveform_gives_nothing(spec):
    for changed, named in (
        ({"window": spec.n_fft + 1}, "window"),
        ({"n_fft": 8193}, "n_fft"),
        ({"high_hz": 23000.0}, "high_hz"),
        ({"n_mels": 250, "window": 400, "n_fft": 512}, "n_mels"),
        ({"floor": 0.0}, "floor"),
    ):
        with pytest.raises(SettingError, match=named):
            dataclasses.replace(spec, **changed)
    with pytest.raises(ValueError, match="waveform 1 has shape"):
        spec.compute([noise(100), np.zeros(0, np.float32)])
    assert spec.compute([]) == []
