"""What an episode is, to see and to hear, and what the methods of a study make of it.

The figures of runs take finished runs by name, or one of them, and say themselves what it was.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_hex

from colab_utils.corpora.audio import AudioError, load_audio
from colab_utils.display import captions, curves, style
from colab_utils.display.curves import COLOURS, DASHES, LEVEL_DASHES, MARKERS, finish, name_ends
from colab_utils.display.figures import confusion_matrix_figure
from colab_utils.display.hear import player_html
from colab_utils.display.speakers import per_speaker_figure, support_speakers_figure
from colab_utils.methods.maml.steps import accuracy_by_step, read_steps, validate_steps
from colab_utils.results.intervals import STEP_INTERVAL
from colab_utils.results.runs import Run
from colab_utils.results.support import support_speakers

PLAYED_SUPPORT = 12  # clips of the support with a player, shared out over the classes
PLAYED_QUERIES = 1  # and of the query, in each class
# A hue for each side, which no kind of colour blindness mixes up; a shade for each speaker.
SIDES = {"support": "Blues", "query": "Oranges"}
EPISODE_COLUMNS = ("task", "role", "utt_id", "speaker", "emotion", "corpus", "file")
_BOTH_SIDES, _UNKNOWN = "#b3261e", "#767676"
_LINE = "1px solid rgba(128,128,128,.35)"
_CELL = "padding:.5em .7em;text-align:left;vertical-align:top;background:none"
_CARDS = "display:flex;flex-wrap:wrap;gap:.45em;align-items:flex-start"
_CHIP = "border-radius:.8em;padding:.05em .6em;font-weight:600;white-space:nowrap"


# --- one episode ----------------------------------------------------------------------------------


def episode_rows(
    split: pd.DataFrame, manifest: pd.DataFrame, task: int = 0, seed: int | None = None
) -> pd.DataFrame:
    """The support and query of one task: a split table joined with its manifest.

    Args:
        split: with roles support and query.
        manifest: the rows that it was made from (local column `file`).
        task: which one.
        seed: needed where the split holds the task under several.

    Returns:
        EPISODE_COLUMNS, a row a clip.

    Raises:
        ValueError: a task that is not there, utterances that are not in the manifest.
    """
    episodes = split[split["role"].isin(list(SIDES))]
    rows = episodes[episodes["task"] == task]
    rows = rows if seed is None else rows[rows["seed"] == seed]
    if rows.empty:
        there = episodes["task"]
        held = f"tasks {there.min()} to {there.max()}" if len(there) else "no episodes"
        of = "" if seed is None else f" of seed {seed}"
        raise ValueError(f"no task {task}{of}: the split holds {held}")
    if rows["seed"].nunique() > 1:
        seeds = ", ".join(map(str, sorted(rows["seed"].unique())))
        raise ValueError(f"task {task} is there for the seeds {seeds}: choose one")
    known = manifest.set_index("utt_id")
    lacking = rows.loc[~rows["utt_id"].isin(known.index), "utt_id"]
    if len(lacking):
        raise ValueError(
            f"{lacking.iloc[0]} (and {len(lacking) - 1} more) is in the split but not "
            "in the manifest: pass the run's own manifest"
        )
    rows = rows.copy()
    for name in ("emotion", "corpus", "file"):
        rows[name] = rows["utt_id"].map(known[name])
    return rows[list(EPISODE_COLUMNS)]


def show_episode(rows: pd.DataFrame, labels: Sequence[str] | None = None) -> Any:
    """A picture of one episode: a row for each class, its support clips on the left, its query
    clips on the right, each under its speaker.

    Support speakers are blue, query speakers orange, each in a shade of their own; one who stands
    on both sides is red. PLAYED_SUPPORT clips of the support and PLAYED_QUERIES of each class in
    the query have a player; the others are named.

    Args:
        rows: EPISODE_COLUMNS of one task (`episode_rows`).
        labels: the order of the classes (default: as in the support).

    Returns:
        A widget (an HTML object without ipywidgets).

    Raises:
        ValueError: rows of several tasks, without a side, or of an emotion not in `labels`.
    """
    page = episode_html(rows, labels)
    try:
        import ipywidgets
    except ImportError:
        from IPython.display import HTML

        return HTML(page)
    # Not an Output: a headless run waits for ever on one that holds a megabyte of audio.
    return ipywidgets.HTML(page)


def episode_html(rows: pd.DataFrame, labels: Sequence[str] | None = None) -> str:
    """The page of `show_episode`."""
    classes = _checked(rows, labels)
    chips = speaker_chips(rows)
    players = {"support": max(1, PLAYED_SUPPORT // len(classes)), "query": PLAYED_QUERIES}
    if (rows["role"] == "support").sum() <= PLAYED_SUPPORT:
        players["support"] = PLAYED_SUPPORT
    body = "".join(_class_row(rows, emotion, chips, players) for emotion in classes)
    heads = f'<th scope="col" style="{_CELL}">class</th>' + "".join(_heads(rows))
    return (
        f'<div style="line-height:1.35">{_sentence(rows, classes)}'
        '<table style="border-collapse:collapse;width:100%">'
        f"<thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _checked(rows: pd.DataFrame, labels: Sequence[str] | None) -> list[str]:
    """The classes in their order. Raises ValueError for rows that are no episode."""
    lacking = [name for name in EPISODE_COLUMNS if name not in rows.columns]
    if lacking:
        raise ValueError(
            f"the episode lacks the column(s) {', '.join(lacking)}: make it with "
            "episode_rows(split, manifest, task)"
        )
    if rows["task"].nunique() != 1 or set(rows["role"]) != set(SIDES):
        there = " and ".join(sorted(set(rows["role"]))) or "no rows"
        raise ValueError(
            "one task with support and query is needed, and there are "
            f"{rows['task'].nunique()} task(s) with {there}: choose one with "
            "episode_rows(split, manifest, task)"
        )
    support_first = rows.sort_values("role", key=lambda role: role != "support", kind="stable")
    there = list(dict.fromkeys(support_first["emotion"]))
    if labels is None:
        return there
    unknown = [emotion for emotion in there if emotion not in labels]
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
    sides = {}
    for side in SIDES:
        sides[side] = list(dict.fromkeys(rows.loc[rows["role"] == side, "speaker"]))
    both = set(sides["support"]) & set(sides["query"])
    found = {}
    for side, there in sides.items():
        shades = matplotlib.colormaps[SIDES[side]](np.linspace(0.85, 0.3, len(there)))
        for speaker, shade in zip(there, shades, strict=True):
            colour = _BOTH_SIDES if speaker in both else to_hex(shade)
            if not speaker:
                colour = _UNKNOWN
            name = speaker.rpartition("/")[2] if one_corpus else speaker
            found[speaker, side] = name or "unknown", colour
    return found


def _class_row(rows: pd.DataFrame, emotion: str, chips: Mapping, players: Mapping) -> str:
    """One class: its clips on both sides, the first of them with a player."""
    cells = []
    for side in SIDES:
        mine = rows[(rows["role"] == side) & (rows["emotion"] == emotion)]
        cards = []
        for number, clip in enumerate(mine.itertuples()):
            cards.append(_card(clip, chips[clip.speaker, side], number < players[side]))
        cells.append(
            f'<td style="{_CELL};border-left:{_LINE}"><div style="{_CARDS}">'
            f"{''.join(cards)}</div></td>"
        )
    return (
        f'<tr style="border-top:{_LINE};background:none"><th scope="row" style="{_CELL}">'
        f"{html.escape(emotion)}</th>{''.join(cells)}</tr>"
    )


def _card(clip: Any, chip: tuple[str, str], play: bool) -> str:
    """One clip: its speaker as a coloured chip, its name, and a player where `play`."""
    name, colour = chip
    label = f"{clip.emotion}, {clip.role}, speaker {name}"
    sound = ""
    if play:
        try:
            player = player_html(load_audio(clip.file), 16000, label)
            sound = f'<div style="width:12.5em;margin-top:.25em">{player}</div>'
        except AudioError as error:
            sound = f"<br><small>cannot be played: {html.escape(error.reason)}</small>"
    head = (
        f'<span style="background:{colour};color:{style.ink_on(colour)};{_CHIP}">'
        f"{html.escape(name)}</span>"
    )
    short = html.escape(clip.utt_id.partition("/")[2] or clip.utt_id)
    return (
        f'<div style="border:{_LINE};border-left:.3em solid {colour};border-radius:.3em;'
        f'padding:.25em .45em" title="{html.escape(clip.utt_id)}">{head} '
        f'<small style="opacity:.75">{short}</small>{sound}</div>'
    )


def _heads(rows: pd.DataFrame) -> list[str]:
    """The heads of the two columns, underlined in their side's hue: what for, and who."""
    heads = []
    for side, what in (("support", "to learn from, with labels"), ("query", "to recognise")):
        hue = to_hex(matplotlib.colormaps[SIDES[side]](0.7))
        mine = rows[rows["role"] == side]
        number = mine.loc[mine["speaker"] != "", "speaker"].nunique()
        who = f"{number} speaker{'s' * (number != 1)}" if number else "speakers unknown"
        heads.append(
            f'<th scope="col" style="{_CELL};width:44%;border-bottom:.25em solid {hue}">'
            f'{side.capitalize()} <span style="font-weight:normal">{what}: {len(mine)} '
            f"clips, {who}</span></th>"
        )
    return heads


