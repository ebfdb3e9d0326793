"""Runs of one question side by side, as notebook 06 shows them."""

from collections.abc import Mapping
from typing import Any

from IPython.display import display

from colab_utils.display import captions
from colab_utils.display.curves import methods_figure
from colab_utils.display.matrices import confusion_matrices_figure
from colab_utils.results import groups
from colab_utils.results.runs import Run
from colab_utils.results.tables import readable

MATRICES = 4  # side by side at most


def show_side_by_side(
    questions: Mapping[str, Mapping[str, Run]], question: str = "", **chosen: Any
) -> dict[str, Run]:
    """Display table, intervals and confusion matrices of runs that answer one question.

    Args:
        questions: of `groups.comparable_runs`.
        question: which one; default: the first.
        **chosen: `words`, `most` and `against`, see `groups.compared`.

    Returns:
        The runs by the part of their names that differs, the best first.
    """
    question = question or next(iter(questions))
    runs, table = groups.compared(questions, question, **chosen)
    results = {name: (run.predictions, run.metrics) for name, run in runs.items()}
    metrics = next(iter(runs.values())).metrics
    display(readable(table))
    display(
        methods_figure(
            table,
            chance=metrics["chance"],
            title=question,
            marks=captions.stamps_of_all(results),
            unit=captions.interval_unit(metrics),
        )
    )
    drawn = dict(list(results.items())[:MATRICES])
    display(confusion_matrices_figure(drawn, title=question, labels=metrics["labels"]))
    return runs
