"""What an episode is: its support and query clips with their speakers, to see and to hear; and what each support speaker does to the result."""
from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.colors import to_hex

from colab_utils.corpora.audio import AudioError, load_audio
from colab_utils.display import style
from colab_utils.display.curves import COLOURS, DASHES, LEVEL_DASHES, MARKERS, finish, name_ends
from colab_utils.display.hear import player_html
from colab_utils.methods.maml.steps import accuracy_by_step, validate_steps
from colab_utils.results.bootstrap import STEP_INTERVAL

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


def accuracy_by_step_figure(steps: Mapping[str, pd.DataFrame], chance: float, title: str = "", marks: Sequence[str] = ()) -> style.SuiteFigure:
    """Mean query accuracy after each inner step: a line with its interval band for each method, named at its end.

    steps: a table of `results.steps` for each method, by the name to show; methods with one step only make no inner steps and are drawn as
    horizontal lines. chance: a fraction; marks: stamps of the runs (`captions.stamps`). Raises ValueError without methods, for more than
    there are colours, and StepsError for a table that cannot be used.
    """
    curves, tables = {name: accuracy_by_step(table) for name, table in steps.items()}, list(steps.values())
    moving, level = ([name for name, curve in curves.items() if (len(curve) > 1) is several] for several in (True, False))
    if not curves:
        raise ValueError("no methods: there is nothing to draw; pass the steps of one method at least")
    if len(moving) > len(COLOURS) or len(level) > len(LEVEL_DASHES):
        raise ValueError(f"{len(moving)} methods with inner steps and {len(level)} without: at most {len(COLOURS)} of each can be told apart")
    with style.suite_style():
        figure = style.new_figure(style.WIDE_COLUMN, 2.7)
        axes, ends = figure.subplots(), []
        for name, colour, marker, dashes in zip(moving, COLOURS, MARKERS, DASHES, strict=False):
            curve = curves[name]
            axes.fill_between(curve["step"], 100 * curve["low"], 100 * curve["high"], color=colour, alpha=0.15, lw=0)
            axes.plot(curve["step"], 100 * curve["accuracy"], color=colour, marker=marker, ms=2.8, lw=1.2, dashes=dashes, label=name,
                      clip_on=False)
            ends.append((curve["step"].iloc[-1], 100 * curve["accuracy"].iloc[-1], name, colour))
        last = max((end[0] for end in ends), default=1)
        for name, dashes in zip(level, LEVEL_DASHES, strict=False):
            value = 100 * curves[name]["accuracy"].iloc[-1]
            axes.axhline(value, color=style.QUIET, lw=0.9, dashes=dashes, label=name)
            ends.append((last, value, name, style.QUIET))
        axes.axhline(100 * chance, color=style.QUIET, lw=0.8, ls=":", label="chance")
        ends.append((last, 100 * chance, "chance", style.QUIET))
        axes.set(xlabel="Inner step", ylabel="Query accuracy (%)", xlim=(0, last))
        axes.xaxis.get_major_locator().set_params(integer=True)
        finish(figure, axes, title, [_about_steps(tables, bool(level))], marks)
        name_ends(axes, ends)
    return figure


def _about_steps(tables: Sequence[pd.DataFrame], level: bool) -> str:
    """What the curves are means of, and what their bands are."""
    tasks, seeds = (sorted({table[unit].nunique() for table in map(validate_steps, tables)}) for unit in ("task", "seed"))
    of = " x ".join(f"{' to '.join(map(str, dict.fromkeys((number[0], number[-1]))))} {unit}{'s' * (number[-1] > 1)}"
                    for number, unit in ((tasks, "task"), (seeds, "seed")))
    flat = " Horizontal lines: methods that make no inner steps." if level else ""
    return f"Mean over {of}; step 0: before adaptation. Bands: {STEP_INTERVAL}.{flat}"
