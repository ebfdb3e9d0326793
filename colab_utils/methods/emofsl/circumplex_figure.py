"""Emotions in the plane of valence and arousal, joined by the level of each pair of them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Circle
from matplotlib.patheffects import withStroke

from colab_utils.display import style
from colab_utils.display.curves import COLOURS, finish, spread
from colab_utils.methods.emofsl.circumplex import COORDINATES
from colab_utils.methods.emofsl.emofsl import levels_and_margins
from colab_utils.methods.emofsl.settings import EmofslConfig

LEVELS = {
    "PN": {"color": COLOURS[1], "lw": 1.9, "ls": "-"},
    "MN": {"color": COLOURS[0], "lw": 0.8, "ls": (0, (4, 2))},
}
WORDS = {"PN": "PN: far", "MN": "MN: nearer"}
FEW_PAIRS = 15  # up to so many lines each says its own margin
Margins = Mapping[str, float] | pd.DataFrame | None
_HALO = [withStroke(linewidth=2.2, foreground="white")]
_FAINT = "#d5d5d5"


def emotions_figure(config: EmofslConfig, emotions: Sequence[str]) -> style.SuiteFigure:
    """Where these emotions lie in the table of the circumplex, with the config's margins."""
    levels, margins = levels_and_margins(config, emotions)
    places = {emotion: COORDINATES[emotion] for emotion in emotions}
    return circumplex_figure(places, levels, margins, weights=(config.valence, 1.0, 0.0))


def circumplex_figure(
    coordinates: pd.DataFrame | Mapping[str, Sequence[float]],
    levels: pd.DataFrame | np.ndarray,
    margins: Margins = None,
    title: str = "",
    weights: Sequence[float] | None = None,
    marks: Sequence[str] = (),
) -> style.SuiteFigure:
    """Emotions as points, valence to the right and arousal up (-1 to 1), each pair joined.

    A line has the style of the pair's level.

    Args:
        coordinates: valence, arousal (and dominance, which is not drawn) of each emotion: a table
            with these columns and the emotions as index, or {emotion: (valence, arousal, ...)}.
        levels: "PP", "PN" or "MN" for each pair, symmetric; a table with the emotions as index and
            columns (these alone are drawn), or an array in the order of `coordinates`.
        margins: of each level ({"PN": 1.0, "MN": 0.6}), told in the legend, or of each pair (a
            table like `levels`), told on the lines where there are up to FEW_PAIRS.
        title: above the figure.
        weights: what valence, arousal and dominance count in the distance behind the levels, told
            in the caption.
        marks: what must not be missed.

    Raises:
        ValueError: fewer than two emotions, one without a place, and unknown levels.
    """
    places, levels = _checked(coordinates, levels)
    with style.suite_style():
        many = len(levels) * (len(levels) - 1) // 2 > FEW_PAIRS
        size = (style.WIDE_COLUMN, 4.6) if many else (style.ONE_COLUMN, 3.3)
        figure = style.new_figure(*size)
        axes = figure.subplots()
        _plane(axes)
        counts, thin = dict.fromkeys(LEVELS, 0), 0.5 if many else 1
        for one, other in itertools.combinations(levels.index, 2):
            level = levels.loc[one, other]
            counts[level] += 1
            look = LEVELS[level]
            ends = places.loc[[one, other]]
            axes.plot(
                *ends.to_numpy().T,
                color=look["color"],
                lw=thin * look["lw"],
                ls=look["ls"],
                zorder=2,
                gid=f"{one}-{other}",
            )
            if isinstance(margins, pd.DataFrame) and not many:
                axes.text(
                    *ends.mean(),
                    f"{margins.loc[one, other]:.2f}",
                    fontsize=5.8,
                    color=look["color"],
                    ha="center",
                    va="center",
                    path_effects=_HALO,
                    zorder=3,
                )
        _names(axes, places)
        for level, number in counts.items():
            if number:
                axes.plot([], [], **LEVELS[level], label=_about(level, number, levels, margins))
        axes.legend(
            loc="lower center", bbox_to_anchor=(0.5, 1), frameon=False, handlelength=3, borderpad=0
        )
        finish(figure, axes, title, _below(weights), marks)
    return figure


