"""The support clips nearest to a tested one after the fine-tuning, to see and to hear."""

from typing import Any

import ipywidgets
import jinja2
import pandas as pd

from colab_utils.display import style
from colab_utils.display.hear import clip_html
from colab_utils.display.style import COLOURS
from colab_utils.methods.emofsl.retrieval.embeddings import Embeddings

N_NEAREST = 4  # with players: each second costs 43 kB of the notebook
MOST_QUERIES = 50  # that are offered
RIGHT, WRONG, QUERY = COLOURS[2], "#b3261e", COLOURS[0]
_PAGE = """
<div style="line-height:1.35">
<p style="margin:.3em 0"><b>{{ right }} of the {{ clips|length - 1 }} nearest</b> of {{ n_support }}
support clips have the emotion of the query, {{ clips[0].row.emotion }}.
{% if synthetic %}<b>Synthetic corpus: not human speech.</b>{% endif %}</p>
<div style="display:flex;flex-wrap:wrap;gap:.45em;align-items:flex-start">
{% for clip in clips %}
<div style="border:1px solid rgba(128,128,128,.35);border-left:.3em solid {{ clip.colour }};
border-radius:.3em;padding:.25em .45em;width:13.5em" title="{{ clip.row.utt_id }}">
<span style="background:{{ clip.colour }};color:{{ ink_on(clip.colour) }};border-radius:.8em;
padding:.05em .6em;font-weight:600;white-space:nowrap">{{ clip.told }}</span>
<small>{{ clip.beside }}</small><br>
<b>{{ clip.row.emotion }}</b>, speaker {{ clip.row.speaker or "unknown" }}<br>
<small style="opacity:.75">{{ clip.row.utt_id.partition("/")[2] }}</small>
<div style="margin-top:.25em">{{ clip.player|safe }}</div></div>
{% endfor %}
</div></div>
"""


def hear_support(found: Embeddings) -> ipywidgets.Widget:
    """A drop-down of tested utterances, and the support clips nearest to the chosen one.

    It starts with the first whose nearest clip has another emotion.

    Args:
        found: of `embeddings`.

    Returns:
        A widget to show as a cell's last value.
    """
    emotions = found.rows.set_index("utt_id")["emotion"]
    queries = found.rows.loc[found.queries, "utt_id"].head(MOST_QUERIES)
    options = []
    wrong = []
    for query in queries:
        told = f"{emotions[query]}: {query}"
        if not nearest_clips(found, query)["right"].iloc[0]:
            wrong.append(query)
            told += " (nearest clip is wrong)"
        options.append((told, query))
    first = [*wrong, *queries][0]
    wide = ipywidgets.Layout(width="32em")
    box = ipywidgets.Dropdown(description="query", options=options, value=first, layout=wide)
    # Not an Output: a headless run waits for ever on one that holds a megabyte of audio.
    page = ipywidgets.HTML(nearest_html(found, first))

    def show(change: Any) -> None:
        page.value = nearest_html(found, change["new"])

    box.observe(show, names="value")
    return ipywidgets.VBox([box, page])


def nearest_clips(found: Embeddings, query: str) -> pd.DataFrame:
    """The N_NEAREST support clips nearest to an utterance, the nearest first.

    Args:
        found: of `embeddings`.
        query: the utt_id of a tested utterance.

    Returns:
        Manifest rows with distance and right (whether the emotion is the query's); of equal
        distances the first by name.
    """
    emotion = found.rows.set_index("utt_id")["emotion"]
    table = found.rows[~found.queries].copy()
    table["distance"] = found.distances().loc[query].to_numpy()
    table["right"] = table["emotion"] == emotion[query]
    table = table.sort_values(["distance", "utt_id"], ignore_index=True)
    return table.head(N_NEAREST)


def nearest_html(found: Embeddings, query: str) -> str:
    """The page of a query and its nearest support clips, cards with players."""
    asked = found.rows[found.rows["utt_id"] == query].iloc[0]
    nearest = nearest_clips(found, query)
    clips = [_card(asked, QUERY, "query", "")]
    for rank, row in enumerate(nearest.itertuples(), start=1):
        colour, told = (RIGHT, "right") if row.right else (WRONG, "wrong")
        clips.append(_card(row, colour, f"{rank}. {told}", f"distance {row.distance:.3g}"))
    return jinja2.Template(_PAGE, autoescape=True).render(
        clips=clips,
        ink_on=style.ink_on,
        right=int(nearest["right"].sum()),
        n_support=f"{(~found.queries).sum():,}",
        synthetic=asked["corpus"].startswith("synthetic"),
    )


def _card(row: Any, colour: str, told: str, beside: str) -> dict[str, Any]:
    """What the page says of one clip: `told` in a coloured chip, `beside` it in small print."""
    label = f"{told}: {row.emotion}, speaker {row.speaker or 'unknown'}"
    return {
        "row": row,
        "colour": colour,
        "told": told,
        "beside": beside,
        "player": clip_html(row.file, label),
    }
