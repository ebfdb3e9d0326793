"""Low-level descriptors: what a log-mel frame says of voice quality and timbre, in the terms of
eGeMAPS (Eyben et al. 2016).
"""

from __future__ import annotations

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

    Raises SettingError where a range whose slope is asked for holds fewer than two bands.
    """
    bands = mel_bands(spec).numpy().astype(np.float64)
    centres = (bands * np.linspace(0, spec.sample_rate / 2, len(bands))[:, None]).sum(
        0
    ) / bands.sum(0)
    for low, high in SLOPES_HZ:
        if ((centres >= low) & (centres < high)).sum() < 2:
            raise SettingError(
                f"n_mels = {spec.n_mels}: fewer than two bands between {low} and {high} Hz;"
                " functionals need more bands"
            )
    return centres


def spectral(log_mel: np.ndarray, spec: LogMel, n_mfcc: int) -> tuple[np.ndarray, list[str]]:
    """Descriptors of each frame, float64 (frames, n), and their names; all but the centroid's
    octaves are blind to the level.

    `mfcc_1` ... orthonormal DCT-II of the log-mel; `alpha_ratio` energy of 1-5 kHz over that below
    1 kHz, dB; `hammarberg` strongest band below 2 kHz over that of 2-5 kHz, dB;
    `slope_<low>_<high>` regression of the band levels over frequency, dB per kHz; `flux` root mean
    square change of the band levels since the frame before, dB; `centroid` of the power, octaves
    over 1 kHz.
    """
    centres, level = band_centres(spec), _DB * log_mel.astype(np.float64)
    power = np.exp(log_mel.astype(np.float64))
    between = {
        (low, high): (centres >= low) & (centres < high)
        for low, high in (*SLOPES_HZ, (0, 1000), (1000, 5000), (0, 2000), (2000, 5000))
    }
    columns = {
        f"mfcc_{k}": column
        for k, column in enumerate(
            scipy.fft.dct(log_mel, norm="ortho", axis=1).T[1 : n_mfcc + 1], 1
        )
    }
    columns["alpha_ratio"] = 10.0 * np.log10(
        power[:, between[1000, 5000]].sum(1) / power[:, between[0, 1000]].sum(1)
    )
    columns["hammarberg"] = level[:, between[0, 2000]].max(1) - level[:, between[2000, 5000]].max(1)
    for low, high in SLOPES_HZ:
        bands = between[low, high]
        offset = (centres[bands] - centres[bands].mean()) / 1000.0
        columns[f"slope_{low}_{high}"] = level[:, bands] @ offset / (offset @ offset)
    columns["flux"] = np.sqrt(np.square(np.diff(level, axis=0, prepend=level[:1])).mean(1))
    columns["centroid"] = np.log2(power @ centres / power.sum(1) / 1000.0)
    return np.stack(list(columns.values()), axis=1), list(columns)


def loudness(log_mel: np.ndarray) -> np.ndarray:
    """Loudness of each frame by Stevens' power law, float64 (frames,): mean over bands of power to
    the 0.3, as eGeMAPS takes it.
    """
    return np.exp(0.3 * log_mel.astype(np.float64)).mean(1)


def run_lengths(flags: np.ndarray) -> np.ndarray:
    """Lengths, in frames, of the unbroken runs of True in `flags` (frames,); none give an empty
    array.
    """
    edges = np.flatnonzero(np.diff(np.concatenate(([0], flags.astype(np.int8), [0]))))
    return edges[1::2] - edges[::2]
