"""Functionals against naive statistics over the frames each of them is about, and against
openSMILE's own call.
"""

import sys

import numpy as np
import pytest
import scipy.fft

from colab_utils.corpora.audio import load_audio
from colab_utils.features import FRONT_ENDS, front_end
from colab_utils.features.acoustic.descriptors import band_centres, run_lengths, spectral
from colab_utils.features.acoustic.egemaps import EGeMAPS, MissingOpensmileError
from colab_utils.features.acoustic.functionals import Functionals
from colab_utils.features.acoustic.log_mel import LogMel
from colab_utils.features.acoustic.prosody import Prosody
from colab_utils.settings import SettingError

RATE = 16000


def syllables(seed=0, hz=150.0):
    """Three voiced stretches with silence between and after, over faint noise."""
    rng, pieces = np.random.default_rng(seed), []
    for seconds, loud in ((0.3, 1), (0.12, 0), (0.25, 1), (0.1, 0), (0.35, 1), (0.5, 0)):
        phase = (
            2
            * np.pi
            * np.cumsum(hz * (1 + 0.05 * rng.normal()) * np.ones(int(seconds * RATE)))
            / RATE
        )
        pieces.append(loud * 0.05 * sum(np.cos(k * phase) / k for k in range(1, 20)))
    wave = np.concatenate(pieces)
    return (wave + rng.normal(0, 1e-4, len(wave))).astype(np.float32)


def naive(wave):
    """Some functionals by name, each frame looked at by itself."""
    mel, frames = (
        LogMel().compute([wave])[0].astype(float),
        Prosody().compute([wave])[0].astype(float),
    )
    loud_frame = np.percentile(frames[:, 2], 95)
    active = [k for k in range(len(frames)) if frames[k, 2] >= loud_frame - 30]
    voiced = [k for k in range(len(frames)) if frames[k, 1] == 1]
    semitones = {k: 12 * np.log2(np.exp(frames[k, 0]) / 27.5) for k in voiced}
    steps = [semitones[k] - semitones[k - 1] for k in voiced if k - 1 in semitones]
    loudness = [np.mean(np.exp(mel[k]) ** 0.3) for k in range(len(mel))]
    peaks = [
        k
        for k in active
        if 0 < k < len(mel) - 1 and loudness[k - 1] < loudness[k] >= loudness[k + 1]
    ]
    cepstrum = scipy.fft.dct(mel, norm="ortho", axis=1)
    runs = [k for k in voiced if k - 1 not in semitones]
    return {
        "pitch_voiced_mean": np.mean(list(semitones.values())),
        "pitch_voiced_p80": np.percentile(list(semitones.values()), 80),
        "pitch_voiced_step": np.mean(np.abs(steps)),
        "pitch_voiced_rise_mean": np.mean([s for s in steps if s > 0]),
        "aperiodicity_voiced_mean": np.mean([frames[k, 3] for k in voiced]),
        "energy_active_std": np.std([frames[k, 2] for k in active]),
        "loudness_active_mean": np.mean([loudness[k] for k in active]),
        "voiced_share": len(voiced) / len(frames),
        "mfcc_2_voiced_std": np.std([cepstrum[k, 2] for k in voiced]),
        "log_active_seconds": np.log(len(active) / 100),
        "mfcc_1_unvoiced_mean": np.mean([cepstrum[k, 1] for k in active if k not in semitones]),
        "loudness_peaks_per_second": len(peaks) / len(active) * 100,
        "voiced_runs_per_second": len(runs) / len(active) * 100,
        "voiced_length_mean": len(voiced) / len(runs) / 100,
    }


@pytest.mark.parametrize("seed", [0, 1])
def test_functionals_equal_naive_loops(seed):
    wave, spec = syllables(seed), Functionals()
    (vector,) = spec.compute([wave])
    assert vector.shape == (1, spec.dim) and vector.dtype == np.float32
    got = dict(zip(spec.feature_names, vector[0].tolist(), strict=True))
    expected = naive(wave)
    assert {name: got[name] for name in expected} == pytest.approx(expected, rel=2e-4, abs=1e-4)


