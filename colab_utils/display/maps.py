"""A map of an embedding: every utterance a point, near those it resembles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import seaborn
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from colab_utils.display import captions, style
from colab_utils.display.curves import COLOURS, MARKERS

# t-SNE takes about 5 s for so many on one core, and more would cover each other.
MOST_POINTS = 1500
# Of larger maps: about how many neighbours an utterance is fitted to.
PERPLEXITY = 30
# Kept by PCA before: the neighbours stay, the search for them is faster.
_DIMENSIONS = 50
_KINDS = 2 * len(COLOURS)  # filled, then hollow
_WIDTHS = (style.ONE_COLUMN, style.TWO_COLUMNS, style.TWO_COLUMNS)


class Look(NamedTuple):
    """How a value is drawn; hollow ones share colour and marker with a filled one."""

    colour: str
    marker: str
    hollow: bool


def embedding_map(
    vectors: np.ndarray, rows: pd.DataFrame, seed: int = 0, limit: int = MOST_POINTS
) -> pd.DataFrame:
    """Places on a map by t-SNE (van der Maaten and Hinton 2008, "Visualizing data using t-SNE").

    Started from PCA. The perplexity is PERPLEXITY, less for fewer than 91 points: (n - 1) / 3.

    Args:
        vectors: (n, dim), one for each row.
        rows: what is known of the utterances.
        seed: of t-SNE, and of the sample.
        limit: of more utterances a sample is drawn, the same for the same n and seed: two maps of
            the same rows (before and after training) show the same utterances.

    Returns:
        `rows` (of the sample) with x and y. `.attrs` holds `perplexity`, and `n`, the number of all
        rows.

    Raises:
        ValueError: fewer than 4 vectors, numbers that are not finite, another number of rows.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    values = np.asarray(vectors, dtype=np.float64)
    _check(values, len(rows))
    chosen = np.arange(len(values))
    if len(values) > limit:
        chosen = np.sort(np.random.default_rng(seed).choice(len(values), limit, replace=False))
    values = values[chosen]
    if min(values.shape) > _DIMENSIONS:
        values = PCA(_DIMENSIONS, svd_solver="full").fit_transform(values)
    perplexity = min(PERPLEXITY, (len(values) - 1) / 3)
    tsne = TSNE(2, perplexity=perplexity, init="pca", random_state=seed, n_jobs=1)
    places = tsne.fit_transform(values).astype(float)
    table = rows.iloc[chosen].assign(x=places[:, 0], y=places[:, 1])
    table.attrs.update(perplexity=perplexity, n=len(rows))
    return table


def _check(vectors: np.ndarray, number: int) -> None:
    """Raise ValueError for vectors that make no map."""
    if vectors.ndim != 2 or len(vectors) != number:
        raise ValueError(
            f"vectors have shape {vectors.shape} and there are {number} rows: one vector a row is"
            " needed"
        )
    if number < 4:
        raise ValueError(f"{number} vectors: a map needs 4 or more")
    broken = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(broken):
        raise ValueError(f"vector {broken[0]} is not finite: look for the utterance it comes from")


def embedding_maps_figure(
    maps: Mapping[str, pd.DataFrame],
    colour: str | Sequence[str] = "emotion",
    title: str = "",
    marks: Sequence[str] = (),
) -> style.SuiteFigure:
    """Maps side by side, each under its name; one map may stand twice, in other colours.

    Each value has a colour and a marker of its own, the same in all maps.

    Args:
        maps: tables of `embedding_map`, 1 to 3, such as {"before": ..., "after": ...}.
        colour: the column that colours them, one for all or one for each map.
        title: above all.
        marks: stamps of the runs (`captions.stamps`).

    Returns:
        The figure.

    Raises:
        ValueError: no maps or too many, a column that is not there, more values than can be told
            apart.
    """
    if not 0 < len(maps) <= 3:
        raise ValueError(f"{len(maps)} maps: pass 1 to 3 of embedding_map()")
    columns = [colour] * len(maps) if isinstance(colour, str) else list(colour)
    if len(columns) != len(maps):
        raise ValueError(
            f"{len(columns)} columns to colour {len(maps)} maps by: pass one, or one for each map"
        )
    looks = {column: _looks(list(maps.values()), column) for column in columns}
    width = _WIDTHS[len(maps) - 1]
    side = width / len(maps)
    with style.suite_style():
        figure = style.new_figure(width, 0.92 * side + 0.6)
        panels = figure.subplots(1, len(maps), squeeze=False)[0]
        for axes, (name, table), column in zip(panels, maps.items(), columns, strict=True):
            _draw(axes, table, column, looks[column])
            axes.set_title(name, fontsize=7.5)
            if len(looks) > 1:
                _key(axes, looks[column], side, loc="upper center", bbox_to_anchor=(0.5, 0))
        if len(looks) > 1:
            style.above(figure, title)
        else:
            lines = "\n".join(captions.wrap(title, width, 8))
            where = {"loc": "outside upper center", "title": lines, "title_fontsize": 8}
            _key(figure, looks[columns[0]], width, **where)
        style.caption_below(figure, _below(list(maps.values())), marks)
    return figure


