"""A gallery of utterances, one of each emotion: what it looks like and what it sounds like.

Spectrogram and pitch, and a player.
"""

import html
from collections.abc import Sequence
from typing import Any

import matplotlib.patheffects
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from colab_utils.corpora.audio import load_audio
from colab_utils.corpora.manifest import speaker_keys
from colab_utils.display import captions, style
from colab_utils.display.hear import player_html

# Hz; 25 ms windows every 10 ms; mel bands and their range in Hz: what the methods are fed, too
RATE, WINDOW, HOP, BANDS, LOWEST, HIGHEST = 16000, 400, 160, 64, 60, 7600
# Shown below the loudest point: beneath lies the recording's noise.
_DYNAMIC_DB = 70.0


def choose_clips(manifest: pd.DataFrame, emotions: Sequence[str]) -> pd.DataFrame:
    """One utterance of each emotion, by one speaker and with one text as far as they have it.

    What differs between the clips is then the emotion.

    Args:
        manifest: rows to choose from.
        emotions: which, in this order.

    Returns:
        Rows of `manifest`, the same each time.

    Raises:
        ValueError: an emotion does not occur.
    """
    there = set(manifest["emotion"])
    absent = sorted(set(emotions) - there)
    if absent:
        raise ValueError(
            f"no utterance of {', '.join(absent)}: the manifest has {', '.join(sorted(there))}"
        )
    table = manifest[manifest["emotion"].isin(emotions)].sample(frac=1, random_state=0)
    speakers = speaker_keys(table)
    spoken = table.groupby(speakers)["emotion"].transform("nunique")
    mine = speakers == speakers[spoken.idxmax()]
    texts = table[mine & (table["text_id"] != "")].groupby("text_id")["emotion"].nunique()
    said = table["text_id"].map(texts).where(mine).fillna(0)
    ranked = table.assign(mine=mine, said=said)
    ranked = ranked.sort_values(["mine", "said"], ascending=False, kind="stable")
    first = ranked.drop_duplicates("emotion").set_index("emotion", drop=False)
    return first.loc[emotions, manifest.columns]


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
    axes.plot(seconds, f0, color="#c44500", lw=1.2, path_effects=[outline])
    axes.set(xlabel="Time (s)", ylabel="Frequency (Hz)")
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set(yscale="log", ylim=(LOWEST, HIGHEST))
    ticks = [100, 300, 1000, 3000]
    axes.set_yticks(ticks, ticks)
    axes.minorticks_off()
    return f0[np.isfinite(f0)]


def show_gallery(manifest: pd.DataFrame, emotions: Sequence[str]) -> Any:
    """Cards to show in a notebook, one for each clip of `choose_clips`.

    Spectrogram with pitch, and a player beneath.

    Args:
        manifest: rows with local columns (`file`).
        emotions: which, in this order.

    Returns:
        An IPython HTML object.

    Raises:
        ValueError: an emotion does not occur.

    Example:
        >>> baselines.show_gallery(manifest, ["anger", "sadness"])
    """
    from IPython.display import HTML

    cards = []
    for clip in choose_clips(manifest, emotions).itertuples():
        samples, title = load_audio(clip.file, RATE), _title(clip)
        figure = utterance_figure(samples, title, captions.stamps_of_rows(manifest))
        cards.append(
            f'<figure style="margin:0;width:21em">{figure.html()}'
            f"{player_html(samples, RATE, title)}"
            f"<figcaption><small>{html.escape(clip.utt_id)}</small></figcaption></figure>"
        )
    return HTML(f'<div style="display:flex;flex-wrap:wrap;gap:1em">{"".join(cards)}</div>')


def _title(clip: Any) -> str:
    """The emotion, and who speaks."""
    if not clip.speaker:
        return f"{clip.emotion}, speaker unknown"
    gender = f" ({clip.gender})" if clip.gender else ""
    return f"{clip.emotion}, speaker {clip.speaker}{gender}"