def _sentence(rows: pd.DataFrame, classes: Sequence[str]) -> str:
    """What the episode is, and whether any speaker is on both sides, above the picture."""
    support, query = rows[rows["role"] == "support"], rows[rows["role"] == "query"]
    both = sorted(set(support["speaker"]) & set(query["speaker"]) - {""})
    unknown = (rows["speaker"] == "").any()
    if unknown:
        people = "Speakers unknown: the same person may be on both sides."
    else:
        people = f"On both sides: {', '.join(both)}." if both else "Nobody is on both sides."
    warned = f"color:{style.WARN};background:#fff4ec;padding:0 .3em" if both or unknown else ""
    stamp = ""
    if rows["corpus"].str.startswith("synthetic").any():
        stamp = " <b>Synthetic corpus: not human speech.</b>"
    return (
        f'<p style="margin:.3em 0"><b>Task {rows["task"].iloc[0]}: {len(classes)}-way, '
        f"{_each(support)}-shot</b>, {_each(query)} queries a class. "
        f'<span style="{warned}">{html.escape(people)}</span>{stamp}</p>'
    )


def _each(side: pd.DataFrame) -> str:
    """How many clips each class has: "5", or "4 to 5"."""
    sizes = side.groupby("emotion").size()
    least, most = sizes.min(), sizes.max()
    return f"{least}" if least == most else f"{least} to {most}"


