"""One episode, to see and to hear: who speaks in the support, who in the query."""

from collections.abc import Sequence

import ipywidgets
import jinja2
import matplotlib
import numpy as np
import pandas as pd
from matplotlib.colors import to_hex

from colab_utils.display import style
from colab_utils.display.hear import clip_html

PLAYED_SUPPORT = 12  # clips of the support with a player, shared out over the classes
PLAYED_QUERIES = 1  # and of the query, in each class
# A hue for each side, which no kind of colour blindness mixes up; a shade for each speaker.
SIDES = {"support": "Blues", "query": "Oranges"}
EPISODE_COLUMNS = ("task", "role", "utt_id", "speaker", "emotion", "corpus", "file")
_PURPOSE = {"support": "to learn from, with labels", "query": "to recognise"}
_BOTH_SIDES, _UNKNOWN = "#b3261e", "#767676"

_PAGE = """
{% set line = "1px solid rgba(128,128,128,.35)" %}
{% set cell = "padding:.5em .7em;text-align:left;vertical-align:top;background:none" %}
{% set chip = "border-radius:.8em;padding:.05em .6em;font-weight:600;white-space:nowrap" %}
<div style="line-height:1.35">
<p style="margin:.3em 0"><b>{{ title }}</b>, {{ queries }} queries a class.
<span style="{{ look_of_warning if warned }}">{{ people }}</span>
{% if synthetic %}<b>Synthetic corpus: not human speech.</b>{% endif %}</p>
<table style="border-collapse:collapse;width:100%">
<thead><tr><th scope="col" style="{{ cell }}">class</th>
{% for head in heads %}
<th scope="col" style="{{ cell }};width:44%;border-bottom:.25em solid {{ head.hue }}">
{{ head.side | capitalize }} <span style="font-weight:normal">{{ head.words }}</span></th>
{% endfor %}
</tr></thead><tbody>
{% for emotion, sides in classes.items() %}
<tr style="border-top:{{ line }};background:none">
<th scope="row" style="{{ cell }}">{{ emotion }}</th>
{% for clips in sides %}
<td style="{{ cell }};border-left:{{ line }}">
<div style="display:flex;flex-wrap:wrap;gap:.45em;align-items:flex-start">
{% for clip in clips %}
<div title="{{ clip.utt_id }}" style="border:{{ line }};border-left:.3em solid {{ clip.colour }};
border-radius:.3em;padding:.25em .45em">
<span style="background:{{ clip.colour }};color:{{ clip.ink }};{{ chip }}">{{ clip.speaker }}</span>
<small style="opacity:.75">{{ clip.name }}</small>
{% if clip.player %}
<div style="width:12.5em;margin-top:.25em">{{ clip.player | safe }}</div>
{% endif %}
</div>
{% endfor %}
</div></td>
{% endfor %}
</tr>
{% endfor %}
</tbody></table></div>
"""


def episode_rows(split: pd.DataFrame, manifest: pd.DataFrame, task: int) -> pd.DataFrame:
    """The support and query of one task: a split table joined with its manifest.

    Args:
        split: with roles support and query, of one seed.
        manifest: the rows that it was made from (local column `file`).
        task: which one.

    Returns:
        EPISODE_COLUMNS, a row a clip.

    Raises:
        ValueError: a task that is not there.
    """
    episodes = split[split["role"].isin(list(SIDES))]
    rows = episodes[episodes["task"] == task]
    if rows.empty:
        there = episodes["task"]
        held = f"tasks {there.min()} to {there.max()}" if len(there) else "no episodes"
        raise ValueError(f"no task {task}: the split holds {held}")
    known = manifest[["utt_id", "emotion", "corpus", "file"]]
    return rows.merge(known, on="utt_id", how="left")[list(EPISODE_COLUMNS)]


def show_episode(rows: pd.DataFrame, labels: Sequence[str]) -> ipywidgets.HTML:
    """A picture of one episode: a row for each class, its support clips left, its queries right.

    Each clip stands under its speaker. Support speakers are blue, query speakers orange, each in a
    shade of their own; one who stands on both sides is red. PLAYED_SUPPORT clips of the support and
    PLAYED_QUERIES of each class in the query have a player; the others are named.

    Args:
        rows: EPISODE_COLUMNS of one task (`MamlStudy.episode`).
        labels: the order of the classes.

    Returns:
        A widget.

    Raises:
        ValueError: rows of several tasks, without a side, or of an emotion not in `labels`.

    Example:
        show_episode(study.episode(config, episodes, task=3), study.labels)
    """
    # Not an Output: a headless run waits for ever on one that holds a megabyte of audio.
    return ipywidgets.HTML(episode_html(rows, labels))


