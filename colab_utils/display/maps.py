"""A map of an embedding: every utterance a point, near those it resembles, coloured by emotion or
by corpus.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from colab_utils.display import captions, style
from colab_utils.display.curves import COLOURS, MARKERS

# t-SNE takes about 5 s for so many on one core, and more would cover each other
MOST_POINTS = 1500
# of larger maps; about how many neighbours an utterance is fitted to
PERPLEXITY = 30
# kept by PCA before: the neighbours stay, the search for them is faster
_DIMENSIONS = 50
_KINDS = 2 * len(COLOURS)  # filled, then hollow


def embedding_map(
    vectors: np.ndarray, rows: pd.DataFrame, seed: int = 0, limit: int = MOST_POINTS
) -> pd.DataFrame:
    """`rows` with two columns more, x and y: places on a map by t-SNE (van der Maaten & Hinton
    2008), started from PCA.

    vectors: (n, dim), one for each row. Of more than `limit` utterances a sample, the same for the
    same n and seed: two maps of the same rows (before and after training) show the same utterances.
    The perplexity is PERPLEXITY, less for fewer than 91 points ((n - 1) / 3); it is kept in
    `.attrs["perplexity"]`, and the number of all rows in `.attrs["n"]`. Raises ValueError for fewer
    than 4 vectors, numbers that are not finite, and another number of rows.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    values = np.asarray(vectors, dtype=np.float64)
    if values.ndim != 2 or len(values) != len(rows):
        raise ValueError(
            f"vectors have shape {values.shape} and there are {len(rows)} rows: one vector a row is"
            " needed"
        )
    if len(values) < 4:
        raise ValueError(f"{len(values)} vectors: a map needs 4 or more")
    if not np.isfinite(values).all():
        raise ValueError(
            f"vector {int(np.flatnonzero(~np.isfinite(values).all(axis=1))[0])} is not finite: look"
            " for the utterance it comes from"
        )
    chosen = np.arange(len(values))
    if len(values) > limit:
        chosen = np.sort(np.random.default_rng(seed).choice(len(values), limit, replace=False))
    values = values[chosen]
    if min(values.shape) > _DIMENSIONS:
        values = PCA(_DIMENSIONS, svd_solver="full").fit_transform(values)
    perplexity = min(PERPLEXITY, (len(values) - 1) / 3)
    places = TSNE(2, perplexity=perplexity, init="pca", random_state=seed, n_jobs=1).fit_transform(
        values
    )
    table = rows.iloc[chosen].assign(x=places[:, 0].astype(float), y=places[:, 1].astype(float))
    table.attrs.update(perplexity=perplexity, n=len(rows))
    return table


def embedding_maps_figure(
    maps: Mapping[str, pd.DataFrame],
    colour: str | Sequence[str] = "emotion",
    title: str = "",
    marks: Sequence[str] = (),
) -> style.SuiteFigure:
    """Maps side by side, each under its name, such as {"before": ..., "after": ...}, or one map
    coloured by emotion and by corpus.

    maps: tables of `embedding_map`, 1 to 3; the same map may stand twice. colour: the column that
    colours them, one for all or one for each map. Each value has a colour and a marker of its own,
    the same in all maps. Raises ValueError without maps, for a column that is not there, and for
    more values than can be told apart.
    """
    if not 0 < len(maps) <= 3:
        raise ValueError(f"{len(maps)} maps: pass 1 to 3 of embedding_map()")
    columns = [colour] * len(maps) if isinstance(colour, str) else list(colour)
    if len(columns) != len(maps):
        raise ValueError(
            f"{len(columns)} columns to colour {len(maps)} maps by: pass one, or one for each map"
        )
    looks = {
        column: _looks(
            [table for table, its in zip(maps.values(), columns, strict=True) if its == column],
            column,
        )
        for column in columns
    }
    width = (style.ONE_COLUMN, style.TWO_COLUMNS, style.TWO_COLUMNS)[len(maps) - 1]
    side = width / len(maps)
    with style.suite_style():
        figure = style.new_figure(width, 0.92 * side + 0.6)
        panels = figure.subplots(1, len(maps), squeeze=False)[0]
        for axes, (name, table), column in zip(panels, maps.items(), columns, strict=True):
            _draw(axes, table, column, looks[column])
            axes.set_title(name, fontsize=7.5)
            if len(looks) > 1:
                _key(axes, looks[column], side, loc="upper center", bbox_to_anchor=(0.5, 0))
        above = "\n".join(captions.wrap(title, width, 8))
        if len(looks) == 1:
            _key(
                figure,
                looks[columns[0]],
                width,
                loc="outside upper center",
                title=above,
                title_fontsize=8,
            )
        elif title:
            figure.suptitle(above, fontsize=8)
        style.caption_below(figure, _below(list(maps.values())), marks)
    return figure