def _checked(
    coordinates: pd.DataFrame | Mapping[str, Sequence[float]], levels: pd.DataFrame | np.ndarray
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Valence and arousal of the emotions to draw, and the levels, as tables in one order.

    Raises ValueError.
    """
    if isinstance(coordinates, pd.DataFrame):
        places = coordinates[["valence", "arousal"]].astype(float)
    else:
        columns = {}
        for axis, name in enumerate(("valence", "arousal")):
            columns[name] = [float(at[axis]) for at in coordinates.values()]
        places = pd.DataFrame(columns, index=list(coordinates))
    if not isinstance(levels, pd.DataFrame):
        if np.shape(levels) != (len(places),) * 2:
            raise ValueError(
                f"levels have shape {np.shape(levels)} and there are {len(places)} "
                "emotions: pass a table that names the emotions by row and column"
            )
        levels = pd.DataFrame(levels, places.index, places.index)
    if len(levels) < 2 or list(levels.index) != list(levels.columns):
        raise ValueError(
            f"levels of {', '.join(map(str, levels.index)) or 'no emotion'}: two "
            "emotions or more are needed, the same by row and column"
        )
    for emotion in levels.index:
        if emotion not in places.index or places.loc[emotion].isna().any():
            raise ValueError(
                f"{emotion} has no valence and arousal: give its place in "
                "coordinates, or leave it out of the levels"
            )
    values = levels.to_numpy()
    wrong = {*values[~np.eye(len(levels), dtype=bool)]} - set(LEVELS)
    if wrong or (values != values.T).any():
        told = sorted(map(str, wrong)) or "another value above the diagonal than below"
        raise ValueError(
            f"levels hold {told}: each pair is one of {', '.join(LEVELS)}, whichever comes first"
        )
    return places.loc[levels.index], levels


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


def _names(axes: Axes, places: pd.DataFrame) -> None:
    """A point and a name for each emotion, outwards from the middle of all.

    Names are moved up or down where they would touch, and past other points.
    """
    right = places["valence"] >= places["valence"].mean()
    room = axes.figure.get_figheight() - 0.9
    high = 1.15 * 7.5 / 72 / room * np.ptp(axes.get_ylim())
    for side, sign in ((places[~right], -1), (places[right], 1)):
        heights = spread(side["arousal"].to_list(), high, *axes.get_ylim())
        for (emotion, at), y in zip(side.iterrows(), heights, strict=True):
            near = side.loc[(side["arousal"] - y).abs() < 0.8 * high, "valence"]
            beside = (sign * near).max() if len(near) else -2
            x = sign * max(beside, sign * at["valence"]) + 0.06 * sign
            leader = {
                "arrowstyle": "-",
                "lw": 0.5,
                "color": style.INK,
                "shrinkA": 0,
                "shrinkB": 2,
                "relpos": ((1 - sign) / 2, 0.5),
            }
            moved = abs(y - at["arousal"]) > 0.02 or abs(x - at["valence"]) > 0.1
            axes.annotate(
                emotion,
                at,
                (x, y),
                ha="left" if sign > 0 else "right",
                va="center",
                fontsize=7.5,
                fontweight="bold",
                path_effects=_HALO,
                zorder=5,
                annotation_clip=False,
                arrowprops=leader if moved else None,
            )
    axes.plot(
        places["valence"],
        places["arousal"],
        "o",
        ms=4.5,
        color=style.INK,
        mec="white",
        mew=0.5,
        ls="none",
        zorder=6,
        gid="emotions",
    )


def _about(level: str, number: int, levels: pd.DataFrame, margins: Margins) -> str:
    """A level in words for the legend: what it does, its margin, and how many pairs have it."""
    told = ""
    if isinstance(margins, pd.DataFrame):
        table = margins.loc[levels.index, levels.columns].to_numpy()
        chosen = table[(levels == level).to_numpy()]
        ends = [f"{chosen.min():.2f}", f"{chosen.max():.2f}"]
        told = f", at least {' to '.join(dict.fromkeys(ends))} apart"
    elif margins is not None:
        told = f", at least {margins[level]:g} apart"
    return f"{WORDS[level]}{told} ({number} pair{'s' * (number != 1)})"


def _below(weights: Sequence[float] | None) -> list[str]:
    """Why a long line may be a near pair: the distance behind the levels is not what is seen."""
    lines = ["Utterances of one emotion (PP) are pulled together."]
    if weights is not None:
        axes = ("valence", "arousal", "dominance")
        names = [
            f"{name} {weight:g}" for name, weight in zip(axes, weights, strict=False) if weight
        ]
        lines.append(
            f"Levels follow from distances that count {', '.join(names)}, not from the "
            "length of a line."
        )
    return lines
