"""Accuracy of methods after each inner step."""

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes

from colab_utils.display import style
from colab_utils.display.curves import name_ends
from colab_utils.display.style import COLOURS, DASHES, LEVEL_DASHES, MARKERS
from colab_utils.methods.maml.steps import accuracy_by_step
from colab_utils.results.intervals import STEP_INTERVAL


def accuracy_by_step_figure(
    steps: Mapping[str, pd.DataFrame], chance: float, title: str = "", marks: Sequence[str] = ()
) -> style.SuiteFigure:
    """Mean query accuracy after each inner step: a line with a band a method, named at its end.

    A method that is much worse before its first step than all are after it begins below the axis.

    Args:
        steps: a table of `steps` for each method of one test, by the name to show; methods with one
            step only make no inner steps and are drawn as horizontal lines.
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
        below = [_caption(steps, bool(level)), *_from_below(axes, means)]
        below += style.guess_level(axes, chance)
        axes.set(xlabel="Inner step", ylabel="Query accuracy (%)", xlim=(0, last))
        axes.xaxis.get_major_locator().set_params(integer=True)
        name_ends(axes, ends)
        told = []
        for name, mean in means.items():
            rates = 100 * mean["accuracy"]
            told.append(f"{name} {rates.iloc[0]:.1f} to {rates.iloc[-1]:.1f}")
        style.tell(
            figure,
            "accuracy by inner step",
            title,
            sentences=below,
            stamps=marks,
            numbers=f"In %, first to last step: {'; '.join(told)}.",
        )
    return figure


def _from_below(axes: Axes, means: Mapping[str, pd.DataFrame]) -> list[str]:
    """Cut the axis where beginnings would take three quarters of it; gives them in words."""
    rates = {name: 100 * mean["accuracy"] for name, mean in means.items()}
    later = pd.concat([rate.tail(max(1, len(rate) - 1)) for rate in rates.values()])
    low = later.min()
    room = max(1, later.max() - low)
    deep = {}
    for name, rate in rates.items():
        if rate.iloc[0] < low - 3 * room:
            deep[name] = rate.iloc[0]
    if not deep:
        return []
    low -= 0.15 * room
    axes.set_ylim(low, axes.get_ylim()[1])
    axes.dataLim.y0 = low  # what is drawn from here on is laid out by what is seen
    for one in axes.lines:
        one.set_clip_on(one.get_label() in deep)
    told = [f"{name} at {begin:.1f}\u00a0%" for name, begin in deep.items()]
    return [f"Below the axis, before adaptation: {', '.join(told)}."]


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


def _caption(steps: Mapping[str, pd.DataFrame], level: bool) -> str:
    """What the curves are means of, and what their bands are."""
    counts = {}
    for name, table in steps.items():
        counts.setdefault(_count_of(table), []).append(name)
    told = list(counts)
    if len(counts) > 1:
        told = [f"{count} ({', '.join(names)})" for count, names in counts.items()]
    flat = " Horizontal lines: methods that make no inner steps." if level else ""
    return f"Mean over {'; '.join(told)}; step 0: before adaptation. Bands: {STEP_INTERVAL}.{flat}"


def _count_of(table: pd.DataFrame) -> str:
    """How many tasks and seeds a curve is the mean of."""
    counts = []
    for unit in ("task", "seed"):
        number = table[unit].nunique()
        counts.append(f"1 {unit}" if number == 1 else f"{number} {unit}s")
    return " x ".join(counts)
