"""Log-mel and MFCC front ends against librosa and scipy, the suite's own and Few-Shot_SER's."""

import dataclasses

import librosa
import numpy as np
import pytest
from sounds import noise

from colab_utils.corpora.audio import load_audio
from colab_utils.features import front_end
from colab_utils.features.acoustic.log_mel import LogMel
from colab_utils.features.published.maml import PaperLogMel, PaperMfcc
from colab_utils.settings import SettingError

DB = 10 / np.log(10)
LOG_MELS = [
    LogMel(),
    LogMel(window=512, hop=128, n_mels=40),
    LogMel(window=640, n_fft=800, n_mels=128, low_hz=0.0, high_hz=8000.0),
    LogMel(sample_rate=8000, window=200, hop=80, n_fft=256, n_mels=20, high_hz=4000.0, floor=1e-5),
]
PUBLISHED = [
    PaperLogMel(),
    PaperLogMel(symmetric=False),
    PaperLogMel(sample_rate=16000, window=400, hop=160, n_fft=512, n_mels=40),
    PaperMfcc(),
    PaperMfcc(n_mels=20),
    PaperMfcc(sample_rate=22050, window=1024, n_fft=1024, hop=256),
]
LENGTHS = (1, 2, 3, 100, 255, 256, 257, 258, 400, 511, 512, 513, 1023, 1024, 1025, 1600, 4001)


def spoken(real_corpora, sample_rate):
    """Real clips of odd lengths from four corpora."""
    files = []
    for corpus in ("emodb", "emovo", "ravdess", "savee"):
        files += sorted((real_corpora / corpus).glob("*.flac"))[::400]
    waves = [load_audio(file, sample_rate) for file in files]
    return [wave[: len(wave) - number] for number, wave in enumerate(waves)]


def mel_of(wave, spec, power):
    """librosa's mel bands, float64 (frames, n_mels)."""
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
    ).T