# --- runs -----------------------------------------------------------------------------------------


def methods_figure(runs: Mapping[str, Run]) -> style.SuiteFigure:
    """UAR of every method with its interval; what is meta-trained stands out."""
    rows, meta_trained = [], []
    for name, run in runs.items():
        metrics = run.metrics
        low, high = metrics["uar_ci95"] or (np.nan, np.nan)
        rows.append({"method": name, "uar": metrics["uar"], "low": low, "high": high})
        if run.config["kind"] == "maml":
            meta_trained.append(name)
    first = next(iter(runs.values()))
    return curves.methods_figure(
        pd.DataFrame(rows),
        first.metrics["chance"],
        _title_of(first),
        highlight=meta_trained,
        marks=_stamps(runs),
    )


def steps_figure(runs: Mapping[str, Run]) -> style.SuiteFigure:
    """Accuracy of every method after each inner step; guessing is the line of chance."""
    shown = {name: run for name, run in runs.items() if run.config["kind"] != "chance"}
    steps = {name: read_steps(run.path / "steps.csv") for name, run in shown.items()}
    first = next(iter(runs.values()))
    return accuracy_by_step_figure(
        steps, first.metrics["chance"], _title_of(first), marks=_stamps(shown)
    )


def matrix_figure(run: Run, more: str = "") -> style.SuiteFigure:
    """The confusion matrix of one method; `more` ends its title."""
    title = f"{run.config['model']}, {_ways_and_shots(run)}{more}"
    return confusion_matrix_figure(run.predictions, run.metrics, title=title)


def support_figure(run: Run) -> style.SuiteFigure:
    """How well episodes went with and without each speaker among the labelled examples."""
    predictions = run.predictions
    table = support_speakers(run.split, predictions)
    return support_speakers_figure(
        table, title=run.config["model"], marks=captions.stamps(predictions, run.metrics)
    )


