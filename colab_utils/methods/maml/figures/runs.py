"""What the methods of a study make of its episodes.

The figures take finished runs by name, or one of them, and say themselves what it was.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from colab_utils.display import captions, curves, style
from colab_utils.display.figures import confusion_matrix_figure
from colab_utils.display.speakers import per_speaker_figure, support_speakers_figure
from colab_utils.learning.heads import PRIOR
from colab_utils.learning.recipe import RECOMMENDED
from colab_utils.methods.maml.figures.steps import accuracy_by_step_figure
from colab_utils.methods.maml.steps import read_seen, read_steps
from colab_utils.results.runs import Run
from colab_utils.results.support import support_speakers


def methods_figure(runs: Mapping[str, Run]) -> style.SuiteFigure:
    """UAR of every method with its interval; what we recommend and MAML stand out.

    Args:
        runs: finished runs of the same episodes by name (`MamlStudy.compare`).

    Returns:
        A figure that a notebook shows and `save_figure` saves.
    """
    rows, marked = [], []
    for name, run in runs.items():
        metrics = run.metrics
        low, high = metrics["uar_ci95"] or (np.nan, np.nan)
        rows.append({"method": name, "uar": metrics["uar"], "low": low, "high": high})
        if run.config["kind"] in (RECOMMENDED, "maml"):
            marked.append(name)
    first = next(iter(runs.values()))
    return curves.methods_figure(
        pd.DataFrame(rows),
        first.metrics["chance"],
        _title_of(first),
        highlight=marked,
        marks=_stamps(runs),
    )


def steps_figure(runs: Mapping[str, Run]) -> style.SuiteFigure:
    """Accuracy of every method after each inner step; guessing is the line of chance.

    The source prior on other features than those of the row `recommended` is left out.

    Args:
        runs: finished runs of the same episodes by name (`MamlStudy.compare`).

    Returns:
        A figure with a line for each method, and a band: the interval over tasks and seeds.
    """
    left_out = "chance", PRIOR
    shown = {name: run for name, run in runs.items() if run.config["kind"] not in left_out}
    steps = {name: read_steps(run.path / "steps.csv") for name, run in shown.items()}
    first = next(iter(runs.values()))
    return accuracy_by_step_figure(
        steps, first.metrics["chance"], _title_of(first), marks=_stamps(shown)
    )


def seen_figure(run: Run) -> style.SuiteFigure:
    """Accuracy of one trained method in its own training's episodes, in validation, in the test.

    Args:
        run: finished.

    Returns:
        A figure with a line for each, by inner step; bands as in `steps_figure`.
    """
    steps = {f"{name} episodes": table for name, table in read_seen(run.path).items()}
    steps["test episodes"] = read_steps(run.path / "steps.csv")
    title = f"{_title_of(run)}, {run.config['model']}"
    marks = captions.stamps(run.predictions, run.metrics)
    return accuracy_by_step_figure(steps, run.metrics["chance"], title, marks=marks)


def matrix_figure(run: Run, more: str = "") -> style.SuiteFigure:
    """The confusion matrix of one method.

    Args:
        run: finished.
        more: what ends the title.

    Returns:
        A figure: rates in per cent and counts, rows are the true emotions.
    """
    title = f"{_title_of(run)}, {run.config['model']}{more}"
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
        table,
        title=f"{_title_of(run)}, {run.config['model']}",
        marks=captions.stamps(predictions, run.metrics),
    )


def speakers_figure(run: Run) -> style.SuiteFigure:
    """How well each speaker was recognised.

    Args:
        run: finished.

    Returns:
        A figure with a row a speaker: UAR over their queries.
    """
    title = f"{_title_of(run)}, {run.config['model']}"
    return per_speaker_figure(run.predictions, run.metrics, title)


def _title_of(run: Run) -> str:
    """Task, ways and shots: `de + en → it, 5-way 5-shot`."""
    test = run.config["test"]
    return f"{captions.task(run.config['task'])}, {test['ways']}-way {test['shots']}-shot"


def _stamps(runs: Mapping[str, Run]) -> list[str]:
    """What a reader of these runs must not miss."""
    return captions.stamps_of_all(
        {name: (run.predictions, run.metrics) for name, run in runs.items()}
    )