def check_log_mel(waves, spec):
    """A thousandth of a dB, with the floor and without it."""
    for wave, got in zip(waves, spec.compute(waves), strict=True):
        power = mel_of(wave, spec, 2.0)
        assert got.shape == power.shape == (1 + len(wave) // spec.hop, spec.dim)
        assert got.dtype == np.float32
        assert np.abs(DB * got - DB * np.log(spec.floor + power)).max() < 1e-3
        above = power > spec.floor
        bare = np.exp(got[above].astype(np.float64)) - spec.floor
        assert np.max(np.abs(10 * np.log10(bare / power[above])), initial=0) < 2e-3


def check_published(waves, spec):
    """A thousandth of a dB, or of a coefficient.

    Near the clipping level, 85 dB under a loud frame's peak, float32 holds three.
    """
    for wave, got in zip(waves, spec.compute(waves), strict=True):
        assert got.shape == (1 + len(wave) // spec.hop, spec.dim)
        assert got.dtype == np.float32
        if isinstance(spec, PaperMfcc):
            log_mel = np.log(mel_of(wave, spec, 2.0) + 1e-6).T
            expected = librosa.feature.mfcc(S=log_mel, n_mfcc=spec.n_mels, htk=False).T
            assert np.abs(got - expected).max() < 1e-3
            continue
        # Few-Shot_SER's src/audio/audio.py
        level = (20 * np.log10(np.maximum(1e-5, mel_of(wave, spec, 1.0))) - 20 + 100) / 100
        expected = np.clip(2 * 4 * level - 4, -4, 4) if spec.symmetric else np.clip(4 * level, 0, 4)
        units = 8 if spec.symmetric else 4  # of 100 dB
        far = np.abs(got - expected) * 100 / units
        assert far.max() < 3e-3
        assert np.max(far, where=expected - expected.min() > 0.15 * units, initial=0) < 1e-3


@pytest.mark.parametrize("spec", [*LOG_MELS, *PUBLISHED], ids=repr)
@pytest.mark.filterwarnings("ignore:n_fft=")
def test_equals_librosa_also_where_noise_is_shorter_than_the_reflection(spec):
    check = check_log_mel if type(spec) is LogMel else check_published
    check([noise(length, length) for length in LENGTHS], spec)


def test_equals_librosa_on_real_speech_of_odd_lengths(real_corpora):
    for spec, check in (
        (LogMel(), check_log_mel),
        (PaperLogMel(), check_published),
        (PaperMfcc(), check_published),
    ):
        waves = spoken(real_corpora, spec.sample_rate)
        assert len({len(wave) % spec.hop for wave in waves}) > 5
        check(waves, spec)


@pytest.mark.parametrize("spec", [*LOG_MELS, *PUBLISHED, PaperMfcc(normalise=True)], ids=repr)
def test_alone_equals_in_a_batch_also_in_blocks(spec, monkeypatch):
    waves = [noise(length, length) for length in (1, 700, 2999, 40)]
    together = spec.compute(waves)
    for wave, values in zip(waves, together, strict=True):
        # a product of few rows rounds in another order
        assert np.abs(spec.compute([wave])[0] - values).max() < 1e-5
    monkeypatch.setattr("colab_utils.features.acoustic.log_mel._BLOCK", 5)
    for values, blocks in zip(together, spec.compute(waves), strict=True):
        assert np.abs(values - blocks).max() < 1e-4


def test_the_intended_range_is_twice_the_computed_one_less_four_and_both_clip_at_the_same_levels():
    waves = [1e4 * noise(6000), 1e-5 * noise(6000), noise(6000)]
    intended = np.concatenate(PaperLogMel().compute(waves))
    computed = PaperLogMel(symmetric=False).compute(waves)
    assert np.allclose(intended, 2 * np.concatenate(computed) - 4, atol=1e-6)
    assert (intended.min(), intended.max()) == (-4, 4)
    assert (computed[1].min(), computed[0].max()) == (0, 4)
    assert 0 < computed[2].min() < computed[2].max() < 4


def test_ten_times_the_amplitude_is_a_fifth_of_the_original_range():
    wave = noise(8000)
    for symmetric, step in ((True, 1.6), (False, 0.8)):
        spec = PaperLogMel(symmetric=symmetric)
        assert np.allclose(spec.compute([wave])[0] - spec.compute([wave / 10])[0], step, atol=1e-4)


def test_normalised_coefficients_have_mean_zero_and_deviation_one_whatever_the_level():
    wave = noise(16000)
    (bare,) = PaperMfcc().compute([wave])
    (got,) = PaperMfcc(normalise=True).compute([wave])
    assert np.abs(got.mean(0)).max() < 1e-4
    assert np.abs(got.std(0) - 1).max() < 1e-4
    assert np.allclose(got, (bare - bare.mean(0)) / bare.std(0), atol=1e-4)


@pytest.mark.parametrize(
    "wave", [np.zeros(4000, np.float32), noise(50)], ids=["digital silence", "a single frame"]
)
def test_coefficients_that_do_not_move_normalise_to_zero(wave):
    assert (PaperMfcc(normalise=True).compute([wave])[0] == 0).all()


def test_digital_silence_gives_the_floor():
    silence = [np.zeros(800, np.float32)]
    assert np.allclose(LogMel(floor=1e-5).compute(silence)[0], np.log(1e-5))
    assert (PaperLogMel().compute(silence)[0] == -4).all()
    (cepstra,) = PaperMfcc().compute(silence)
    assert np.allclose(cepstra[:, 0], np.log(1e-6) * np.sqrt(80), rtol=1e-5)
    assert np.abs(cepstra[:, 1:]).max() < 1e-3


def test_the_names_lead_to_the_front_ends_with_the_published_settings():
    assert front_end("paper-logmel") == PaperLogMel()
    assert front_end("paper-mfcc") == PaperMfcc()
    assert PaperLogMel().feature_names[::79] == ["mel_00", "mel_79"]
    assert PaperMfcc(n_mels=20).feature_names[::19] == ["mfcc_00", "mfcc_19"]
    # 200 frames are 2.32 s and 1.60 s of audio in the original
    for spec, seconds in ((PaperLogMel(), 2.32), (PaperMfcc(), 1.6)):
        assert 200 * spec.hop / spec.sample_rate == pytest.approx(seconds, abs=0.01)


@pytest.mark.parametrize("spec", [LogMel(), PaperLogMel(), PaperMfcc()], ids=repr)
@pytest.mark.filterwarnings("ignore:At least one mel")
def test_settings_and_waveforms_that_cannot_work_are_named(spec):
    for changed, named in (
        ({"window": spec.n_fft + 1}, "window"),
        ({"n_fft": 1025}, "n_fft"),
        ({"high_hz": 23000.0}, "high_hz"),
        ({"low_hz": 7600.0}, "low_hz"),
        ({"n_mels": 250, "window": 400, "n_fft": 512}, "n_mels"),
        ({"floor": 0.0}, "floor"),
    ):
        with pytest.raises(SettingError, match=named):
            dataclasses.replace(spec, **changed)
    for wave in (np.zeros(0, np.float32), np.zeros((5, 2), np.float32)):
        with pytest.raises(ValueError, match="waveform 1 has shape"):
            spec.compute([noise(100), wave])
    assert spec.compute([]) == []
