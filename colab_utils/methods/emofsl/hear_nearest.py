"""What an embedding holds for alike: the support clips nearest to a query, to see and to hear."""
from __future__ import annotations

import html
from typing import Any

import numpy as np
import pandas as pd

from colab_utils.corpora.audio import AudioError, load_audio
from colab_utils.corpora.manifest import speaker_keys
from colab_utils.display import style
from colab_utils.display.curves import COLOURS
from colab_utils.display.hear import player_html

NEAREST_COLUMNS = ("rank", "utt_id", "emotion", "corpus", "speaker", "distance", "right", "file")
MOST_CLIPS = 10                     # with players: each second costs 43 kB of the notebook
RIGHT, WRONG, QUERY = COLOURS[2], "#b3261e", COLOURS[0]
_LINE = "1px solid rgba(128,128,128,.35)"


def nearest_rows(query: str, distances: pd.Series, manifest: pd.DataFrame, k: int = 4) -> pd.DataFrame:
    """The k support clips nearest to the utterance `query`, NEAREST_COLUMNS, the nearest first (of equal ones the first by name).

    distances: of the support clips to the query, indexed by their utt_id; manifest: holds all of them, with local columns. right: whether the
    clip has the query's emotion; speaker: "<corpus>/<speaker>", "" where unknown. Raises ValueError for a query or clip that the manifest
    lacks, for no distances, and for ones that are no numbers.
    """
    if distances.empty or distances.isna().any() or distances.index.has_duplicates:
        what = "are empty" if distances.empty else f"of {distances.index[distances.isna()][0]} is no number" if distances.isna().any() else \
            f"hold {distances.index[distances.index.duplicated()][0]} twice"
        raise ValueError(f"the distances to {query} {what}: pass one number for each support clip, indexed by utt_id")
    known = manifest.set_index("utt_id")
    lacking = [name for name in (query, *distances.index) if name not in known.index]
    if lacking:
        raise ValueError(f"{lacking[0]} (and {len(lacking) - 1} more) is not in the manifest: pass the run's own manifest")
    table = distances.rename("distance").rename_axis("utt_id").reset_index().sort_values(["distance", "utt_id"], ignore_index=True).head(k)
    clips = known.loc[table["utt_id"]].reset_index()
    return table.assign(rank=np.arange(1, len(table) + 1), emotion=clips["emotion"], corpus=clips["corpus"], speaker=speaker_keys(clips),
                        right=clips["emotion"] == known.loc[query, "emotion"], file=clips["file"])[list(NEAREST_COLUMNS)]


def nearest_clips(query: str, distances: pd.Series, manifest: pd.DataFrame, k: int = 4) -> Any:
    """A query and its k nearest support clips as cards with players: emotion, speaker, distance, and whether the emotion is the query's.

    Arguments as `nearest_rows`; k up to MOST_CLIPS. Returns a widget (an HTML object without ipywidgets). Raises ValueError.
    """
    page = nearest_html(query, distances, manifest, k)
    try:
        import ipywidgets
    except ImportError:
        from IPython.display import HTML
        return HTML(page)
    return ipywidgets.HTML(page)                  # not an Output: a headless run waits for ever on one that holds a megabyte of audio


