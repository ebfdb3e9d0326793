"""Waveforms without recordings: noise, and something like speech."""

import numpy as np


def noise(length, seed=0):
    """float32 (length,), deviation 0.1."""
    return np.random.default_rng(seed).normal(0, 0.1, length).astype(np.float32)


def speech(samples=24011, seed=0):
    """A gliding tone with pauses, at 16 kHz, over faint noise."""
    rng = np.random.default_rng(seed)
    n = np.arange(samples)
    tone = 0.3 * np.sin(n * 0.06 + 8 * np.sin(n / 4000)) * (np.sin(n / 2500) > -0.5)
    return (tone + 0.01 * rng.normal(size=samples)).astype(np.float32)