def test_silence_around_the_speech_changes_only_what_is_about_time():
    spec, wave = Functionals(), syllables()
    quiet = np.random.default_rng(5).normal(0, 1e-4, RATE // 2).astype(np.float32)
    plain, framed = (
        dict(zip(spec.feature_names, v[0], strict=True))
        for v in spec.compute([wave, np.concatenate([quiet, wave, quiet])])
    )
    for name in (
        "pitch_voiced_mean",
        "loudness_active_mean",
        "energy_active_p50",
        "voiced_share_active",
        "alpha_ratio_voiced_mean",
    ):
        assert framed[name] == pytest.approx(plain[name], rel=0.03, abs=0.05), name
    assert framed["voiced_share"] < 0.75 * plain["voiced_share"]


def test_louder_speech_moves_level_but_not_timbre_or_pitch():
    spec, wave = Functionals(), syllables()
    soft, loud = (
        dict(zip(spec.feature_names, v[0], strict=True)) for v in spec.compute([wave, 2 * wave])
    )
    assert loud["energy_active_mean"] - soft["energy_active_mean"] == pytest.approx(
        20 * np.log10(2), abs=0.01
    )
    for name in (
        "pitch_voiced_mean",
        "hammarberg_voiced_mean",
        "slope_0_500_voiced_mean",
        "centroid_voiced_mean",
    ):
        assert loud[name] == pytest.approx(soft[name], abs=0.05), name


def test_never_nan_not_even_without_voice_or_sound():
    noise = np.random.default_rng(0).normal(0, 0.1, 4000).astype(np.float32)
    for vector in Functionals().compute(
        [np.zeros(800, np.float32), noise, noise[:800], np.ones(900, np.float32), noise[:1]]
    ):
        assert np.isfinite(vector).all()
    silent = dict(
        zip(
            Functionals().feature_names,
            Functionals().compute([np.zeros(800, np.float32)])[0][0],
            strict=True,
        )
    )
    assert silent["voiced_share"] == 0 and silent["pitch_voiced_mean"] == 0


def test_a_vector_does_not_depend_on_the_batch_and_names_are_unique():
    waves = [syllables(seed, hz) for seed, hz in enumerate((110, 160, 230))]
    spec = Functionals(n_mfcc=12)
    for wave, together in zip(waves, spec.compute(waves), strict=True):
        assert np.allclose(spec.compute([wave])[0], together, rtol=1e-4, atol=1e-4)
    assert len(set(spec.feature_names)) == spec.dim == Functionals().dim + 8 * 3


def test_spectral_descriptors_of_known_spectra():
    spec = LogMel()
    centres = band_centres(spec)
    # falls by 6 dB a kHz
    tilted = -6.0 * np.log(10) / 10 * centres / 1000 + np.log(1e-3)
    columns = spectral(np.tile(tilted, (4, 1)), spec, 2)
    got = {name: values[2] for name, values in columns.items()}
    assert all(values.shape == (4,) for values in columns.values())
    for name in ("slope_0_500", "slope_500_1500", "slope_1500_8000"):
        assert got[name] == pytest.approx(-6.0, abs=1e-6)
    assert got["hammarberg"] == pytest.approx(6 * (centres[centres >= 2000][0] - centres[0]) / 1000)
    assert got["flux"] == 0 and got["alpha_ratio"] < 0
    assert np.all(np.diff(centres) > 0) and 60 < centres[0] < 160 and 7000 < centres[-1] < 7600


@pytest.mark.parametrize(
    ("flags", "lengths"),
    [([], []), ([0, 0], []), ([1], [1]), ([1, 1, 0, 1], [2, 1]), ([0, 1, 0, 0, 1, 1, 1], [1, 3])],
)
def test_run_lengths(flags, lengths):
    assert run_lengths(np.array(flags, dtype=bool)).tolist() == lengths


@pytest.mark.parametrize(
    "changed",
    [
        {"parts": (Prosody(), LogMel())},
        {"parts": (LogMel(hop=80), Prosody())},
        {"parts": (LogMel(n_mels=8), Prosody())},
        {"n_mfcc": 21},
        {"active_db": 1.0},
    ],
)
def test_settings_that_cannot_work(changed):
    with pytest.raises(SettingError, match=r"parts|n_mels|n_mfcc|active_db"):
        Functionals(**changed)


def test_egemaps_equals_opensmile_and_is_never_nan():
    opensmile = pytest.importorskip("opensmile", reason="openSMILE is not installed")
    smile = opensmile.Smile(
        feature_set=opensmile.FeatureSet.eGeMAPSv02,
        feature_level=opensmile.FeatureLevel.Functionals,
    )
    waves = [syllables(), np.zeros(RATE, np.float32), syllables(1)]
    vectors = EGeMAPS().compute(waves)
    assert EGeMAPS().dim == 88 and EGeMAPS().feature_names == list(smile.feature_names)
    for wave, vector in zip(waves, vectors, strict=True):
        assert vector.shape == (1, 88) and np.isfinite(vector).all()
        assert np.allclose(
            vector[0], np.nan_to_num(smile.process_signal(wave, RATE).to_numpy()[0]), rtol=1e-6
        )


def test_egemaps_without_opensmile_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "opensmile", None)
    with pytest.raises(MissingOpensmileError, match=r"pip install opensmile.*acoustic"):
        EGeMAPS().compute([syllables()])


def test_front_ends_by_name():
    assert list(FRONT_ENDS) == [
        "logmel",
        "prosody",
        "acoustic",
        "egemaps",
        "paper-logmel",
        "paper-mfcc",
        "da-mldg",
        "alexnet",
        "moonshine",
        "distillmos",
    ]
    assert [front_end(name).NAME for name in FRONT_ENDS] == list(FRONT_ENDS)
    with pytest.raises(
        ValueError, match=r"wav2vec.*choose from logmel, prosody, acoustic, egemaps"
    ):
        front_end("wav2vec")


def test_angry_speech_is_louder_and_sad_speech_lower(real_corpora):
    def mean(emotion):
        files = [
            file
            for speaker in ("f1", "m2")
            for file in sorted((real_corpora / "emovo").glob(f"{emotion}-{speaker}-[bl]*.flac"))[:3]
        ]
        vectors = Functionals().compute([load_audio(file) for file in files])
        return dict(zip(Functionals().feature_names, np.concatenate(vectors).mean(0), strict=True))

    anger, sadness = mean("rab"), mean("tri")
    assert (
        anger["energy_active_mean"] > sadness["energy_active_mean"]
        and anger["alpha_ratio_voiced_mean"] > sadness["alpha_ratio_voiced_mean"]
    )
