"""Low-level descriptors: voice quality and timbre of a log-mel frame (Eyben et al. 2016)."""

import functools

import numpy as np
import scipy.fft

from colab_utils.features.acoustic.log_mel import LogMel, mel_bands
from colab_utils.settings import SettingError

_DB = 10.0 / np.log(10.0)  # natural logarithm of a power to dB
SLOPES_HZ = ((0, 500), (500, 1500), (1500, 8000))


@functools.lru_cache(maxsize=32)
def band_centres(spec: LogMel) -> np.ndarray:
    """Centre of each mel band in Hz, float64 (n_mels,): the mean frequency of its triangle.

    Raises:
        SettingError: a range whose slope is asked for holds fewer than two bands.
    """
    bands = mel_bands(spec).numpy().astype(np.float64)
    hertz = np.linspace(0, spec.sample_rate / 2, len(bands))[:, None]
    centres = (bands * hertz).sum(0) / bands.sum(0)
    for low, high in SLOPES_HZ:
        if _between(centres, low, high).sum() < 2:
            raise SettingError(
                f"n_mels = {spec.n_mels}: fewer than two bands between {low} and {high} Hz;"
                " functionals need more bands"
            )
    return centres


def _between(centres: np.ndarray, low: float, high: float) -> np.ndarray:
    """Which bands lie from `low` to below `high` Hz."""
    return (centres >= low) & (centres < high)


def spectral(log_mel: np.ndarray, spec: LogMel, n_mfcc: int) -> dict[str, np.ndarray]:
    """Descriptors of each frame by name; all but the centroid's octaves are blind to the level.

    `mfcc_1` ... orthonormal DCT-II of the log-mel; `alpha_ratio` energy of 1-5 kHz over that below
    1 kHz, dB; `hammarberg` strongest band below 2 kHz over that of 2-5 kHz, dB;
    `slope_<low>_<high>` regression of the band levels over frequency, dB per kHz; `flux` root mean
    square change of the band levels since the frame before, dB; `centroid` of the power, octaves
    over 1 kHz.

    Args:
        log_mel: frames of `spec`, (frames, n_mels).
        spec: the front end that made them.
        n_mfcc: cepstral coefficients, from the first.

    Returns:
        (frames,) each.
    """
    centres = band_centres(spec)
    log_power = log_mel.astype(np.float64)
    power = np.exp(log_power)
    level = _DB * log_power
    cepstra = scipy.fft.dct(log_mel, norm="ortho", axis=1)
    columns = {f"mfcc_{k}": cepstra[:, k] for k in range(1, n_mfcc + 1)}
    below = power[:, _between(centres, 0, 1000)].sum(1)
    above = power[:, _between(centres, 1000, 5000)].sum(1)
    columns["alpha_ratio"] = 10.0 * np.log10(above / below)
    below = level[:, _between(centres, 0, 2000)].max(1)
    above = level[:, _between(centres, 2000, 5000)].max(1)
    columns["hammarberg"] = below - above
    for low_hz, high_hz in SLOPES_HZ:
        bands = _between(centres, low_hz, high_hz)
        offset = centres[bands] - centres[bands].mean()
        offset /= 1000.0
        slope = level[:, bands] @ offset / (offset @ offset)
        columns[f"slope_{low_hz}_{high_hz}"] = slope
    steps = np.diff(level, axis=0, prepend=level[:1])
    columns["flux"] = np.sqrt(np.square(steps).mean(1))
    centroid = power @ centres / power.sum(1)
    columns["centroid"] = np.log2(centroid / 1000.0)
    return columns


def loudness(log_mel: np.ndarray) -> np.ndarray:
    """Loudness of each frame by Stevens' power law, float64 (frames,).

    Mean over bands of power to the 0.3, as eGeMAPS takes it.
    """
    return np.exp(0.3 * log_mel.astype(np.float64)).mean(1)


def run_lengths(flags: np.ndarray) -> np.ndarray:
    """Lengths, in frames, of the unbroken runs of True in `flags` (frames,).

    None give an empty array.
    """
    steps = np.diff(flags.astype(np.int8), prepend=0, append=0)
    edges = np.flatnonzero(steps)
    return edges[1::2] - edges[::2]
