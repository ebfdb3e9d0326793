"""What an episode is: its support and query clips with their speakers, to see and to hear; and what each support speaker does to the result."""
from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.colors import to_hex

from colab_utils.corpora.audio import AudioError, load_audio
from colab_utils.display import captions, style
from colab_utils.display.hear import player_html
from colab_utils.display.speakers import MANY, short_names
from colab_utils.methods.maml.steps import STEP_INTERVAL

PLAYED_SUPPORT, PLAYED_QUERIES = 12, 1            # clips with a player: of the support in all (shared out evenly), of the query in each class
SIDES = {"support": "Blues", "query": "Oranges"}  # a hue for each side, which no kind of colour blindness mixes up; a shade for each speaker
EPISODE_COLUMNS = ("task", "role", "utt_id", "speaker", "emotion", "corpus", "file")
_LINE = "1px solid rgba(128,128,128,.35)"
_CELL = "padding:.5em .7em;text-align:left;vertical-align:top;background:none"
_CARDS = "display:flex;flex-wrap:wrap;gap:.45em;align-items:flex-start"


def episode_rows(split: pd.DataFrame, manifest: pd.DataFrame, task: int = 0, seed: int | None = None) -> pd.DataFrame:
    """The support and query of one task with EPISODE_COLUMNS: a split table joined with the manifest it was made from (local column `file`).

    seed: needed where the split holds the task under several. Raises ValueError for a task that is not there, or utterances that are not
    in the manifest.
    """
    rows = split[split["role"].isin(list(SIDES)) & (split["task"] == task)]
    rows = rows if seed is None else rows[rows["seed"] == seed]
    if rows.empty:
        there = split.loc[split["role"].isin(list(SIDES)), "task"]
        known = f"tasks {there.min()} to {there.max()}" if len(there) else "no episodes"
        raise ValueError(f"no task {task}{'' if seed is None else f' of seed {seed}'}: the split holds {known}")
    if rows["seed"].nunique() > 1:
        raise ValueError(f"task {task} is there for the seeds {', '.join(map(str, sorted(rows['seed'].unique())))}: choose one")
    known = manifest.set_index("utt_id")
    lacking = rows.loc[~rows["utt_id"].isin(known.index), "utt_id"]
    if len(lacking):
        raise ValueError(f"{lacking.iloc[0]} (and {len(lacking) - 1} more) is in the split but not in the manifest: pass the run's own manifest")
    return rows.assign(**{name: rows["utt_id"].map(known[name]) for name in ("emotion", "corpus", "file")})[list(EPISODE_COLUMNS)]


def show_episode(rows: pd.DataFrame, labels: Sequence[str] | None = None) -> Any:
    """A picture of one episode: a row for each class, its support clips on the left, its query clips on the right, each under its speaker.

    rows: EPISODE_COLUMNS of one task (`episode_rows`); labels: the order of the classes (default: as in the support). Support speakers are
    blue, query speakers orange, each in a shade of their own; one who stands on both sides is red. Players: PLAYED_SUPPORT in the support,
    PLAYED_QUERIES of each class in the query; other clips are named. Returns a widget (an HTML object without ipywidgets).
    Raises ValueError for rows of several tasks, without a side, or of an emotion that is not in `labels`.
    """
    page = episode_html(rows, labels)
    try:
        import ipywidgets
    except ImportError:
        from IPython.display import HTML
        return HTML(page)
    return ipywidgets.HTML(page)                  # not an Output: a headless run waits for ever on one that holds a megabyte of audio