def nearest_html(query: str, distances: pd.Series, manifest: pd.DataFrame, k: int = 4) -> str:
    """The page of `nearest_clips`."""
    if not 1 <= k <= MOST_CLIPS:
        raise ValueError(f"k = {k}: 1 to {MOST_CLIPS} clips can be shown")
    rows = nearest_rows(query, distances, manifest, k)
    asked = manifest[manifest["utt_id"] == query]
    who = speaker_keys(asked).iloc[0]
    asked = asked.iloc[0]
    one = rows["corpus"].nunique() == 1 and rows["corpus"].iloc[0] == asked["corpus"]
    cards = [_card(asked["emotion"], _name(who, one), query, asked["file"], QUERY, "query", "")]
    for row in rows.itertuples():
        colour, told = (RIGHT, "right") if row.right else (WRONG, "wrong")
        cards.append(_card(row.emotion, _name(row.speaker, one), row.utt_id, row.file, colour, f"{row.rank}. {told}", f"distance {row.distance:.3g}"))
    same = f'<span style="color:{style.WARN};background:#fff4ec;padding:0 .3em">The query\'s own speaker is among them.</span>' \
        if who and (rows["speaker"] == who).any() else ""
    synthetic = any(corpus.startswith("synthetic") for corpus in (asked["corpus"], *rows["corpus"]))
    stamp = " <b>Synthetic corpus: not human speech.</b>" if synthetic else ""
    return (f'<div style="line-height:1.35"><p style="margin:.3em 0"><b>{int(rows["right"].sum())} of the {len(rows)} nearest</b> of '
            f'{len(distances):,} support clips have the emotion of the query, {html.escape(asked["emotion"])}. {same}{stamp}</p>'
            f'<div style="display:flex;flex-wrap:wrap;gap:.45em;align-items:flex-start">{"".join(cards)}</div></div>')


def hear_nearest(distances: pd.DataFrame, manifest: pd.DataFrame, k: int = 4, most: int = 50) -> Any:
    """A drop-down of queries and the clips nearest to the chosen one; starts with the first query whose nearest clip has another emotion.

    distances: (queries, support clips), utt_ids as index and columns, of which the first `most` queries are offered; manifest: as
    `nearest_rows`. Returns a widget to show as a cell's last value; without ipywidgets the page of the first. Raises ValueError.
    """
    if distances.empty:
        raise ValueError("no distances: pass a table with queries as rows and support clips as columns")
    offered = distances.head(most)
    wrong = [query for query, row in offered.iterrows() if not nearest_rows(query, row, manifest, 1)["right"].iloc[0]]
    first = wrong[0] if wrong else offered.index[0]
    try:
        import ipywidgets
    except ImportError:
        return nearest_clips(first, distances.loc[first], manifest, k)
    emotions = manifest.set_index("utt_id")["emotion"]
    options = [(f"{emotions[query]}: {query}{' (nearest clip is wrong)' if query in wrong else ''}", query) for query in offered.index]
    box = ipywidgets.Dropdown(description="query", options=options, value=first, layout=ipywidgets.Layout(width="32em"))
    shown = ipywidgets.HTML(nearest_html(first, distances.loc[first], manifest, k))

    def show(change: Any) -> None:
        shown.value = nearest_html(change["new"], distances.loc[change["new"]], manifest, k)
    box.observe(show, names="value")
    return ipywidgets.VBox([box, shown])


def _name(speaker: str, one: bool) -> str:
    """A speaker as shown: without the corpus where all are of one."""
    return (speaker.rpartition("/")[2] if one else speaker) or "unknown"


def _card(emotion: str, speaker: str, utt_id: str, file: str, colour: str, told: str, beside: str) -> str:
    """One clip: what it is in a coloured chip, `beside` it in small print, its emotion and speaker, its name, and a player."""
    try:
        sound = player_html(load_audio(file), 16000, f"{told}: {emotion}, speaker {speaker}")
    except AudioError as error:
        sound = f"cannot be played: {html.escape(error.reason)}"
    short = html.escape(utt_id.partition("/")[2] or utt_id)
    return (f'<div style="border:{_LINE};border-left:.3em solid {colour};border-radius:.3em;padding:.25em .45em;width:13.5em" '
            f'title="{html.escape(utt_id)}"><span style="background:{colour};color:{style.ink_on(colour)};border-radius:.8em;padding:.05em .6em;'
            f'font-weight:600;white-space:nowrap">{html.escape(told)}</span> <small>{html.escape(beside)}</small><br>'
            f'<b>{html.escape(emotion)}</b>, speaker {html.escape(speaker)}<br>'
            f'<small style="opacity:.75">{short}</small><div style="margin-top:.25em">{sound}</div></div>')
