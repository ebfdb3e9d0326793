"""Rows of a sweep over all seeds, with paired differences, and settings chosen by validation."""

from collections.abc import Mapping, Sequence

import pandas as pd
from IPython.display import display

from colab_utils.display import captions
from colab_utils.display.curves import methods_figure
from colab_utils.results.runs import Run
from colab_utils.results.tables import Pooled, methods_table, pool, readable, with_holm
from colab_utils.settings import SettingError, as_list
from colab_utils.sweeps import Cell, progress


def pooled(cells: Sequence[Cell]) -> dict[str, dict[str, Pooled]]:
    """The finished runs of all seeds of each row as one; what lacks a seed is left out, and said.

    Args:
        cells: of `grid`.

    Returns:
        {task: {row: its runs}}.
    """
    rows: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        rows.setdefault((cell.task, cell.row), []).append(cell)
    found: dict[str, dict[str, Pooled]] = {}
    for (task, row), same in rows.items():
        missing = [cell.seed for cell in same if not cell.is_done]
        if missing:
            print(f"{task}, {row}: seeds {', '.join(map(str, missing))} are not there: left out")
        else:
            found.setdefault(task, {})[row] = pool([cell.run for cell in same])
    return found


def table(results: Mapping[str, Mapping[str, Pooled]], baseline: str = "") -> pd.DataFrame:
    """All rows of all tasks side by side; differences within each task, Holm's p over all of them.

    Args:
        results: of `pooled`.
        baseline: the row that differences are to; default: the first of each task.

    Returns:
        Text for a page (`results.tables.readable`), indexed by task and row.
    """
    tables = []
    for task, rows in results.items():
        of_task = methods_table(rows, _known(rows, baseline))
        tables.append(of_task.assign(task=task))
    whole = with_holm(pd.concat(tables, ignore_index=True))
    parts = {}
    for task, part in whole.groupby("task", sort=False):
        parts[task] = readable(part)
    return pd.concat(parts, names=["task", "row"])


def _known(rows: Mapping[str, Pooled], baseline: str) -> str:
    """The row that differences are to: the named one where it is there, else the first."""
    return baseline if baseline in rows else next(iter(rows))


def chosen(cells: Sequence[Cell], validate_on: Sequence[str] | str = ()) -> list[Cell]:
    """The cells with the best settings of each method, by validation alone.

    Args:
        cells: of `grid`, computed.
        validate_on: tasks whose test decides for all others, which are returned alone; none: each
            task's own validation speakers, by which its trainings chose their step.

    Returns:
        Of each method (and task) the cells of the settings with the best mean over seeds (and
        tasks). Where validation cannot tell settings apart, the first; that is printed.
    """
    deciding = as_list(validate_on)
    unknown = sorted(set(deciding) - {cell.task for cell in cells})
    if unknown:
        raise SettingError(f"validate_on: no task {', '.join(unknown)} in this sweep")
    best = {}
    for where, scores in _validated(cells, deciding).items():
        if len(scores) > 1 and not scores.max() > scores.min():
            told = " ".join(where).strip()
            print(f"{told}: validation does not tell settings apart, the first is taken")
        best[where] = scores.index[0] if scores.isna().all() else scores.idxmax()
    found = []
    for cell in cells:
        where = ("" if deciding else cell.task, cell.method)
        if cell.task not in deciding and best.get(where) == cell.row:
            found.append(cell)
    return found


def _validated(cells: Sequence[Cell], deciding: Sequence[str]) -> dict[tuple[str, str], pd.Series]:
    """{(task, or "" for all, method): mean validation of each row}, of cells that are done.

    deciding: the tasks whose test is the validation; none: what the trainings noted.
    """
    rows = []
    for cell, known in zip(cells, progress(cells).itertuples(), strict=True):
        if not cell.is_done or (deciding and cell.task not in deciding):
            continue
        score = cell.run.metrics["uar"] if deciding else known.validation
        task = "" if deciding else cell.task
        rows.append((task, cell.method, cell.row, score))
    table = pd.DataFrame(rows, columns=["task", "method", "row", "score"])
    found = {}
    for where, same in table.groupby(["task", "method"], sort=False):
        found[where] = same.groupby("row", sort=False)["score"].mean()
    return found


def show(results: Mapping[str, Mapping[str, Pooled]], task: str, against: str = "") -> pd.DataFrame:
    """Display one task's rows with their intervals: the table, and a figure of it.

    Args:
        results: of `pooled`.
        task: which one.
        against: the row that differences are to; default: the first.

    Returns:
        The table; its p are corrected for the contrasts of this task alone.
    """
    rows = results[task]
    compared = methods_table(rows, _known(rows, against))
    told = readable(compared)
    display(told)
    metrics = next(iter(rows.values())).metrics
    shown = {name: (one.predictions, one.metrics) for name, one in rows.items()}
    display(
        methods_figure(
            compared,
            chance=metrics["chance"],
            title=task.replace("synthetic-", "").replace("+", " + ").replace("->", "→"),
            marks=captions.stamps_of_all(shown),
            unit=captions.interval_unit(metrics),
        )
    )
    return told


def runs_of(cells: Sequence[Cell]) -> dict[str, Run]:
    """The finished runs of cells, for a zip.

    Args:
        cells: of `grid`.

    Returns:
        Runs by task, row and seed.
    """
    found = {}
    for cell in cells:
        if cell.is_done:
            found[f"{cell.task}, {cell.row}, seed {cell.seed}"] = cell.run
    return found
