"""Which layers of a speech encoder a model listens to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from colab_utils.display import style
from colab_utils.display.curves import COLOURS, finish


def layer_weights_figure(
    weights: Sequence[float], title: str = "", marks: Sequence[str] = ()
) -> style.SuiteFigure:
    """A bar for the weight of each layer; a line where all would weigh the same.

    Args:
        weights: of the input of the first transformer layer (0), then of each layer's output,
            positive, with sum 1.
        title: above the figure.
        marks: what must not be missed.

    Raises:
        ValueError: for other weights.
    """
    weights = np.asarray(weights, dtype=float)
    alone = weights.ndim != 1 or len(weights) < 2
    if alone or weights.min() < 0 or abs(weights.sum() - 1) > 1e-3:
        raise ValueError(
            "weights of two layers or more with sum 1 are needed: a softmax gives such"
        )
    with style.suite_style():
        figure = style.new_figure(style.ONE_COLUMN, 2.1)
        axes = figure.subplots()
        axes.bar(np.arange(len(weights)), weights, color=COLOURS[0], width=0.72)
        axes.axhline(1 / len(weights), color=style.QUIET, lw=0.8, ls=":")
        axes.text(
            1.01,
            1 / len(weights),
            "all alike",
            fontsize=6.3,
            color=style.QUIET,
            va="center",
            transform=axes.get_yaxis_transform(),
        )
        axes.set(
            xlabel="Transformer layer (0: what goes into the first)",
            ylabel="Weight",
            xlim=(-0.6, len(weights) - 0.4),
        )
        axes.xaxis.get_major_locator().set_params(integer=True)
        finish(
            figure, axes, title, ["Softmax of the learned weights, on standardised layers."], marks
        )
    return figure