def _looks(tables: Sequence[pd.DataFrame], column: str) -> dict[str, dict]:
    """How each value of `column` is drawn, in alphabetical order. Raises ValueError."""
    for table in tables:
        if lacking := [name for name in (column, "x", "y") if name not in table]:
            raise ValueError(
                f"the map has no column {lacking[0]}: its columns are"
                f" {', '.join(map(str, table.columns))}"
            )
    values = sorted({str(value) for table in tables for value in table[column]})
    if len(values) > _KINDS:
        raise ValueError(
            f"{len(values)} values of {column}: at most {_KINDS} can be told apart; leave some"
            " rows out"
        )
    found = {}
    for number, value in enumerate(values):
        shade, hollow = COLOURS[number % len(COLOURS)], number >= len(COLOURS)
        face, edge, thick = ("none", shade, 0.7) if hollow else (shade, "white", 0.3)
        found[value] = {
            "marker": MARKERS[number % len(MARKERS)],
            "ls": "none",
            "mfc": face,
            "mec": edge,
            "mew": thick,
        }
    return found


def _draw(axes: Axes, table: pd.DataFrame, column: str, looks: Mapping[str, dict]) -> None:
    """The points, all values mixed: drawn one value after the other, the last would cover the
    first.
    """
    size = float(np.clip(46 / np.sqrt(len(table)), 2.0, 4.2))
    order = np.random.default_rng(0).permutation(len(table))
    names, places = table[column].astype(str).to_numpy(), table[["x", "y"]].to_numpy()
    for part in np.array_split(order, min(24, len(order))):
        for value, look in looks.items():
            axes.plot(*places[part[names[part] == value]].T, ms=size, alpha=0.85, gid=value, **look)
    axes.set(xticks=[], yticks=[])
    axes.set_aspect("equal", adjustable="datalim")
    axes.spines[:].set_color("#c0c0c0")


def _key(
    place: Axes | style.SuiteFigure, looks: Mapping[str, dict], width: float, **where: Any
) -> None:
    """What the colours mean, in as many columns as fit `width` inches."""
    columns = int(width / (0.32 + max(map(len, looks)) * captions.CHARACTER * 6.5 / 72))
    place.legend(
        [Line2D([], [], ms=4.2, **look) for look in looks.values()],
        list(looks),
        ncols=max(1, min(len(looks), columns)),
        frameon=False,
        handletextpad=0.1,
        columnspacing=0.8,
        **where,
    )


def _below(tables: Sequence[pd.DataFrame]) -> list[str]:
    """What the map is, and what must not be read out of it."""
    sizes = [
        (
            f"{len(table):,} of {table.attrs['n']:,} utterances"
            if table.attrs.get("n", len(table)) > len(table)
            else f"{len(table):,} utterances"
        )
        for table in tables
    ]
    told = " and ".join(dict.fromkeys(sizes))
    perplexities = {
        f"{table.attrs['perplexity']:.3g}" for table in tables if "perplexity" in table.attrs
    }
    how = f" (perplexity {' and '.join(sorted(perplexities))})" if perplexities else ""
    own = " Each map was made on its own." if len({id(table) for table in tables}) > 1 else ""
    return [
        f"{told}, t-SNE{how}.{own} Near neighbours resemble each other; distances between groups,"
        " their sizes, and the axes mean nothing."
    ]
