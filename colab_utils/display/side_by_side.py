"""All runs, and those of one question side by side, as notebook 06 shows them."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from IPython.display import display

from colab_utils.display import captions
from colab_utils.display.curves import methods_figure
from colab_utils.display.matrices import confusion_matrices_figure
from colab_utils.results import groups
from colab_utils.results.runs import Run
from colab_utils.results.tables import readable

MATRICES = 4  # side by side at most
QUESTIONS, RUNS = 12, 40  # listed at most


def show_runs(table: pd.DataFrame) -> None:
    """Display finished runs with their rates, then the other folders, each with its problem.

    Args:
        table: of `folders.runs_table`.
    """
    done = table["done"].astype(bool)
    if done.any():
        finished = table[done].drop(columns=["done", "problem", "folder"])
        if len(finished) > RUNS:
            print(f"{len(finished)} finished runs; the first {RUNS} by name:")
            finished = finished.head(RUNS)
        display(finished.style.format(precision=3, escape="html").hide())
    others = table.loc[~done, ["method", "run", "problem"]]
    if len(others):
        print(f"{len(others)} folder(s) hold no finished run; no number of theirs is shown:")
        left = {"text-align": "left"}
        display(others.style.format(escape="html").set_properties(**left).hide())


def show_questions(questions: Mapping[str, Mapping[str, Run]]) -> None:
    """Print the questions and how many runs answered each: those with most runs.

    Args:
        questions: of `groups.comparable_runs`.
    """
    for title, runs in list(questions.items())[:QUESTIONS]:
        print(f"{len(runs):3d} runs: {title}")
    more = len(questions) - QUESTIONS
    if more > 0:
        print(f"... and {more} more: the panel below has all")


def show_side_by_side(
    questions: Mapping[str, Mapping[str, Run]], question: str = "", **chosen: Any
) -> tuple[dict[str, Run], pd.DataFrame]:
    """Say the question; display table, intervals and confusion matrices of runs that answer it.

    Args:
        questions: of `groups.comparable_runs`.
        question: which one; default: `groups.first_question`.
        **chosen: `words`, `most` and `against`, see `groups.compared`.

    Returns:
        The runs by the part of their names that differs, the best first; and the table.

    Raises:
        ValueError: no question, or no run is left.
    """
    words, against = chosen.get("words", ""), chosen.get("against", "")
    question = question or groups.first_question(questions, words, against)
    runs, table = groups.compared(questions, question, **chosen)
    print(f"{len(runs)} of {len(questions[question])} runs, the best first. Question: {question}.")
    title = captions.run(question)
    shots = f", {title.rpartition(', ')[2]}"  # stand above, and need not be said of each
    named = {name: captions.run(name).removesuffix(shots) for name in runs}
    results = {named[name]: (run.predictions, run.metrics) for name, run in runs.items()}
    metrics = next(iter(runs.values())).metrics
    told = readable(table)
    display(told)
    display(
        methods_figure(
            table.assign(method=table["method"].map(named)),
            chance=metrics["chance"],
            title=title,
            marks=captions.stamps_of_all(results),
            unit=captions.interval_unit(metrics),
        )
    )
    drawn = dict(list(results.items())[:MATRICES])
    display(confusion_matrices_figure(drawn, title, metrics["labels"]))
    return runs, told
