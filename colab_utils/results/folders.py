"""What each folder below runs/ is worth: a finished run, one that goes on, or foreign and why."""

import dataclasses
import functools
import hashlib
import io
import os
import pathlib
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from colab_utils import files
from colab_utils.progress import bar as progress_bar
from colab_utils.results.metrics import read_split
from colab_utils.results.predictions import PredictionError, read_texts
from colab_utils.results.rates import confusion
from colab_utils.results.runs import (
    UNFINISHED,
    Run,
    RunError,
    is_named_by,
    split_hash,
    unvouched,
    without_split,
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
_YOUNG = 3 * 10**9  # nanoseconds: a file so new may change again and still have the same times


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
        metrics: the content of its metrics.json.
    """

    folder: pathlib.Path
    run: Run | None
    problem: str
    question: Question | None = None
    metrics: Mapping[str, Any] | None = None


# What this process found finished: the folder's files as they were then, and the judgement.
_finished: dict[pathlib.Path, tuple[Any, Found]] = {}
# `split_hash` by the SHA-256 of a split.csv: all runs of a sweep have the same.
_split_hashes: dict[bytes, str] = {}


def find_runs(root: str | os.PathLike) -> list[Found]:
    """All that lies below runs/, each judged: the one place that says what is a finished run.

    A run is finished where its DONE vouches for predictions.csv and metrics.json, its config.json
    and split.csv are those that it was named after, the counts in metrics.json are those of
    predictions.csv, and no other folder holds a run of the same settings. One that was found
    finished is not read again by the same process while none of its files has changed.

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
        one = _judged_once(folder)
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


def _judged_once(folder: pathlib.Path) -> Found:
    """`_judged`, or what it said of a finished run whose files are those that it saw."""
    begin = time.time_ns()
    files_now = _state(folder)
    if files_now is not None and folder in _finished:
        files_then, found = _finished[folder]
        if files_then == files_now:
            return found
    found = _judged(folder)
    if not found.problem and files_now is not None:
        newest = max(max(times) for _, _, _, *times in files_now)
        if newest < begin - _YOUNG:
            _finished[folder] = files_now, found
    return found


def _state(folder: pathlib.Path) -> list[tuple] | None:
    """Name, number, size and times of all files in a folder; None where these cannot be had.

    A judgement looks at no other file: what DONE vouches for lies in the folder itself.
    """
    found = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                at = entry.stat()
                found.append((entry.name, at.st_ino, at.st_size, at.st_mtime_ns, at.st_ctime_ns))
    except OSError:
        return None
    return sorted(found)


def _judged(folder: pathlib.Path) -> Found:
    """A folder with its run, where it can be opened, and its problem or question."""
    run = question = metrics = None
    try:
        opened = without_split(folder)
        split = _split_hash(opened)
        run = opened
        _check_origin(run, split)
        problem = unvouched(folder)
        if not problem:
            predictions, metrics = _results(run)
            question = _question(run, predictions, metrics)
        elif problem != UNFINISHED:
            problem += "; run its notebook again"
    except (RunError, PredictionError) as error:
        problem = str(error)
    except Exception as error:
        # Whatever a foreign file raises in its reader, the other runs are shown.
        problem = f"cannot be read: {type(error).__name__}: {error}"
    # The folder stands beside it wherever a problem is shown.
    problem = problem.replace(f"{folder}{os.sep}", "").replace(f"{folder} ", "")
    return Found(folder, run, problem[:_LONGEST], question, metrics)


def _split_hash(run: Run) -> str:
    """`split_hash` of a run, computed once for all split.csv of the same bytes. Raises RunError."""
    try:
        content = (run.path / "split.csv").read_bytes()
        mark = hashlib.sha256(content).digest()
        if mark not in _split_hashes:
            _split_hashes[mark] = split_hash(read_split(io.BytesIO(content)))
        return _split_hashes[mark]
    except (ValueError, OSError):
        return split_hash(run.split)  # which says what is wrong


def _check_origin(run: Run, split: str) -> None:
    """Raise RunError for a folder that was copied, renamed or edited. split: its hash."""
    if not is_named_by(run.path, run.config):
        expected = f"{run.config['method']}/...-{files.short_hash(run.config)}"
        raise RunError(
            f"copied, renamed or edited: its config.json belongs to a folder {expected}; give it"
            " that name back if it was renamed, delete it otherwise"
        )
    if split != run.config.get("split"):
        raise RunError(
            "edited: its split.csv is not the one that its config.json names; delete the folder and"
            " run again"
        )


def _results(run: Run) -> tuple[dict[str, Sequence[str]], dict]:
    """The texts of the predictions and the metrics of a run. Raises PredictionError."""
    try:
        return read_texts(run.path / "predictions.csv"), run.metrics
    except PredictionError as error:
        raise PredictionError(f"{error}; delete the folder and run again") from error


def _question(
    run: Run, predictions: Mapping[str, Sequence[str]], metrics: Mapping[str, Any]
) -> Question:
    """What a run was asked. Raises PredictionError for results that are none."""
    true, pred, labels = predictions["true"], predictions["pred"], metrics["labels"]
    if not true:
        raise PredictionError("predictions.csv has no rows: delete the folder and run again")
    others = {*true, *pred}.difference(labels)
    if others or confusion(true, pred, labels).tolist() != metrics.get("confusion"):
        raise PredictionError(
            "metrics.json does not follow from predictions.csv: it has other labels or counts;"
            " delete the folder and run again"
        )
    columns = [predictions[name] for name in _TESTED]
    tested = frozenset(map("\0".join, zip(*columns, strict=True)))
    return Question(*_asked(tested, tuple(labels)), condition_of(run.config))


@functools.lru_cache(maxsize=64)
def _asked(tested: frozenset[str], labels: tuple[str, ...]) -> tuple[str, str]:
    """Key and words of a question.

    tested: utterance, corpus, speaker and true emotion with NUL between them, which no CSV can
        hold; the same for all runs of one question.
    """
    rows = sorted(one.split("\0") for one in tested)
    key = files.short_hash([labels, rows])
    utterances, corpora, _, _ = map(set, zip(*rows, strict=True))
    told = _corpora(corpora)
    return key, f"{told}, {len(labels)} emotions, {len(utterances)} utterances"


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
            metrics = found.metrics
            row = {key: metrics.get(key) for key in RUN_COLUMNS} | row
            row["low"], row["high"] = metrics["uar_ci95"] or (None, None)
        if found.run is not None:
            row["preset"] = str(found.run.config.get("preset", ""))
        rows.append(row)
    table = pd.DataFrame(rows, columns=list(RUN_COLUMNS)).fillna({"preset": ""})
    return table.astype({"done": bool, "n": "Int64", "n_speakers": "Int64"})
