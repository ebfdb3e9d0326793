"""What an utterance looks like: log-mel spectrogram with F0, and level over time."""

from collections.abc import Sequence

import matplotlib.patheffects
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from colab_utils.display import style
from colab_utils.features.acoustic.quality import HOP as LEVEL_HOP
from colab_utils.features.acoustic.quality import levels

# Hz; 25 ms windows every 10 ms; mel bands and their range in Hz: what the methods are fed, too
RATE, WINDOW, HOP, BANDS, LOWEST, HIGHEST = 16000, 400, 160, 64, 60, 7600
# Shown below the loudest point: beneath lies the recording's noise.
_DYNAMIC_DB = 70.0


def pitch(samples: np.ndarray) -> np.ndarray:
    """F0 by WORLD's DIO and StoneMask (Morise et al. 2009, 2016), 60 to 600 Hz.

    Harvest, WORLD's other tracker, takes 25 times as long and calls breath and silence voiced:
    wrong for a picture.

    Args:
        samples: float, 16 kHz.

    Returns:
        Hz, float64, one value each 10 ms from 0 s on, NaN where unvoiced.
    """
    import pyworld

    wave = samples.astype(np.float64)
    every = 1000 * HOP / RATE
    f0, times = pyworld.dio(wave, RATE, f0_floor=60.0, f0_ceil=600.0, frame_period=every)
    f0 = pyworld.stonemask(wave, f0, times, RATE)
    return np.where(f0 > 0, f0, np.nan)


def utterance_figure(
    samples: np.ndarray, title: str, stamps: Sequence[str] = ()
) -> style.SuiteFigure:
    """A log-mel spectrogram (dark is loud), and F0 on it.

    Args:
        samples: float, 16 kHz.
        title: above.
        stamps: of its corpus.

    Returns:
        The figure.
    """
    with style.suite_style():
        figure = style.new_figure(2.9, 1.75)
        voiced = draw_utterance(figure.subplots(), samples)
        told = f"{len(samples) / RATE:.1f} s"
        if len(voiced):
            told += f", median of F0 {np.median(voiced):.0f} Hz"
        style.tell(figure, "spectrogram and pitch", title, stamps=stamps, numbers=told)
    return figure


def draw_utterance(axes: Axes, samples: np.ndarray) -> np.ndarray:
    """Draw both; the F0 of voiced frames, in Hz."""
    import librosa
    from librosa.display import specshow

    grid = {"sr": RATE, "hop_length": HOP, "win_length": WINDOW, "fmin": LOWEST, "fmax": HIGHEST}
    power = librosa.feature.melspectrogram(y=samples, n_fft=512, n_mels=BANDS, **grid)
    level = librosa.power_to_db(power, ref=np.max, top_db=_DYNAMIC_DB)
    look = {"cmap": "Greys", "rasterized": True}
    specshow(level, x_axis="time", y_axis="mel", ax=axes, **grid, **look)
    f0 = pitch(samples)
    outline = matplotlib.patheffects.withStroke(linewidth=2.4, foreground="white")
    seconds = np.arange(len(f0)) * HOP / RATE
    look = {"color": "#c44500", "path_effects": [outline]}
    axes.plot(seconds, f0, lw=1.2, **look)
    look |= {"ha": "right", "va": "top", "fontsize": style.SMALLEST}
    axes.text(0.99, 0.97, "pitch (F0)", transform=axes.transAxes, **look)
    axes.set(xlabel="Time (s)", ylabel="Frequency (Hz)")
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set(yscale="log", ylim=(LOWEST, HIGHEST))
    ticks = [100, 300, 1000, 3000]
    axes.set_yticks(ticks, ticks)
    axes.minorticks_off()
    return f0[np.isfinite(f0)]


def recording_figure(
    samples: np.ndarray, title: str, sentences: Sequence[str] = (), stamps: Sequence[str] = ()
) -> style.SuiteFigure:
    """As `utterance_figure`, and above it the level of each 25 ms.

    Args:
        samples: float, 16 kHz, full scale ±1.
        title: above.
        sentences: the caption, such as what stands against judging it.
        stamps: of its corpus.

    Returns:
        The figure.
    """
    with style.suite_style():
        figure = style.new_figure(2.9, 2.5)
        above, below = figure.subplots(2, sharex=True, height_ratios=[1, 2])
        found = levels(samples, RATE)
        above.plot(np.arange(len(found)) * LEVEL_HOP, found, color=style.ACCENT, lw=0.8)
        above.set(ylabel="Level (dB)", ylim=(min(-60.0, found.max() - 10), 0))
        voiced = draw_utterance(below, samples)
        told = f"{len(samples) / RATE:.1f} s, loudest 25 ms at {found.max():.0f} dB of full scale"
        if len(voiced):
            told += f", median of F0 {np.median(voiced):.0f} Hz"
        style.tell(figure, "level, spectrogram and pitch", title, (), sentences, stamps, told)
    return figure
