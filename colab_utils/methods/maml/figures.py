"""What the methods of a study make of its episodes.

The figures take finished runs by name, or one of them, and say themselves what it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from colab_utils.display import captions, curves, style
from colab_utils.display.curves import COLOURS, DASHES, LEVEL_DASHES, MARKERS, finish, name_ends
from colab_utils.display.figures import confusion_matrix_figure
from colab_utils.display.speakers import per_speaker_figure, support_speakers_figure
from colab_utils.methods.maml.steps import accuracy_by_step, read_steps
from colab_utils.results.intervals import STEP_INTERVAL
from colab_utils.results.runs import Run
from colab_utils.results.support import support_speakers


def methods_figure(runs: Mapping[str, Run]) -> style.SuiteFigure:
    """UAR of every method with its interval; what is meta-trained stands out.

    Args:
        runs: finished runs of the same episodes by name (`MamlStudy.compare`).

    Returns:
        A figure that a notebook shows and `save_figure` saves.
    """
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
    """Accuracy of every method after each inner step; guessing is the line of chance.

    Args:
        runs: finished runs of the same episodes by name (`MamlStudy.compare`).

    Returns:
        A figure with a line for each method, and a band: the interval over tasks and seeds.
    """
    shown = {name: run for name, run in runs.items() if run.config["kind"] != "chance"}
    steps = {name: read_steps(run.path / "steps.csv") for name, run in shown.items()}
    first = next(iter(runs.values()))
    return accuracy_by_step_figure(
        steps, first.metrics["chance"], _title_of(first), marks=_stamps(shown)
    )


def matrix_figure(run: Run, more: str = "") -> style.SuiteFigure:
    """The confusion matrix of one method.

    Args:
        run: finished.
        more: what ends the title.

    Returns:
        A figure: rates in per cent and counts, rows are the true emotions.
    """
    title = f"{run.config['model']}, {_ways_and_shots(run)}{more}"
    return confusion_matrix_figure(run.predictions, run.metrics, title=title)


def support_figure(run: Run) -> style.SuiteFigure:
    """How well episodes went with and without each speaker among the labelled examples.

    Args:
        run: finished.

    Returns:
        A figure with a row a speaker: both accuracies, and their difference with its interval.
    """
    predictions = run.predictions
    table = support_speakers(run.split, predictions)
    return support_speakers_figure(
        table, title=run.config["model"], marks=captions.stamps(predictions, run.metrics)
    )


def speakers_figure(run: Run) -> style.SuiteFigure:
    """How well each speaker was recognised.

    Args:
        run: finished.

    Returns:
        A figure with a row a speaker: UAR over their queries.
    """
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
    """Mean query accuracy after each inner step: a line with a band a method, named at its end.

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
    last = max(len(mean) for mean in means.values()) - 1 or 1
    with style.suite_style():
        figure = style.new_figure(style.WIDE_COLUMN, 2.7)
        axes = figure.subplots()
        ends = [_moving(axes, name, means[name], number) for number, name in enumerate(moving)]
        for name, dashes in zip(level, LEVEL_DASHES, strict=False):
            value = 100 * means[name]["accuracy"].iloc[-1]
            axes.axhline(value, color=style.QUIET, lw=0.9, dashes=dashes, label=name)
            ends.append((last, value, name, style.QUIET))
        axes.axhline(100 * chance, color=style.QUIET, lw=0.8, ls=":", label="chance")
        ends.append((last, 100 * chance, "chance", style.QUIET))
        axes.set(xlabel="Inner step", ylabel="Query accuracy (%)", xlim=(0, last))
        axes.xaxis.get_major_locator().set_params(integer=True)
        finish(figure, axes, title, [_caption(list(steps.values()), bool(level))], marks)
        name_ends(axes, ends)
    return figure


def _moving(
    axes: Axes, name: str, mean: pd.DataFrame, number: int
) -> tuple[float, float, str, str]:
    """Draw one method that makes inner steps; where its line ends, its name and its colour."""
    colour = COLOURS[number]
    step, value = mean["step"], 100 * mean["accuracy"]
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


def _caption(tables: Sequence[pd.DataFrame], level: bool) -> str:
    """What the curves are means of, and what their bands are."""
    counts = []
    for unit in ("task", "seed"):
        numbers = [table[unit].nunique() for table in tables]
        least, most = min(numbers), max(numbers)
        number = str(least) if least == most else f"{least} to {most}"
        counts.append(f"{number} {unit}" if most == 1 else f"{number} {unit}s")
    flat = " Horizontal lines: methods that make no inner steps." if level else ""
    return (
        f"Mean over {' x '.join(counts)}; step 0: before adaptation. Bands: {STEP_INTERVAL}.{flat}"
    )
