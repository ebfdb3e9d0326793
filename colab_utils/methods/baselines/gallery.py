"""A gallery of utterances, one or more of each emotion: what it looks like (spectrogram and pitch)
and what it sounds like.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from typing import Any

import matplotlib.patheffects
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from colab_utils.corpora.audio import load_audio
from colab_utils.corpora.manifest import speaker_keys
from colab_utils.display import style
from colab_utils.display.hear import player_html

# Hz; 25 ms windows every 10 ms; mel bands: what the methods are fed too
RATE, WINDOW, HOP, BANDS = 16000, 400, 160, 64
F0_RANGE = (60.0, 600.0)  # Hz
# shown below the loudest point: beneath lies the recording's noise
_DYNAMIC_DB = 70.0
_PITCH = "#c44500"


def choose_clips(
    manifest: pd.DataFrame,
    emotions: Sequence[str] | None = None,
    per_emotion: int = 1,
    seed: int = 0,
) -> pd.DataFrame:
    """Rows of `manifest`, `per_emotion` of each emotion, by one speaker and with one text as far as
    they have it; the same seed, the same rows.

    What differs between the clips is then the emotion. Sorted as `emotions` (default: all, by
    name). Raises ValueError for an emotion that does not occur.
    """
    emotions = sorted(manifest["emotion"].unique()) if emotions is None else list(emotions)
    absent = [emotion for emotion in emotions if emotion not in set(manifest["emotion"])]
    if absent:
        raise ValueError(
            f"no utterance of {', '.join(absent)}: the manifest has"
            f" {', '.join(sorted(manifest['emotion'].unique()))}"
        )
    table = manifest[manifest["emotion"].isin(emotions)].sample(frac=1, random_state=seed)
    keys = speaker_keys(table)
    table = table.assign(_speaker=keys.map(table.groupby(keys)["emotion"].nunique()), _text=0)
    mine = keys == keys[table["_speaker"].idxmax()]
    texts = table[mine & (table["text_id"] != "")].groupby("text_id")["emotion"].nunique()
    table["_text"] = table["text_id"].map(texts).where(mine).fillna(0)
    table["_mine"] = mine
    ranked = table.sort_values(["_mine", "_text"], ascending=False, kind="stable").drop(
        columns=["_speaker", "_text", "_mine"]
    )
    return pd.concat(
        [ranked[ranked["emotion"] == emotion].head(per_emotion) for emotion in emotions]
    )


def pitch(samples: np.ndarray) -> np.ndarray:
    """F0 in Hz, float64, one value each 10 ms from 0 s on, NaN where unvoiced (WORLD's DIO and
    StoneMask: Morise et al. 2009, 2016).

    Harvest, WORLD's other tracker, takes 25 times as long and calls breath and silence voiced:
    wrong for a picture.
    """
    import pyworld

    wave = samples.astype(np.float64)
    f0, times = pyworld.dio(
        wave, RATE, f0_floor=F0_RANGE[0], f0_ceil=F0_RANGE[1], frame_period=1000 * HOP / RATE
    )
    f0 = pyworld.stonemask(wave, f0, times, RATE)
    return np.where(f0 > 0, f0, np.nan)


def draw_utterance(axes: Axes, samples: np.ndarray, title: str) -> None:
    """Draw 16 kHz float samples as log-mel spectrogram (s, kHz on a mel scale, dark = loud) with F0
    over it (Hz, logarithmic, right axis).
    """
    import librosa

    power = librosa.feature.melspectrogram(
        y=samples,
        sr=RATE,
        n_fft=512,
        win_length=WINDOW,
        hop_length=HOP,
        n_mels=BANDS,
        fmin=60,
        fmax=7600,
    )
    level = librosa.power_to_db(power, ref=np.max, top_db=_DYNAMIC_DB)
    axes.imshow(
        level,
        origin="lower",
        aspect="auto",
        cmap="Greys",
        extent=(0, power.shape[1] * HOP / RATE, -0.5, BANDS - 0.5),
        rasterized=True,
    )
    khz = np.array([0.5, 1, 2, 4, 7])
    axes.set_yticks(
        np.interp(khz * 1000, librosa.mel_frequencies(BANDS, fmin=60, fmax=7600), np.arange(BANDS)),
        [f"{value:g}" for value in khz],
    )
    axes.set(xlabel="Time (s)", ylabel="Frequency (kHz)", title=title)
    right, f0 = axes.twinx(), pitch(samples)
    right.plot(
        np.arange(len(f0)) * HOP / RATE,
        f0,
        color=_PITCH,
        lw=1.2,
        path_effects=[matplotlib.patheffects.withStroke(linewidth=2.4, foreground="white")],
    )
    right.set_yscale("log")
    right.set_ylim(*F0_RANGE)
    right.set_yticks([75, 150, 300, 600], ["75", "150", "300", "600"], color=_PITCH)
    right.minorticks_off()
    right.set_ylabel("F0 (Hz)", color=_PITCH)


def show_gallery(
    manifest: pd.DataFrame,
    emotions: Sequence[str] | None = None,
    per_emotion: int = 1,
    seed: int = 0,
) -> Any:
    """Cards to show in a notebook, one for each clip of `choose_clips`: spectrogram with pitch, and
    a player beneath.

    `manifest` has local columns (`file`). Returns an IPython HTML object;
    `gallery_figure(choose_clips(...))` is the same for a page.
    """
    from IPython.display import HTML

    cards = []
    for clip in choose_clips(manifest, emotions, per_emotion, seed).itertuples():
        samples, title = load_audio(clip.file, RATE), _title(clip)
        with style.suite_style():
            figure = style.new_figure(2.9, 1.9)
            draw_utterance(figure.subplots(), samples, title)
        picture = base64.b64encode(figure._repr_png_()).decode()
        cards.append(
            '<figure style="margin:0;width:21em"><img alt="Spectrogram and pitch of'
            f' {html.escape(title)}" style="width:100%" '
            f'src="data:image/png;base64,{picture}">{player_html(samples, RATE, title)}'
            f"<figcaption><small>{html.escape(clip.utt_id)}</small></figcaption></figure>"
        )
    stamp = (
        "<p><b>Synthetic corpus: not human speech.</b></p>"
        if manifest["corpus"].str.startswith("synthetic").any()
        else ""
    )
    return HTML(f'{stamp}<div style="display:flex;flex-wrap:wrap;gap:1em">{"".join(cards)}</div>')


def _title(clip: Any) -> str:
    who = (
        f"speaker {clip.speaker}{f' ({clip.gender})' if clip.gender else ''}"
        if clip.speaker
        else "speaker unknown"
    )
    return f"{clip.emotion}, {who}"
