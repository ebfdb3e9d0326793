"""What each folder below runs/ is worth: a finished run, one that goes on, or foreign and why."""

import dataclasses
import os
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

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
_TESTED = ["utt_id", "corpus", "speaker", "true"]


class Question(NamedTuple):
    """What a run was asked: like is compared with like where these are equal.

    Attributes:
        key: the same for the same emotions and tested utterances.
        tested: these in words, such as "emodb, 7 emotions, 535 utterances".
        condition: shots, ways or noise, such as "5-shot"; "": none.
    """

    key: str
    tested: str
    condition: str


@dataclasses.dataclass(frozen=True)
class Found:
    """A folder below runs/, or a file that lies where a folder should.

    Attributes:
        folder: its path.
        run: None where it cannot be opened.
        problem: why it has no numbers that could be shown, in words; "": a finished run.
        question: of a finished run.
    """

    folder: pathlib.Path
    run: Run | None
    problem: str
    question: Question | None = None


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
        one = _judged(folder)
        if not one.problem:
            original = originals.setdefault(folder.name[-12:], folder.name)
            if original != folder.name:
                problem = f"a copy: {original} has the same settings; delete one of the two"
                one = Found(folder, one.run, problem)
        found.append(one)
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


def _judged(folder: pathlib.Path) -> Found:
    """A folder with its run, where it can be opened, and its problem or question."""
    run = question = None
    try:
        run = load_run(folder)
        _check_origin(run)
        problem = unvouched(folder)
        if not problem:
            question = _question(run)
        elif problem != UNFINISHED:
            problem += "; run its notebook again"
    except (RunError, PredictionError) as error:
        problem = str(error)
    except Exception as error:
        # Whatever a foreign file raises in its reader, the other runs are shown.
        problem = f"cannot be read: {type(error).__name__}: {error}"
    # The folder stands beside it wherever a problem is shown.
    problem = problem.replace(f"{folder}{os.sep}", "").replace(f"{folder} ", "")
    return Found(folder, run, problem[:_LONGEST], question)


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


def _question(run: Run) -> Question:
    """What a run was asked. Raises PredictionError for results that are none."""
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
    tested = predictions[_TESTED].drop_duplicates().sort_values("utt_id")
    key = files.short_hash([labels, tested.to_numpy().tolist()])
    corpora, utterances = _corpora(tested["corpus"]), tested["utt_id"].nunique()
    words = f"{corpora}, {len(labels)} emotions, {utterances} utterances"
    return Question(key, words, condition_of(run.config))


def _corpora(names: Iterable[str]) -> str:
    """Corpora in one word, as domains of one (synthetic-phone, ...) where there are several."""
    names = sorted(set(names))
    if len(names) > 2:
        names = sorted({name.split("-")[0] for name in names})
    return "+".join(names)


def condition_of(config: Mapping[str, Any]) -> str:
    """What a run had of the target, or heard over it: "5-shot", "4-way 1-shot", "pink@10", "".

    Args:
        config: the content of its config.json.
    """
    episodes = config.get("test")
    if isinstance(episodes, dict) and {"ways", "shots"} <= episodes.keys():
        return f"{episodes['ways']}-way {episodes['shots']}-shot"
    return str(config.get("condition", "")).replace("clean", "")


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
