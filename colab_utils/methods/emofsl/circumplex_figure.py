"""Emotions in the plane of valence and arousal, joined by the level that a loss gives each pair of them."""
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

LEVELS = {"PN": {"color": COLOURS[1], "lw": 1.9, "ls": "-"}, "MN": {"color": COLOURS[0], "lw": 0.8, "ls": (0, (4, 2))}}
WORDS = {"PN": "PN: far", "MN": "MN: nearer"}
FEW_PAIRS = 15                      # up to so many lines each says its own margin
_HALO = [withStroke(linewidth=2.2, foreground="white")]


def circumplex_figure(coordinates: pd.DataFrame | Mapping[str, Sequence[float]], levels: pd.DataFrame | np.ndarray,
                      margins: Mapping[str, float] | pd.DataFrame | None = None, title: str = "", weights: Sequence[float] | None = None,
                      marks: Sequence[str] = ()) -> style.SuiteFigure:
    """Emotions as points, valence to the right and arousal up (-1 to 1), each pair of them joined by a line in the style of its level.

    coordinates: valence, arousal (and dominance, which is not drawn) of each emotion: a table with these columns and the emotions as index, or
    {emotion: (valence, arousal, ...)}. levels: "PP", "PN" or "MN" for each pair, symmetric; a table with the emotions as index and columns
    (these alone are drawn), or an array in the order of `coordinates`. margins: of each level ({"PN": 1.0, "MN": 0.6}), told in the legend, or
    of each pair (a table like `levels`), told on the lines where there are up to FEW_PAIRS. weights: what valence, arousal and dominance count in the
    distance behind the levels, told in the caption. Raises ValueError for fewer than two emotions, for one without a place, and unknown levels.
    """
    places, levels = _checked(coordinates, levels)
    with style.suite_style():
        many = len(levels) * (len(levels) - 1) // 2 > FEW_PAIRS
        figure = style.new_figure(*((style.WIDE_COLUMN, 4.6) if many else (style.ONE_COLUMN, 3.3)))
        axes = figure.subplots()
        _plane(axes)
        counts, thin = dict.fromkeys(LEVELS, 0), 0.5 if many else 1
        for one, other in itertools.combinations(levels.index, 2):
            level = levels.loc[one, other]
            counts[level] += 1
            axes.plot(*places.loc[[one, other]].to_numpy().T, **LEVELS[level] | {"lw": thin * LEVELS[level]["lw"]}, zorder=2,
                      gid=f"{one}-{other}")
            if isinstance(margins, pd.DataFrame) and not many:
                middle = places.loc[[one, other]].mean()
                axes.text(*middle, f"{margins.loc[one, other]:.2f}", fontsize=5.8, color=LEVELS[level]["color"], ha="center", va="center",
                          path_effects=_HALO, zorder=3)
        _names(axes, places)
        for level, number in counts.items():
            if number:
                axes.plot([], [], **LEVELS[level], label=_about(level, number, levels, margins))
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), frameon=False, handlelength=3, borderpad=0)
        finish(figure, axes, title, _below(weights, counts), marks)
    return figure