def _looks(tables: Sequence[pd.DataFrame], column: str) -> dict[str, Look]:
    """How each value of `column` is drawn, in alphabetical order. Raises ValueError."""
    values = set()
    for table in tables:
        if lacking := [name for name in (column, "x", "y") if name not in table]:
            raise ValueError(
                f"the map has no column {lacking[0]}: its columns are"
                f" {', '.join(map(str, table.columns))}"
            )
        values |= set(table[column].astype(str))
    if len(values) > _KINDS:
        raise ValueError(
            f"{len(values)} values of {column}: at most {_KINDS} can be told apart; leave some"
            " rows out"
        )
    found = {}
    for number, value in enumerate(sorted(values)):
        kind = number % len(COLOURS)
        found[value] = Look(COLOURS[kind], MARKERS[kind], hollow=number >= len(COLOURS))
    return found


def _draw(axes: Axes, table: pd.DataFrame, column: str, looks: Mapping[str, Look]) -> None:
    """The points, all values mixed: drawn one value after the other, the last would cover all."""
    mixed = table.sample(frac=1, random_state=0)
    kind = mixed[column].astype(str)
    seaborn.scatterplot(
        x=mixed["x"],
        y=mixed["y"],
        hue=kind,
        style=kind,
        palette={value: look.colour for value, look in looks.items()},
        markers={value: look.marker for value, look in looks.items()},
        s=1.4 * np.clip(46 / np.sqrt(len(table)), 2.0, 4.2) ** 2,
        alpha=0.85,
        legend=False,
        ax=axes,
    )
    points = axes.collections[-1]
    faces = points.get_facecolors()
    edges = np.full_like(faces, 1)
    hollow = kind.map(lambda value: looks[value].hollow).to_numpy()
    edges[hollow] = faces[hollow]
    faces[hollow] = 1
    points.set(facecolors=faces, edgecolors=edges, linewidths=np.where(hollow, 0.7, 0.3))
    axes.set(xticks=[], yticks=[], xlabel="", ylabel="")
    axes.set_aspect("equal", adjustable="datalim")
    axes.spines[:].set_color("#c0c0c0")


def _key(
    place: Axes | style.SuiteFigure,
    looks: Mapping[str, Look],
    width: float,
    **where: Any,
) -> None:
    """What the colours mean, in as many columns as fit `width` inches."""
    handles = []
    for value, (colour, marker, hollow) in looks.items():
        handle = Line2D([], [], label=value, color=colour, marker=marker, ls="none", ms=4.2)
        handle.set(mfc="white" if hollow else colour, mec=colour if hollow else "white", mew=0.5)
        handles.append(handle)
    columns = int(width / (0.32 + max(map(len, looks)) * captions.CHARACTER * 6.5 / 72))
    columns = max(1, min(len(looks), columns))
    place.legend(handles=handles, ncols=columns, handletextpad=0.1, columnspacing=0.8, **where)


def _below(tables: Sequence[pd.DataFrame]) -> list[str]:
    """What the map is, and what must not be read out of it."""
    sizes, perplexities = [], set()
    for table in tables:
        of_all = f" of {table.attrs['n']:,}" if table.attrs["n"] > len(table) else ""
        sizes.append(f"{len(table):,}{of_all} utterances")
        perplexities.add(f"{table.attrs['perplexity']:.3g}")
    told = " and ".join(dict.fromkeys(sizes))
    own = " Each map was made on its own." if len({id(table) for table in tables}) > 1 else ""
    return [
        f"{told}, t-SNE (perplexity {' and '.join(sorted(perplexities))}).{own} Near neighbours"
        " resemble each other; distances between groups, their sizes, and the axes mean nothing."
    ]
