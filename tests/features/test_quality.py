"""Level, clipping, noise and length of recordings, against signals made with known ones."""

import numpy as np
import pytest

from colab_utils.features.acoustic.quality import levels, quality, remarks

RATE = 16000


def said(level=-26.0, snr=40.0, seconds=2.0, pause=0.5, rate=RATE, seed=0):
    """A buzz of `seconds` at `level` dB between pauses, in white noise `snr` dB below it."""
    rng = np.random.default_rng(seed)
    n = np.arange(round((seconds + 2 * pause) * rate))
    inside = (n >= pause * rate) & (n < (seconds + pause) * rate)
    voice = sum(np.sin(2 * np.pi * 150 * k * n / rate + k * k) / k for k in range(1, 8)) * inside
    voice *= 10 ** (level / 20) / np.sqrt(np.mean(voice[inside] ** 2))
    return voice + rng.normal(size=len(n)) * 10 ** ((level - snr) / 20)


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 48000])
@pytest.mark.parametrize("snr", [10, 20, 30, 50])
@pytest.mark.parametrize("level", [-50, -26, -12])
def test_what_is_measured_is_what_was_made(level, snr, rate):
    found = quality(said(level, snr, rate=rate), rate)
    assert found.level == pytest.approx(level, abs=0.7)
    assert found.snr == pytest.approx(snr, abs=1.5)
    assert found.seconds == pytest.approx(3.0, abs=1e-3)
    assert found.speech == pytest.approx(2.0, abs=0.06)
    assert found.clipped == 0


@pytest.mark.parametrize("gain", [1.5, 2, 4])
@pytest.mark.parametrize("limit", [1.0, 0.3])  # clipped, then turned down
def test_the_share_of_clipped_samples(gain, limit):
    wave = said(snr=60)
    wave *= gain / np.abs(wave).max()
    naive = np.mean(np.abs(wave) >= 0.99)
    assert quality(limit * np.clip(wave, -1, 1), RATE).clipped == pytest.approx(naive, abs=1e-4)
    assert naive > 0.005


def test_levels_of_each_frame_are_those_of_a_loop():
    wave = said()
    expected = [
        10 * np.log10(np.mean(wave[start : start + 400] ** 2))
        for start in range(0, len(wave) - 399, 160)
    ]
    np.testing.assert_allclose(levels(wave, RATE), expected, atol=1e-9)
    assert levels(np.zeros(10), RATE).tolist() == [-120.0]


FAULTS = {
    "too quiet": {"level": -52.0},
    "noisy": {"snr": 8.0},
    "too short": {"seconds": 0.3},
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_said_alone(fault):
    (told,) = remarks(quality(said(**FAULTS[fault]), RATE))
    assert told.startswith(fault)


def test_clipping_is_said_and_a_good_recording_has_nothing_against_it():
    wave = said()
    assert remarks(quality(wave, RATE)) == []
    loud = np.clip(20 * wave, -1, 1)
    assert [told.split(":")[0] for told in remarks(quality(loud, RATE))] == ["clipped"]


def test_noise_and_silence_alone_are_no_speech():
    noise = np.random.default_rng(0).normal(0, 0.01, RATE)
    for wave in (noise, np.zeros(RATE), np.zeros(0)):
        told = [one.split(":")[0] for one in remarks(quality(wave, RATE))]
        assert told[0] == "too short" and "noisy" in told