def _checked(coordinates: pd.DataFrame | Mapping[str, Sequence[float]], levels: pd.DataFrame | np.ndarray) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Valence and arousal of the emotions to draw, and the levels, as tables in one order. Raises ValueError."""
    if isinstance(coordinates, pd.DataFrame):
        places = coordinates[["valence", "arousal"]].astype(float)
    else:
        places = pd.DataFrame({name: [float(at[axis]) for at in coordinates.values()] for axis, name in enumerate(("valence", "arousal"))},
                              index=list(coordinates))
    if not isinstance(levels, pd.DataFrame):
        if np.shape(levels) != (len(places),) * 2:
            raise ValueError(f"levels have shape {np.shape(levels)} and there are {len(places)} emotions: pass a table that names the emotions "
                             "by row and column")
        levels = pd.DataFrame(levels, places.index, places.index)
    if len(levels) < 2 or list(levels.index) != list(levels.columns):
        raise ValueError(f"levels of {', '.join(map(str, levels.index)) or 'no emotion'}: two emotions or more are needed, the same by row "
                         "and column")
    lacking = [emotion for emotion in levels.index if emotion not in places.index or places.loc[emotion].isna().any()]
    if lacking:
        raise ValueError(f"{lacking[0]} has no valence and arousal: give its place in coordinates, or leave it out of the levels")
    values = levels.to_numpy()
    wrong = {*values[~np.eye(len(levels), dtype=bool)]} - set(LEVELS)
    if wrong or (values != values.T).any():
        raise ValueError(f"levels hold {sorted(map(str, wrong)) or 'another value above the diagonal than below'}: each pair is one of "
                         f"{', '.join(LEVELS)}, whichever comes first")
    return places.loc[levels.index], levels


def _plane(axes: Axes) -> None:
    """The axes through the middle, the circle, and what its sides mean."""
    axes.add_patch(Circle((0, 0), 1, fill=False, ec="#d5d5d5", lw=0.8, zorder=0))
    axes.axhline(0, color="#d5d5d5", lw=0.6, zorder=0)
    axes.axvline(0, color="#d5d5d5", lw=0.6, zorder=0)
    axes.set(xlim=(-1.25, 1.25), ylim=(-1.1, 1.1), aspect="equal", xlabel="Valence (unpleasant to pleasant)", ylabel="Arousal (calm to excited)",
             xticks=[-1, -0.5, 0, 0.5, 1], yticks=[-1, -0.5, 0, 0.5, 1])


def _names(axes: Axes, places: pd.DataFrame) -> None:
    """A point and a name for each emotion: outwards from the middle of all, moved up or down where names would touch, and past other points."""
    right, high = places["valence"] >= places["valence"].mean(), 1.15 * 7.5 / 72 / (axes.figure.get_figheight() - 0.9) * np.ptp(axes.get_ylim())
    for side, sign in ((places[~right], -1), (places[right], 1)):
        for (emotion, at), y in zip(side.iterrows(), spread(side["arousal"].to_list(), high, *axes.get_ylim()), strict=True):
            near = side.loc[(side["arousal"] - y).abs() < 0.8 * high, "valence"]
            x = sign * max((sign * near).max() if len(near) else -2, sign * at["valence"]) + 0.06 * sign
            leader = {"arrowstyle": "-", "lw": 0.5, "color": style.INK, "shrinkA": 0, "shrinkB": 2, "relpos": ((1 - sign) / 2, 0.5)}
            moved = abs(y - at["arousal"]) > 0.02 or abs(x - at["valence"]) > 0.1
            axes.annotate(emotion, at, (x, y), ha="left" if sign > 0 else "right", va="center", fontsize=7.5, fontweight="bold",
                          path_effects=_HALO, zorder=5, annotation_clip=False, arrowprops=leader if moved else None)
    axes.plot(places["valence"], places["arousal"], "o", ms=4.5, color=style.INK, mec="white", mew=0.5, ls="none", zorder=6, gid="emotions")


def _about(level: str, number: int, levels: pd.DataFrame, margins: Mapping[str, float] | pd.DataFrame | None) -> str:
    """A level in words for the legend: what it does, its margin, and how many pairs have it."""
    if isinstance(margins, pd.DataFrame):
        chosen = margins.loc[levels.index, levels.columns].to_numpy()[(levels == level).to_numpy()]
        ends = [f"{value:.2f}" for value in (chosen.min(), chosen.max())]
        told = f", at least {' to '.join(dict.fromkeys(ends))} apart"
    else:
        told = "" if margins is None else f", at least {margins[level]:g} apart"
    return f"{WORDS[level]}{told} ({number} pair{'s' * (number != 1)})"


def _below(weights: Sequence[float] | None, counts: Mapping[str, int]) -> list[str]:
    """Why a long line may be a near pair: the distance behind the levels is not the one that is seen."""
    lines = ["Utterances of one emotion (PP) are pulled together."]
    if weights is not None:
        names = [f"{name} {weight:g}" for name, weight in zip(("valence", "arousal", "dominance"), weights, strict=False) if weight]
        lines.append(f"Levels follow from distances that count {', '.join(names)}, not from the length of a line.")
    return lines
