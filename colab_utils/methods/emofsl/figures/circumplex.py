"""Emotions in the plane of valence and arousal, joined by the level of each pair of them."""

import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Circle
from matplotlib.patheffects import withStroke
from scipy.spatial import distance

from colab_utils.display import style
from colab_utils.display.curves import spread
from colab_utils.display.style import COLOURS
from colab_utils.methods.emofsl.circumplex import COORDINATES
from colab_utils.methods.emofsl.emofsl import levels_and_margins
from colab_utils.methods.emofsl.settings import EmofslConfig

LEVELS = {
    "PN": {"color": COLOURS[1], "lw": 1.9, "ls": "-"},
    "MN": {"color": COLOURS[0], "lw": 0.8, "ls": (0, (4, 2))},
}
WORDS = {"PN": "PN: far", "MN": "MN: nearer"}
FEW_PAIRS, MANY_PAIRS = 6, 15  # up to so many: each line says its margin; one column is enough
_HALO = [withStroke(linewidth=2.2, foreground="white")]
_FAINT = "#d5d5d5"


def emotions_figure(config: EmofslConfig, emotions: Sequence[str]) -> style.SuiteFigure:
    """Emotions as points, valence to the right and arousal up (-1 to 1), each pair joined.

    A line has the style of the pair's level, and says its margin where there are few; else the
    caption does.

    Args:
        config: the settings; `margins`, `alpha`, `beta`, `valence` and `far` decide.
        emotions: their names, of `circumplex.COORDINATES`.

    Returns:
        The figure.

    Raises:
        SettingError: for an emotion without coordinates.

    Example:
        >>> emotions_figure(EmofslConfig(), ["anger", "happiness", "neutral", "sadness"])
    """
    levels, margins = levels_and_margins(config, emotions)
    places = pd.DataFrame([COORDINATES[emotion] for emotion in emotions], emotions)
    pairs = list(itertools.combinations(emotions, 2))
    told = [f"{' and '.join(pair)} {levels.loc[pair]}, {margins.loc[pair]:.2f}" for pair in pairs]
    numbers = f"Level and margin: {'; '.join(told)}."
    taken = list(places.to_numpy())
    below = [
        "Utterances of one emotion (PP) are pulled together.",
        f"Levels follow from distances that count valence {config.valence:g}, arousal 1, not from "
        "the length of a line.",
    ]
    with style.suite_style():
        many = len(pairs) > MANY_PAIRS
        size = (style.WIDE_COLUMN, 4.6) if many else (style.ONE_COLUMN, 3.3)
        figure = style.new_figure(*size)
        axes = figure.subplots()
        _plane(axes)
        for pair in pairs:
            ends = places.loc[list(pair)]
            look = LEVELS[levels.loc[pair]]
            (line,) = axes.plot(*ends.to_numpy().T, zorder=2, gid="-".join(pair), **look)
            if many:
                line.set_linewidth(0.5 * look["lw"])
            if len(pairs) <= FEW_PAIRS:
                others = [places.loc[list(other)] for other in pairs if other != pair]
                taken.append(_room_on(ends, others, taken))
                margin = f"{margins.loc[pair]:.2f}"
                _halo_text(axes, taken[-1], margin, style.SMALLEST, look["color"])
        _names(axes, places)
        for level, look in LEVELS.items():
            chosen = np.triu(levels == level)
            if chosen.any():
                axes.plot([], [], label=_about(level, margins.to_numpy()[chosen]), **look)
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), handlelength=3, borderpad=0)
        title = f"{', '.join(emotions)} ({config.margins} margins)"
        if len(pairs) > FEW_PAIRS:
            below.append(numbers)
        style.tell(figure, "emotions in the plane", title, sentences=below, numbers=numbers)
    return figure


def _plane(axes: Axes) -> None:
    """The axes through the middle, the circle, and what its sides mean."""
    axes.add_patch(Circle((0, 0), 1, fill=False, ec=_FAINT, lw=0.8, zorder=0))
    axes.axhline(0, color=_FAINT, lw=0.6, zorder=0)
    axes.axvline(0, color=_FAINT, lw=0.6, zorder=0)
    axes.set(
        xlim=(-1.25, 1.25),
        ylim=(-1.1, 1.1),
        aspect="equal",
        xlabel="Valence (unpleasant to pleasant)",
        ylabel="Arousal (calm to excited)",
        xticks=[-1, -0.5, 0, 0.5, 1],
        yticks=[-1, -0.5, 0, 0.5, 1],
    )


def _room_on(
    line: pd.DataFrame, others: Sequence[pd.DataFrame], taken: Sequence[np.ndarray]
) -> np.ndarray:
    """The place on a line that is farthest from the other lines and from what is there already."""
    along = np.linspace(0, 1, 41)[:, None]
    near = list(taken)
    for start, end in (other.to_numpy() for other in others):
        near.extend(start + along * (end - start))
    start, end = line.to_numpy()
    places = (start + along * (end - start))[10:-10]
    return places[distance.cdist(places, near).min(axis=1).argmax()]


def _halo_text(axes: Axes, at: Sequence[float], text: str, size: float, colour: str) -> None:
    """Text centred on a point, readable on lines."""
    axes.text(*at, text, fontsize=size, color=colour, ha="center", va="center", path_effects=_HALO)


def _names(axes: Axes, places: pd.DataFrame) -> None:
    """A point and a name for each emotion, outwards from the middle of all.

    Names are moved up or down where they would touch, and past other points.
    """
    places = places.set_axis(["x", "y"], axis=1)
    look = {"ms": 4.5, "color": style.INK, "mec": "white", "mew": 0.5}
    axes.plot(places["x"], places["y"], "o", gid="emotions", zorder=6, **look)
    # how high a name is on the axis
    high = 1.15 * 7.5 / 72 / (axes.figure.get_figheight() - 0.9) * np.ptp(axes.get_ylim())
    outwards = np.where(places["x"] >= places["x"].mean(), 1, -1)
    for sign, side in places.groupby(outwards):
        heights = spread(side["y"].to_list(), high, *axes.get_ylim())
        for emotion, y in zip(side.index, heights, strict=True):
            at = side.loc[emotion]
            near = side.loc[(side["y"] - y).abs() < 0.8 * high, "x"]
            outermost = sign * max([sign * at["x"], *(sign * near)])
            moved = abs(y - at["y"]) > 0.02 or abs(outermost - at["x"]) > 0.04
            axes.annotate(
                emotion,
                at,
                (outermost + 0.06 * sign, y),
                ha="left" if sign > 0 else "right",
                va="center",
                fontsize=7.5,
                fontweight="bold",
                path_effects=_HALO,
                annotation_clip=False,
                arrowprops={"arrowstyle": "-", "lw": 0.5, "color": style.INK} if moved else None,
            )


def _about(level: str, margins: np.ndarray) -> str:
    """A level in words for the legend: what it does, its margins, and how many pairs have it."""
    least, most = f"{margins.min():.2f}", f"{margins.max():.2f}"
    told = least if least == most else f"{least} to {most}"
    return f"{WORDS[level]}, at least {told} apart ({len(margins)} pair{'s' * (len(margins) > 1)})"
