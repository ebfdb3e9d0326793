"""A gallery of utterances, one of each emotion: what it looks like and what it sounds like.

Spectrogram and pitch, and a player.
"""

import html
from collections.abc import Sequence
from typing import Any

import pandas as pd

from colab_utils.corpora.audio import load_audio
from colab_utils.corpora.manifest import speaker_keys
from colab_utils.display import captions
from colab_utils.display.hear import player_html
from colab_utils.display.sound.utterance import RATE, utterance_figure


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
