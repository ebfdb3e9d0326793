"""A map of an embedding: every utterance a point, near those it resembles."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import seaborn
from matplotlib.axes import Axes

from colab_utils.display import captions, style
from colab_utils.display.style import COLOURS, MARKERS

# t-SNE takes about 5 s for so many on one core, and more would cover each other.
MOST_POINTS = 1500
# Of larger maps: about how many neighbours an utterance is fitted to.
PERPLEXITY = 30
# Kept by PCA before: the neighbours stay, the search for them is faster.
_DIMENSIONS = 50
# A colour serves two values, with a marker of its own for each.
_COLOURS, _MARKERS = COLOURS * 2, MARKERS + MARKERS[3:] + MARKERS[:3]
# Of the values of another column, so that no look means two things in a figure.
_LIGHT = ("#56b4e9", "#e69f00", "#f4a6c6", "#8fce7e", "#b5b5b5", "#c9b6f2") * 2
_OTHERS = "<ph8X*" + "*X8hp<"
_WIDTHS = (style.ONE_COLUMN, style.TWO_COLUMNS, style.TWO_COLUMNS)


def embedding_map(vectors: np.ndarray, rows: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Places on a map by t-SNE (van der Maaten and Hinton 2008, "Visualizing data using t-SNE").

    Started from PCA. The perplexity is PERPLEXITY, less for fewer than 91 points: (n - 1) / 3.

    Args:
        vectors: (n, dim), one for each row.
        rows: what is known of the utterances.
        seed: of t-SNE, and of the sample. Of more than MOST_POINTS utterances one is drawn, the
            same for the same n and seed: two maps of the same rows (before and after training) show
            the same utterances.

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
    if len(values) > MOST_POINTS:
        chosen = np.random.default_rng(seed).choice(len(values), MOST_POINTS, replace=False)
        chosen = np.sort(chosen)
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
    values = {column: _values(list(maps.values()), column) for column in columns}
    width = _WIDTHS[len(maps) - 1]
    with style.suite_style():
        figure = style.new_figure(width, 0.92 * width / len(maps) + 0.4)
        panels = figure.subplots(1, len(maps), squeeze=False)[0]
        for axes, (name, table), column in zip(panels, maps.items(), columns, strict=True):
            first = column == columns[0]
            _draw(axes, table, column, values[column], first)
            axes.set_title(name, fontsize=7.5)
        style.tell(
            figure,
            "map",
            title,
            sentences=_below(list(maps.values())),
            stamps=marks,
            numbers=_in_words(maps, columns),
        )
    return figure


def _values(tables: Sequence[pd.DataFrame], column: str) -> list[str]:
    """The values of `column` in alphabetical order. Raises ValueError."""
    values = set()
    for table in tables:
        if lacking := [name for name in (column, "x", "y") if name not in table]:
            raise ValueError(
                f"the map has no column {lacking[0]}: its columns are"
                f" {', '.join(map(str, table.columns))}"
            )
        values |= set(_written(table, column))
    if len(values) > len(_COLOURS):
        raise ValueError(
            f"{len(values)} values of {column}: at most {len(_COLOURS)} can be told apart; leave"
            " some rows out"
        )
    return sorted(values)


def _written(table: pd.DataFrame, column: str) -> pd.Series:
    """The values of `column` as people write them."""
    values = table[column].astype(str)
    return values.map(captions.corpus) if column == "corpus" else values


def _draw(axes: Axes, table: pd.DataFrame, column: str, values: list[str], first: bool) -> None:
    """The points, all values mixed, and their legend below."""
    colours, markers, edge = (
        (_COLOURS, _MARKERS, "white") if first else (_LIGHT, _OTHERS, style.INK)
    )
    # Drawn one value after the other, the last would cover all.
    mixed = table.sample(frac=1, random_state=0)
    kind = _written(mixed, column).map(style.legend_label)
    values = [style.legend_label(value) for value in values]
    size = 1.7 * np.clip(46 / np.sqrt(len(table)), 2.0, 4.2) ** 2
    if "role" in table:
        support = table[table["role"] == "support"]
        ring = {"facecolors": "none", "edgecolors": style.INK, "linewidths": 0.9, "zorder": 3}
        ring |= {"label": "support"} if len(support) else {}
        axes.scatter(support["x"], support["y"], s=3.2 * size, gid="support", **ring)
    seaborn.scatterplot(
        x=mixed["x"],
        y=mixed["y"],
        hue=kind,
        hue_order=values,
        palette=dict(zip(values, colours, strict=False)),
        style=kind,
        markers=dict(zip(values, markers, strict=False)),
        edgecolor=edge,
        s=size,
        alpha=0.85,
        linewidth=0.3,
        ax=axes,
    )
    axes.set(xticks=[], yticks=[], xlabel="", ylabel="")
    axes.set_aspect("equal", adjustable="datalim")
    axes.spines[:].set(color="#c0c0c0", visible=True)
    names = axes.get_legend_handles_labels()[1]
    inches = axes.figure.get_figwidth() / axes.get_subplotspec().get_gridspec().ncols
    written = sum(map(captions.characters, names)) * captions.CHARACTER * 6.5 / 72
    lines = int(np.ceil((0.32 * len(names) + written) / inches))
    seaborn.move_legend(
        axes,
        "upper center",
        bbox_to_anchor=(0.5, 0),
        ncols=int(np.ceil(len(names) / lines)),
        title=None,
        markerscale=1.3,
        handletextpad=0.1,
        columnspacing=0.8,
    )


def _in_words(maps: Mapping[str, pd.DataFrame], columns: Sequence[str]) -> str:
    """How many points of each value each map has."""
    told = []
    for (name, table), column in zip(maps.items(), columns, strict=True):
        number = _written(table, column).value_counts()
        told.append(f"{name}: " + ", ".join(f"{count} {value}" for value, count in number.items()))
    return f"{'; '.join(told)}."


def _below(tables: Sequence[pd.DataFrame]) -> list[str]:
    """What the map is, and what must not be read out of it."""
    sizes, perplexities = [], set()
    for table in tables:
        of_all = f" of {table.attrs['n']:,}" if table.attrs["n"] > len(table) else ""
        sizes.append(f"{len(table):,}{of_all} utterances")
        perplexities.add(f"{table.attrs['perplexity']:.3g}")
    told = " and ".join(dict.fromkeys(sizes))
    ringed = ""
    if any("role" in table and table["role"].eq("support").any() for table in tables):
        ringed = " Ringed: the support, whose labels the method has seen."
    own = " Each map was made on its own." if len({id(table) for table in tables}) > 1 else ""
    return [
        f"{told}, t-SNE (perplexity {' and '.join(sorted(perplexities))}).{ringed}{own}",
        "Near neighbours resemble each other; distances between groups, their sizes, and the axes"
        " mean nothing.",
    ]
