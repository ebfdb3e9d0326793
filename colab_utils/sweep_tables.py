"""Rows of a sweep over all seeds, with paired differences, and settings chosen by validation."""

from collections.abc import Mapping, Sequence

import pandas as pd

from colab_utils.results.tables import Pooled, methods_table, pool, readable, with_holm
from colab_utils.settings import SettingError, as_list
from colab_utils.sweeps import Cell, progress


def pooled(cells: Sequence[Cell]) -> dict[str, dict[str, Pooled]]:
    """{task: {row: its finished runs of all seeds}}; rows that lack a seed are left out, printed.

    Args:
        cells: of `grid`.
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
        to = baseline if baseline in rows else next(iter(rows))
        tables.append(methods_table(rows, to).assign(task=task))
    whole = with_holm(pd.concat(tables, ignore_index=True))
    parts = {task: readable(part) for task, part in whole.groupby("task", sort=False)}
    return pd.concat(parts, names=["task", "row"])


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