def speakers_figure(run: Run) -> style.SuiteFigure:
    """How well each speaker was recognised."""
    return per_speaker_figure(run.predictions, run.metrics, title=run.config["model"])


def _title_of(run: Run) -> str:
    """Task, ways and shots."""
    return f"{run.config['task']}, {_ways_and_shots(run)}"


def _ways_and_shots(run: Run) -> str:
    return f"{run.config['test']['ways']}-way {run.config['test']['shots']}-shot"


def _stamps(runs: Mapping[str, Run]) -> list[str]:
    """What a reader of these runs must not miss."""
    return captions.stamps_of_all(
        {name: (run.predictions, run.metrics) for name, run in runs.items()}
    )


# --- accuracy by step -----------------------------------------------------------------------------


def accuracy_by_step_figure(
    steps: Mapping[str, pd.DataFrame], chance: float, title: str = "", marks: Sequence[str] = ()
) -> style.SuiteFigure:
    """Mean query accuracy after each inner step: a line with its interval band for each method,
    named at its end.

    Args:
        steps: a table of `steps` for each method, by the name to show; methods with one step only
            make no inner steps and are drawn as horizontal lines.
        chance: a fraction.
        title: above the figure.
        marks: stamps of the runs (`captions.stamps`).

    Raises:
        ValueError: no methods, or more than there are colours.
        StepsError: a table that cannot be used.
    """
    means = {name: accuracy_by_step(table) for name, table in steps.items()}
    moving = [name for name, mean in means.items() if len(mean) > 1]
    level = [name for name, mean in means.items() if len(mean) == 1]
    if not means:
        raise ValueError(
            "no methods: there is nothing to draw; pass the steps of one method at least"
        )
    if len(moving) > len(COLOURS) or len(level) > len(LEVEL_DASHES):
        raise ValueError(
            f"{len(moving)} methods with inner steps and {len(level)} without: at "
            f"most {len(COLOURS)} of each can be told apart"
        )
    with style.suite_style():
        figure = style.new_figure(style.WIDE_COLUMN, 2.7)
        axes = figure.subplots()
        ends = [_draw_moving(axes, name, means[name], number) for number, name in enumerate(moving)]
        last = max((end[0] for end in ends), default=1)
        for name, dashes in zip(level, LEVEL_DASHES, strict=False):
            value = 100 * means[name]["accuracy"].iloc[-1]
            axes.axhline(value, color=style.QUIET, lw=0.9, dashes=dashes, label=name)
            ends.append((last, value, name, style.QUIET))
        axes.axhline(100 * chance, color=style.QUIET, lw=0.8, ls=":", label="chance")
        ends.append((last, 100 * chance, "chance", style.QUIET))
        axes.set(xlabel="Inner step", ylabel="Query accuracy (%)", xlim=(0, last))
        axes.xaxis.get_major_locator().set_params(integer=True)
        finish(figure, axes, title, [_about_steps(list(steps.values()), bool(level))], marks)
        name_ends(axes, ends)
    return figure


def _draw_moving(
    axes: Axes, name: str, mean: pd.DataFrame, number: int
) -> tuple[float, float, str, str]:
    """One method that makes inner steps; where its line ends, its name and its colour."""
    colour, step, value = COLOURS[number], mean["step"], 100 * mean["accuracy"]
    axes.fill_between(step, 100 * mean["low"], 100 * mean["high"], color=colour, alpha=0.15, lw=0)
    axes.plot(
        step,
        value,
        color=colour,
        marker=MARKERS[number],
        ms=2.8,
        lw=1.2,
        dashes=DASHES[number],
        label=name,
        clip_on=False,
    )
    return step.iloc[-1], value.iloc[-1], name, colour


def _about_steps(tables: Sequence[pd.DataFrame], level: bool) -> str:
    """What the curves are means of, and what their bands are."""
    counts = []
    for unit in ("task", "seed"):
        numbers = sorted({validate_steps(table)[unit].nunique() for table in tables})
        least, most = numbers[0], numbers[-1]
        number = f"{least}" if least == most else f"{least} to {most}"
        counts.append(f"{number} {unit}{'s' * (most > 1)}")
    flat = " Horizontal lines: methods that make no inner steps." if level else ""
    return (
        f"Mean over {' x '.join(counts)}; step 0: before adaptation. Bands: {STEP_INTERVAL}.{flat}"
    )