def episode_html(rows: pd.DataFrame, labels: Sequence[str]) -> str:
    """The page of `show_episode`."""
    emotions = _checked(rows, labels)
    ways = len(emotions)
    played = {"support": max(1, PLAYED_SUPPORT // ways), "query": PLAYED_QUERIES}
    support = rows[rows["role"] == "support"]
    query = rows[rows["role"] == "query"]
    chips = speaker_chips(rows)
    classes = {}
    for emotion in emotions:
        classes[emotion] = []
        for side, table in (("support", support), ("query", query)):
            mine = table[table["emotion"] == emotion]
            classes[emotion].append(_clips(mine, chips, played[side]))
    people, warned = _people(support, query)
    environment = jinja2.Environment(autoescape=True, trim_blocks=True)
    return environment.from_string(_PAGE).render(
        title=f"Task {rows['task'].iloc[0]}: {ways}-way, {len(support) // ways}-shot",
        queries=len(query) // ways,
        people=people,
        warned=warned,
        look_of_warning=f"color:{style.WARN};background:#fff4ec;padding:0 .3em",
        synthetic=rows["corpus"].str.startswith("synthetic").any(),
        heads=[_head("support", support), _head("query", query)],
        classes=classes,
    )


def _checked(rows: pd.DataFrame, labels: Sequence[str]) -> list[str]:
    """The classes in their order. Raises ValueError for rows that are no episode."""
    lacking = [name for name in EPISODE_COLUMNS if name not in rows.columns]
    if lacking:
        raise ValueError(
            f"the episode lacks the column(s) {', '.join(lacking)}: make it with "
            "study.episode(config, episodes, task)"
        )
    if rows["task"].nunique() != 1 or set(rows["role"]) != set(SIDES):
        there = " and ".join(sorted(set(rows["role"]))) or "no rows"
        raise ValueError(
            "one task with support and query is needed, and there are "
            f"{rows['task'].nunique()} task(s) with {there}: choose one with "
            "study.episode(config, episodes, task)"
        )
    there = set(rows["emotion"])
    unknown = sorted(there - set(labels))
    if unknown:
        raise ValueError(
            f"the episode holds {', '.join(unknown)}, which is not among the labels "
            f"{', '.join(labels)}"
        )
    return [emotion for emotion in labels if emotion in there]


def speaker_chips(rows: pd.DataFrame) -> dict[tuple[str, str], tuple[str, str]]:
    """The name to show and the colour of each speaker and side.

    Shades of the side's hue, red for a speaker of both sides, grey where unknown.

    Returns:
        {(speaker, side): (name, colour)}.
    """
    one_corpus = rows["corpus"].nunique() == 1
    sides_of = rows.groupby("speaker")["role"].nunique()
    found = {}
    for side, hue in SIDES.items():
        speakers = rows.loc[rows["role"] == side, "speaker"].unique()
        shades = matplotlib.colormaps[hue](np.linspace(0.85, 0.3, len(speakers)))
        for speaker, shade in zip(speakers, shades, strict=True):
            name = speaker.rpartition("/")[2] if one_corpus else speaker
            colour = to_hex(shade)
            if sides_of[speaker] == 2:
                colour = _BOTH_SIDES
            if not speaker:
                name, colour = "unknown", _UNKNOWN
            found[speaker, side] = name, colour
    return found


def _clips(rows: pd.DataFrame, chips: dict, played: int) -> list[dict[str, str]]:
    """What a class' clips on one side show; the first `played` of them have a player."""
    found = []
    for clip in rows.itertuples():
        speaker, colour = chips[clip.speaker, clip.role]
        shown = {
            "utt_id": clip.utt_id,
            "name": clip.utt_id.partition("/")[2] or clip.utt_id,
            "speaker": speaker,
            "colour": colour,
            "ink": style.ink_on(colour),
        }
        if len(found) < played:
            label = f"{clip.emotion}, {clip.role}, speaker {speaker}"
            shown["player"] = clip_html(clip.file, label)
        found.append(shown)
    return found


def _head(side: str, rows: pd.DataFrame) -> dict[str, str]:
    """The head of a column, underlined in its side's hue: what for, and who."""
    number = rows.loc[rows["speaker"] != "", "speaker"].nunique()
    who = "speakers unknown"
    if number:
        who = "1 speaker" if number == 1 else f"{number} speakers"
    hue = to_hex(matplotlib.colormaps[SIDES[side]](0.7))
    return {"side": side, "hue": hue, "words": f"{_PURPOSE[side]}: {len(rows)} clips, {who}"}


def _people(support: pd.DataFrame, query: pd.DataFrame) -> tuple[str, bool]:
    """Whether any speaker is on both sides, and whether that is a warning."""
    if (support["speaker"] == "").any() or (query["speaker"] == "").any():
        return "Speakers unknown: the same person may be on both sides.", True
    both = sorted(set(support["speaker"]) & set(query["speaker"]))
    if both:
        return f"On both sides: {', '.join(both)}.", True
    return "Nobody is on both sides.", False
