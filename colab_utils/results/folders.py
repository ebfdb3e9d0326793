"""What each folder below runs/ is worth: a finished run, one that goes on, or foreign and why."""

import dataclasses
import os
import pathlib

import pandas as pd

from colab_utils import files
from colab_utils.progress import bar as progress_bar
from colab_utils.results.predictions import PredictionError
from colab_utils.results.rates import confusion
from colab_utils.results.runs import (
    UNFINISHED,
    Run,
    RunError,
    is_named_by,
    load_run,
    split_hash,
    unvouched,
)

RUN_COLUMNS = (
    "method",
    "run",
    "preset",
    "done",
    "uar",
    "low",
    "high",
    "wa",
    "macro_f1",
    "chance",
    "n",
    "n_speakers",
    "problem",
    "folder",
)
_LONGEST = 300  # characters of a problem: what a foreign file makes its reader say may have no end


@dataclasses.dataclass(frozen=True)
class Found:
    """A folder below runs/, or a file that lies where a folder should.

    Attributes:
        folder: its path.
        run: None where it cannot be opened.
        problem: why it has no numbers that could be shown, in words; "": a finished run.
    """

    folder: pathlib.Path
    run: Run | None
    problem: str


def find_runs(root: str | os.PathLike) -> list[Found]:
    """All that lies below runs/, each judged: the one place that says what is a finished run.

    A run is finished where its DONE vouches for predictions.csv and metrics.json, its config.json
    and split.csv are those that it was named after, the counts in metrics.json are those of
    predictions.csv, and no other folder holds a run of the same settings.

    Args:
        root: the workspace, which holds runs/.

    Returns:
        One a folder, sorted by path; hidden ones are left out. Nothing is raised whatever lies
        there.
    """
    found = []
    originals: dict[str, str] = {}
    # The shorter name first: who copies a folder adds to its name.
    folders = sorted(_folders(pathlib.Path(root)), key=lambda one: (len(one.name), str(one)))
    for folder in progress_bar(folders, desc="runs", leave=False):
        run, problem = _judged(folder)
        if not problem:
            original = originals.setdefault(folder.name[-12:], folder.name)
            if original != folder.name:
                problem = f"a copy: {original} has the same settings; delete one of the two"
        found.append(Found(folder, run, problem))
    return sorted(found, key=lambda one: str(one.folder))


def _folders(root: pathlib.Path) -> list[pathlib.Path]:
    """Where runs may be: two levels below runs/, or what is there in their place."""
    found = []
    for room in _inside(root / "runs"):
        lies_too_high = os.path.exists(room / "config.json")
        found += [room] if lies_too_high else _inside(room)
    return found


def _inside(folder: pathlib.Path) -> list[pathlib.Path]:
    """What lies in a folder, hidden things apart; itself where it is none or cannot be listed."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    except OSError:
        return [folder]
    return [folder / name for name in names if not name.startswith(".")]


def _judged(folder: pathlib.Path) -> tuple[Run | None, str]:
    """The run of a folder, where it can be opened, and its problem."""
    run = None
    try:
        run = load_run(folder)
        _check_origin(run)
        problem = unvouched(folder)
        if not problem:
            _check_results(run)
        elif problem != UNFINISHED:
            problem += "; run its notebook again"
    except (RunError, PredictionError) as error:
        problem = str(error)
    except Exception as error:
        # Whatever a foreign file raises in its reader, the other runs are shown.
        problem = f"cannot be read: {type(error).__name__}: {error}"
    # The folder stands beside it wherever a problem is shown.
    problem = problem.replace(f"{folder}{os.sep}", "").replace(f"{folder} ", "")
    return run, problem[:_LONGEST]


def _check_origin(run: Run) -> None:
    """Raise RunError for a folder that was copied, renamed or edited."""
    if not is_named_by(run.path, run.config):
        expected = f"{run.config['method']}/...-{files.short_hash(run.config)}"
        raise RunError(
            f"copied, renamed or edited: its config.json belongs to a folder {expected}; give it"
            " that name back if it was renamed, delete it otherwise"
        )
    if split_hash(run.split) != run.config.get("split"):
        raise RunError(
            "edited: its split.csv is not the one that its config.json names; delete the folder and"
            " run again"
        )


def _check_results(run: Run) -> None:
    """Raise PredictionError for results that are none, whoever vouches for them."""
    try:
        predictions, metrics = run.predictions, run.metrics
    except PredictionError as error:
        raise PredictionError(f"{error}; delete the folder and run again") from error
    if predictions.empty:
        raise PredictionError("predictions.csv has no rows: delete the folder and run again")
    true, pred, labels = predictions["true"], predictions["pred"], metrics["labels"]
    others = {*true, *pred}.difference(labels)
    if others or confusion(true, pred, labels).tolist() != metrics.get("confusion"):
        raise PredictionError(
            "metrics.json does not follow from predictions.csv: it has other labels or counts;"
            " delete the folder and run again"
        )


def runs_table(root: str | os.PathLike) -> pd.DataFrame:
    """All that lies below runs/ of a workspace.

    Args:
        root: the workspace, which holds runs/.

    Returns:
        RUN_COLUMNS, one row a folder; rates are fractions. `done` is False and rates are NaN where
        there is a `problem` (see `find_runs`): a run that is not finished, or whose numbers nothing
        vouches for.

    Example:
        >>> runs_table("out").sort_values("uar")
    """
    rows = []
    for found in find_runs(root):
        row = {
            "method": found.folder.parent.name,
            "run": found.folder.name,
            "done": not found.problem,
            "problem": found.problem,
            "folder": str(found.folder),
        }
        if not found.problem:
            metrics = found.run.metrics
            row = {key: metrics.get(key) for key in RUN_COLUMNS} | row
            row["low"], row["high"] = metrics["uar_ci95"] or (None, None)
        if found.run is not None:
            row["preset"] = str(found.run.config.get("preset", ""))
        rows.append(row)
    table = pd.DataFrame(rows, columns=list(RUN_COLUMNS)).fillna({"preset": ""})
    return table.astype({"done": bool, "n": "Int64", "n_speakers": "Int64"})
