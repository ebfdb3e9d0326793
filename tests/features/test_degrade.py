"""Worse recordings: level, spectrum and decay are as told, and follow from the samples alone."""

import numpy as np
import pytest
from sounds import speech

from colab_utils.features.acoustic import degrade


@pytest.mark.parametrize("kind", degrade.NOISES)
@pytest.mark.parametrize("snr", [0, 5, 20])
def test_noise_has_the_asked_level_over_the_active_speech(kind, snr):
    wave = np.concatenate([speech(), np.zeros(8000, np.float32)])
    noisy = degrade.degraded(wave, f"{kind}@{snr}")
    active = degrade.active_samples(wave)
    measured = 10 * np.log10(
        np.mean(wave[active].astype(float) ** 2)
        / np.mean((noisy - wave)[active].astype(float) ** 2)
    )
    assert (
        measured == pytest.approx(snr, abs=0.01)
        and noisy.dtype == np.float32
        and len(noisy) == len(wave)
    )
    assert np.array_equal(noisy, degrade.degraded(wave.copy(), f"{kind}@{snr}"))
    assert not np.array_equal(
        noisy[:100], degrade.degraded(wave[::-1].copy(), f"{kind}@{snr}")[:100]
    )


def test_noises_for_tests_are_not_those_for_training_and_all_differ():
    assert not set(degrade.TRAINING_NOISES) & set(degrade.UNSEEN_NOISES)
    spectra = []
    for kind in degrade.NOISES:
        noise = degrade.make_noise(kind, 64000, np.random.default_rng(0))
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
    room = degrade.reverberate(click, 0.5, seed=1)
    assert len(room) == 16000 and np.sum(room.astype(float) ** 2) == pytest.approx(1.0, abs=1e-3)
    # Schroeder's backward integral
    energy = 10 * np.log10(np.cumsum(room[::-1].astype(float) ** 2)[::-1] + 1e-20)
    start, end = 160, 2400
    slope = (energy[end] - energy[start]) / ((end - start) / 16000)
    assert slope == pytest.approx(-60 / 0.5, rel=0.1)


def test_the_telephone_band_has_nothing_above_four_kilohertz():
    wave = np.random.default_rng(0).normal(0, 0.1, 16001).astype(np.float32)
    narrow = degrade.degraded(wave, "8khz")
    power, hertz = np.abs(np.fft.rfft(narrow)) ** 2, np.fft.rfftfreq(len(narrow), 1 / 16000)
    assert len(narrow) == len(wave) and power[hertz > 4200].sum() < 1e-4 * power.sum()
    assert power[hertz < 3500].sum() == pytest.approx(
        (np.abs(np.fft.rfft(wave)) ** 2)[hertz < 3500].sum(), rel=0.02
    )


def test_silence_stays_silence():
    assert (degrade.degraded(np.zeros(500, np.float32), "white@0") == 0).all()
    assert (degrade.degraded(np.zeros(500, np.float32), "reverb") == 0).all()
