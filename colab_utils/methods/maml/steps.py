"""steps.csv: the query accuracy of every task after each inner step, and its mean by step.

The interval is over tasks and seeds, not speakers: it says how much the curve would move with other
tasks of the same corpus and the same speakers, and wherever it is shown it is labelled so
(results.intervals.STEP_INTERVAL).
"""

import os
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from colab_utils.csv_files import read_csv
from colab_utils.results.intervals import of_mean
from colab_utils.results.runs import Run

STEP_COLUMNS = ("method", "seed", "task", "step", "accuracy")
# the roles of seen.csv, and what they are called
SEEN = {"train": "training", "valid": "validation"}
_CELL = ["seed", "task"]


class StepsError(ValueError):
    """Accuracies by step that cannot be used; the message names the column, task or step."""


def steps_table(
    accuracy: np.ndarray, tasks: Sequence[int], *, method: str, seed: int
) -> pd.DataFrame:
    """Accuracies of one seed as a table with STEP_COLUMNS, task by task.

    Args:
        accuracy: (tasks, steps + 1) in [0, 1], the query accuracy before adaptation (step 0) and
            after each inner step; (tasks, 1) for a method that makes no steps.
        tasks: the number of each task.
        method: of all rows.
        seed: of all rows.
    """
    number, steps = accuracy.shape
    return pd.DataFrame(
        {
            "method": method,
            "seed": seed,
            "task": np.repeat(tasks, steps),
            "step": np.tile(np.arange(steps), number),
            "accuracy": accuracy.ravel(),
        }
    )


def validate_steps(steps: pd.DataFrame) -> pd.DataFrame:
    """The table with its columns in order and typed.

    Checked: the columns, rows, whole numbers from 0 in `step`, accuracies within [0, 1], each
    (method, seed, task, step) at most once, and the same steps in every task of a method: a mean
    over other tasks at each step would be no curve.

    Raises:
        StepsError: where it cannot be used, in one sentence.
    """
    missing = [name for name in STEP_COLUMNS if name not in steps.columns]
    foreign = sorted(set(steps.columns) - set(STEP_COLUMNS))
    if missing or foreign:
        wrong = "lacks" if missing else "holds unknown"
        raise StepsError(
            f"the table of steps {wrong} column(s) {', '.join(missing or foreign)}: "
            f"{', '.join(STEP_COLUMNS)} are needed"
        )
    if steps.empty:
        raise StepsError("the table of steps is empty: run the method first")
    table = steps[list(STEP_COLUMNS)].reset_index(drop=True)
    table = table.astype({"method": str, "accuracy": "float64"})
    for name in ("seed", "task", "step"):
        whole = pd.to_numeric(table[name], errors="coerce")
        fraction = whole % 1 != 0  # what is no number is NaN, as its remainder
        if fraction.any():
            raise StepsError(
                f"{name} = {table.loc[fraction, name].iloc[0]}: a whole number is needed"
            )
        table[name] = whole.astype("int64")
    outside = ~table["accuracy"].between(0, 1) | (table["step"] < 0)
    if outside.any():
        row = table[outside].iloc[0]
        raise StepsError(
            f"task {row.task} of seed {row.seed} has accuracy {row.accuracy} at step "
            f"{row.step}: rates within 0 and 1, at steps from 0 on, are needed"
        )
    _check_grid(table)
    return table


def _check_grid(table: pd.DataFrame) -> None:
    """Raise StepsError for a step that stands twice, or that some tasks of a method lack."""
    twice = table.duplicated(["method", *_CELL, "step"])
    if twice.any():
        row = table[twice].iloc[0]
        raise StepsError(
            f"step {row.step} of task {row.task}, seed {row.seed}, method "
            f"{row.method} stands twice: give each run's steps once"
        )
    for method, part in table.groupby("method"):
        there = part["step"].value_counts()
        cells = len(part[_CELL].drop_duplicates())
        lacking = there[there != cells]
        if len(lacking):
            raise StepsError(
                f"{method}: step {lacking.index[0]} is there in {lacking.iloc[0]} of {cells} "
                "tasks; use tables made with one number of inner steps"
            )


def read_steps(path: str | os.PathLike) -> pd.DataFrame:
    """Read and validate a steps.csv.

    Raises:
        StepsError: names the file.
    """
    try:
        return validate_steps(read_csv(path, dtype={"method": str}))
    except (ValueError, OSError) as error:
        raise StepsError(f"{path}: {error}") from error


def read_seen(folder: str | os.PathLike) -> dict[str, pd.DataFrame]:
    """The steps of a run in episodes of its training and of its validation.

    Args:
        folder: of a run of a method that was trained.

    Returns:
        {"training": a table with STEP_COLUMNS, "validation": another}; {} where nothing was
        trained.

    Raises:
        StepsError: names the file.
    """
    path = os.path.join(folder, "seen.csv")
    if not os.path.exists(path):
        return {}
    table = read_csv(path, dtype={"method": str})
    found = {}
    for role, name in SEEN.items():
        mine = table[table["role"] == role]
        found[name] = validate_steps(mine.drop(columns="role"))
    return found


def seen_table(runs: Mapping[str, Run]) -> pd.DataFrame:
    """The mean accuracy after the last step in the episodes of `read_seen`, in per cent.

    Args:
        runs: finished runs by name.

    Returns:
        A row a run with columns "training episodes" and "validation episodes", such as "61.2"; NaN
        where nothing was trained.
    """
    found = {}
    for method, run in runs.items():
        found[method] = {}
        for name, steps in read_seen(run.path).items():
            last = steps[steps["step"] == steps["step"].max()]
            found[method][f"{name} episodes"] = f"{100 * last['accuracy'].mean():.1f}"
    return pd.DataFrame.from_dict(found, orient="index")


def accuracy_by_step(steps: pd.DataFrame) -> pd.DataFrame:
    """Mean accuracy of one method by inner step.

    The interval, STEP_INTERVAL, is Student's t over all tasks; the variance between seeds, where
    there are several, is added (`results.intervals.of_mean`), so that it is rather too wide than
    too narrow.

    Args:
        steps: a table with STEP_COLUMNS.

    Returns:
        A row a step: step, accuracy, low, high (fractions); low and high are NaN for one task of
        one seed.

    Raises:
        StepsError: a table that cannot be used, or holds several methods.
    """
    table = validate_steps(steps)
    if table["method"].nunique() > 1:
        raise StepsError(
            f"steps of several methods ({', '.join(sorted(set(table['method'])))}): choose one"
        )
    cells = table.pivot(index=_CELL, columns="step", values="accuracy")
    found = cells.mean().rename("accuracy").reset_index()
    parts = [cells]
    of_seeds = cells.groupby("seed").mean()
    if len(of_seeds) > 1:
        parts.append(of_seeds)
    variances = [part.var(ddof=1) / len(part) for part in parts]
    freedoms = [np.full(len(found), len(part) - 1) for part in parts]
    low, high = of_mean(found["accuracy"].to_numpy(), variances, freedoms)
    return found.assign(low=low, high=high)