def episode_html(rows: pd.DataFrame, labels: Sequence[str] | None = None) -> str:
    """The page of `show_episode`."""
    classes = _checked(rows, labels)
    chips, players = speaker_chips(rows), {"support": max(1, PLAYED_SUPPORT // len(classes)), "query": PLAYED_QUERIES}
    if (rows["role"] == "support").sum() <= PLAYED_SUPPORT:
        players["support"] = PLAYED_SUPPORT
    body = []
    for emotion in classes:
        cells = []
        for side in SIDES:
            mine = rows[(rows["role"] == side) & (rows["emotion"] == emotion)]
            cells.append("".join(_card(clip, chips[clip.speaker, side], number < players[side]) for number, clip in enumerate(mine.itertuples())))
        body.append(f'<tr style="border-top:{_LINE};background:none"><th scope="row" style="{_CELL}">{html.escape(emotion)}</th>'
                    + "".join(f'<td style="{_CELL};border-left:{_LINE}"><div style="{_CARDS}">{cell}</div></td>' for cell in cells) + "</tr>")
    heads = f'<th scope="col" style="{_CELL}">class</th>' + "".join(_heads(rows))
    return (f'<div style="line-height:1.35">{_sentence(rows, classes)}<table style="border-collapse:collapse;width:100%"><thead><tr>{heads}</tr>'
            f'</thead><tbody>{"".join(body)}</tbody></table></div>')


def _checked(rows: pd.DataFrame, labels: Sequence[str] | None) -> list[str]:
    """The classes in their order. Raises ValueError for rows that are no episode."""
    lacking = [name for name in EPISODE_COLUMNS if name not in rows.columns]
    if lacking:
        raise ValueError(f"the episode lacks the column(s) {', '.join(lacking)}: make it with episode_rows(split, manifest, task)")
    if rows["task"].nunique() != 1 or set(rows["role"]) != set(SIDES):
        raise ValueError(f"one task with support and query is needed, and there are {rows['task'].nunique()} task(s) with "
                         f"{' and '.join(sorted(set(rows['role']))) or 'no rows'}: choose one with episode_rows(split, manifest, task)")
    there = list(dict.fromkeys(rows.sort_values("role", key=lambda role: role != "support", kind="stable")["emotion"]))
    unknown = [emotion for emotion in there if labels is not None and emotion not in labels]
    if unknown:
        raise ValueError(f"the episode holds {', '.join(unknown)}, which is not among the labels {', '.join(labels)}")
    return there if labels is None else [emotion for emotion in labels if emotion in there]


def speaker_chips(rows: pd.DataFrame) -> dict[tuple[str, str], tuple[str, str]]:
    """(speaker, side) -> (name to show, colour): shades of the side's hue, red for a speaker of both sides, grey where unknown."""
    one = rows["corpus"].nunique() == 1
    names = {key: key.rpartition("/")[2] if one else key for key in rows["speaker"]}
    sides = {side: list(dict.fromkeys(rows.loc[rows["role"] == side, "speaker"])) for side in SIDES}
    both, found = set(sides["support"]) & set(sides["query"]), {}
    for side, there in sides.items():
        shades = matplotlib.colormaps[SIDES[side]](np.linspace(0.85, 0.3, len(there)))
        for speaker, shade in zip(there, shades, strict=True):
            colour = "#767676" if speaker == "" else "#b3261e" if speaker in both else to_hex(shade)
            found[speaker, side] = names[speaker] or "unknown", colour
    return found


def _card(clip: Any, chip: tuple[str, str], play: bool) -> str:
    """One clip: its speaker as a coloured chip, its name, and a player where `play`."""
    name, colour = chip
    label = f"{clip.emotion}, {clip.role}, speaker {name}"
    sound = ""
    if play:
        try:
            sound = f'<div style="width:12.5em;margin-top:.25em">{player_html(load_audio(clip.file), 16000, label)}</div>'
        except AudioError as error:
            sound = f"<br><small>cannot be played: {html.escape(error.reason)}</small>"
    head = (f'<span style="background:{colour};color:{style.ink_on(colour)};border-radius:.8em;padding:.05em .6em;font-weight:600;'
            f'white-space:nowrap">{html.escape(name)}</span>')
    short = html.escape(clip.utt_id.partition("/")[2] or clip.utt_id)
    return (f'<div style="border:{_LINE};border-left:.3em solid {colour};border-radius:.3em;padding:.25em .45em" title="{html.escape(clip.utt_id)}">'
            f'{head} <small style="opacity:.75">{short}</small>{sound}</div>')


def _heads(rows: pd.DataFrame) -> list[str]:
    """The heads of the two columns, underlined in their side's hue: what the side is for, and who is on it."""
    heads = []
    for side, what in (("support", "to learn from, with labels"), ("query", "to recognise")):
        hue = to_hex(matplotlib.colormaps[SIDES[side]](0.7))
        mine = rows[rows["role"] == side]
        number = mine.loc[mine["speaker"] != "", "speaker"].nunique()
        who = f"{number} speaker{'s' * (number != 1)}" if number else "speakers unknown"
        heads.append(f'<th scope="col" style="{_CELL};width:44%;border-bottom:.25em solid {hue}">{side.capitalize()} '
                     f'<span style="font-weight:normal">{what}: {len(mine)} clips, {who}</span></th>')
    return heads


def _sentence(rows: pd.DataFrame, classes: Sequence[str]) -> str:
    """What the episode is, and whether any speaker is on both sides, above the picture."""
    sizes = [rows[rows["role"] == side].groupby("emotion").size() for side in SIDES]
    shots, queries = (f"{size.min()}" if size.min() == size.max() else f"{size.min()} to {size.max()}" for size in sizes)
    both = sorted(set(rows.loc[rows["role"] == "support", "speaker"]) & set(rows.loc[rows["role"] == "query", "speaker"]) - {""})
    if (rows["speaker"] == "").any():
        people = "Speakers unknown: the same person may be on both sides."
    else:
        people = f"On both sides: {', '.join(both)}." if both else "Nobody is on both sides."
    warned = f"color:{style.WARN};background:#fff4ec;padding:0 .3em" if both or people.startswith("Speakers") else ""
    stamp = " <b>Synthetic corpus: not human speech.</b>" if rows["corpus"].str.startswith("synthetic").any() else ""
    return (f'<p style="margin:.3em 0"><b>Task {rows["task"].iloc[0]}: {len(classes)}-way, {shots}-shot</b>, {queries} queries a class. '
            f'<span style="{warned}">{html.escape(people)}</span>{stamp}</p>')


def support_speakers_figure(table: pd.DataFrame, title: str = "", marks: Sequence[str] = ()) -> style.SuiteFigure:
    """Task accuracy with and without each speaker in the support (left), and the difference with its interval (right), sorted.

    table: what `results.support.support_speakers` gives; marks: stamps of the run (`captions.stamps`). Beyond MANY speakers the extremes
    only. Raises ValueError for an empty table.
    """
    if table.empty:
        raise ValueError("no support speakers: there is nothing to draw; run a few-shot method first")
    below = [f"In brackets: tasks with this speaker in the support. Bars: {STEP_INTERVAL}. A speaker's own queries are left out. "
             "About one interval in 20 misses 0 by chance alone."]
    if len(table) > MANY:
        below.append(f"Of {len(table)} speakers the {MANY // 2} with the greatest gain and the {MANY // 2} with the greatest loss are shown.")
        told = table.dropna(subset="difference")
        table = pd.concat([told.head(MANY // 2), told.tail(MANY // 2)], ignore_index=True)
    rows = np.arange(len(table))[::-1]
    with style.suite_style():
        figure = style.new_figure(style.WIDE_COLUMN, 0.17 * len(table) + 0.85)
        left, right = figure.subplots(1, 2, sharey=True)
        for name, marker, face, shift in (("with", "o", style.ACCENT, 0.14), ("without", "o", "white", -0.14)):
            left.hlines(rows + shift, 100 * table[f"{name}_low"], 100 * table[f"{name}_high"], color=style.ACCENT, lw=0.7)
            left.plot(100 * table[f"accuracy_{name}"], rows + shift, marker, ms=3.4, mfc=face, mec=style.ACCENT, mew=0.8, label=f"{name} the speaker")
        left.set(xlabel="Task accuracy (%)", ylabel="Support speaker", ylim=(-0.6, len(table) - 0.4))
        names = [f"{name} ({number})" for name, number in zip(short_names(table["speaker"]), table["tasks_with"], strict=True)]
        left.set_yticks(rows, names)
        right.axvline(0, color=style.QUIET, lw=0.8, ls=":")
        right.hlines(rows, 100 * table["low"], 100 * table["high"], color=style.INK, lw=0.8)
        right.plot(100 * table["difference"], rows, "o", ms=3.4, color=style.INK)
        right.set(xlabel="With minus without (points)")
        right.tick_params(left=False)
        for axes in (left, right):
            axes.spines[["top", "right"]].set_visible(False)
        right.spines["left"].set_visible(False)
        if title:
            figure.suptitle("\n".join(captions.wrap(title, style.WIDE_COLUMN, 8)), fontsize=8)
        left.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, frameon=False, handlelength=1, columnspacing=1)
        style.caption_below(figure, below, marks)
    return figure
