"""The log-mel of DA-MLDG against an independent computation, also for short and lonely clips."""

import dataclasses
import functools

import numpy as np
import pytest
import torchaudio

from colab_utils.corpora.audio import load_audio
from colab_utils.features import front_end
from colab_utils.features.published.da_mldg import DaMldgLogMel, mel_bands


@functools.cache
def bands_by_hand():
    """The filter bank, bin by bin: (513, 64)."""

    def mel(hertz):
        return 2595 * np.log10(1 + hertz / 700)

    edges = np.linspace(mel(60), mel(7800), 66)
    bands = np.zeros((513, 64))
    for k in range(1, 513):
        at = mel(k * 16000 / 1024)
        for band in range(64):
            low, centre, high = edges[band : band + 3]
            slopes = (at - low) / (centre - low), (high - at) / (high - centre)
            bands[k, band] = max(0.0, min(slopes))
    return bands


def by_hand(wave, hamming=False):
    """Frame by frame, in float64."""
    cosine = np.cos(2 * np.pi * np.arange(400) / 400)
    window = 0.54 - 0.46 * cosine if hamming else 0.5 - 0.5 * cosine
    frames = [wave[begin : begin + 400] * window for begin in range(0, len(wave) - 399, 160)]
    amplitude = np.abs(np.fft.fft(frames, 1024, axis=1))[:, :513]
    return np.log(1e-6 + amplitude @ bands_by_hand())


@pytest.mark.parametrize("samples", [400, 401, 559, 560, 5431])
@pytest.mark.parametrize("window", ["hann", "hamming"])
def test_equals_a_computation_by_hand(samples, window):
    wave = np.random.default_rng(samples).normal(0, 0.1, samples).astype(np.float32)
    (values,) = DaMldgLogMel(window=window).compute([wave])
    expected = by_hand(wave.astype(float), window == "hamming")
    assert values.shape == (1 + (samples - 400) // 160, 64) and values.dtype == np.float32
    assert np.abs(values - expected).max() < 1e-4


def test_on_real_speech(real_corpora):
    file = sorted((real_corpora / "emodb").rglob("*.flac"))[3]
    wave = load_audio(file, 16000)
    (values,) = front_end("da-mldg").compute([wave])
    assert np.abs(values - by_hand(wave.astype(float))).max() < 1e-4


def test_bands_are_close_to_htk_triangles_over_hertz():
    """torchaudio's bands are triangles over Hz between the same edges: the same places, slightly
    other slopes.
    """
    other = torchaudio.functional.melscale_fbanks(
        513, 60.0, 7800.0, 64, 16000, norm=None, mel_scale="htk"
    )
    assert (mel_bands() - other).abs().max() < 0.1 and (mel_bands()[0] == 0).all()


def test_clips_do_not_see_each_other_and_short_ones_get_one_frame():
    rng = np.random.default_rng(0)
    waves = [rng.normal(0, 0.1, length).astype(np.float32) for length in (4000, 37, 9000)]
    together = DaMldgLogMel().compute(waves)
    for wave, values in zip(waves, together, strict=True):
        assert np.array_equal(DaMldgLogMel().compute([wave])[0], values)
    assert together[1].shape == (1, 64)
    assert np.allclose(DaMldgLogMel().compute([np.zeros(800, np.float32)])[0], np.log(1e-6))
    with pytest.raises(ValueError, match="waveform 1 has shape"):
        DaMldgLogMel().compute([waves[0], np.zeros(0, np.float32)])


def test_normalised_over_the_clip_gain_is_gone_and_without_it_stays():
    wave = np.random.default_rng(1).normal(0, 0.1, 8000).astype(np.float32)
    spec = dataclasses.replace(DaMldgLogMel(), normalise="utterance")
    loud, soft = (spec.compute([gain * wave])[0] for gain in (1.0, 0.1))
    assert np.abs(loud - soft).max() < 1e-2
    assert np.allclose(loud.mean(0), 0, atol=1e-4) and np.allclose(loud.std(0), 1, atol=1e-3)
    loud, soft = (DaMldgLogMel().compute([gain * wave])[0] for gain in (1.0, 0.1))
    assert np.median(loud - soft) == pytest.approx(np.log(10), abs=1e-2)
    assert (spec.compute([np.zeros(800, np.float32)])[0] == 0).all()
