"""Many runs: a grid of methods, tasks, settings and seeds, on this machine or on a cluster.

A cell of the grid is one run, in the folder that its settings name: what is finished is never
computed again, by whom it may have been made. joblib hands the cells out, to processes of this
machine or, given the address of a Dask scheduler, to its workers, which have to see the workspace
under the same path. How far all is, `colab_utils.ledger` reads from the run folders.

    python -m colab_utils.sweeps status [--root out] [--sweep NAME]
"""

import argparse
import contextlib
import dataclasses
import io
import itertools
import os
import pathlib
import threading
import time
import uuid
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import joblib
import numpy as np
import pandas as pd

from colab_utils import files, ledger, session
from colab_utils.learning.recipe import StudySettings
from colab_utils.learning.study import Study, Tested
from colab_utils.learning.training import Interrupted, single_thread
from colab_utils.progress import bar as progress_bar
from colab_utils.results.runs import Run
from colab_utils.settings import SettingError, as_list

_MOST_STUDIES = 8  # that a process holds: it may live longer than a sweep
_PATIENCE = 60  # seconds for a scheduler to answer, and for its first worker to come
_WAIT = 1.0  # seconds between two looks at a run that another process has in hand
# of this process, when it computes cells for another
_studies: dict[str, Study] = {}
_one_at_a_time = threading.Lock()


@dataclasses.dataclass(frozen=True, eq=False)
class Cell:
    """One run of a grid.

    Attributes:
        task: the name of its study in the grid.
        method: its name in tables.
        values: the settings of the grid.
        seed: the only one.
        study: where it is made.
        tested: what is made.
        run: its folder, finished or not.
    """

    task: str
    method: str
    values: Mapping[str, Any]
    seed: int
    study: Study
    tested: Tested
    run: Run

    @property
    def settings(self) -> str:
        """The settings of the grid in words: "lr=0.01, steps=100"."""
        return _in_words(self.values)

    @property
    def row(self) -> str:
        """What tables call it: the method with its settings."""
        return f"{self.method}, {self.settings}" if self.values else self.method

    @property
    def is_done(self) -> bool:
        """Whether its results are there."""
        return (self.run.path / ledger.DONE).exists()

    @property
    def facts(self) -> dict[str, Any]:
        """What the ledger keeps of it."""
        told = {"task": self.task, "method": self.method}
        return told | {"settings": self.settings, "seed": self.seed}


def grid(
    studies: Mapping[str, Study],
    config: StudySettings,
    methods: Sequence[str] | str,
    settings: Mapping[str, Sequence[Any]] | None = None,
    seeds: Iterable[int] = (0,),
    sweep: str = "sweep",
) -> list[Cell]:
    """All cells, their folders made, so that whoever looks there knows what is left.

    A setting that a method does not look at makes no cell of its own, and is not named in it. What
    a study refuses is printed and left out.

    Args:
        studies: by the name of the task.
        config: settings that all share.
        methods: names of methods, as tables have them (`Contract.by_name`).
        settings: {setting: its values}; all combinations.
        seeds: of weights, draws and episodes; a cell each.
        sweep: a name for the ledger; cells that an earlier grid of this name had besides are
            forgotten there, their results stay.

    Returns:
        The cells, task by task.

    Raises:
        SettingError: nothing is left.

    Example:
        >>> cells = grid({"emodb": study}, DomainConfig(), ["erm", "mldg"], {"lr": [1e-3, 1e-4]})
        >>> compute(cells)
    """
    choices = {name: as_list(values) for name, values in (settings or {}).items()}
    several = itertools.product(*choices.values())
    combinations = [dict(zip(choices, one, strict=True)) for one in several]
    asked = list(itertools.product(studies, as_list(methods), combinations, seeds))
    cells: dict[pathlib.Path, Cell] = {}
    refused: dict[str, list[str]] = {}
    alike = []
    with progress_bar(asked, desc="cells", unit="cell", leave=False) as shown:
        for task, method, values, seed in shown:
            try:
                cell = _cell(studies[task], config, task, method, values, seed)
            except ValueError as error:  # what cannot work in one study may in the others
                refused.setdefault(f"{task}, {method}: {error}", []).append(_in_words(values))
                continue
            if cells.setdefault(cell.run.path, cell) is not cell:
                alike.append(cell)
    for reason, which in refused.items():
        print(f"{len(which)} cells are left out: {reason} ({'; '.join(dict.fromkeys(which))})")
    if not cells:
        raise SettingError("no cell is left: see above")
    if n := len(alike):
        print(f"{n} combinations differ in settings alone that their method does not look at")
    cells = _without_idle(cells, alike)
    _mark(cells, sweep)
    return list(cells.values())


def _cell(
    study: Study, config: StudySettings, task: str, method: str, values: Mapping, seed: int
) -> Cell:
    """One cell, its folder made. Raises ValueError for what the study refuses."""
    tested = study.by_name(config, method, **values)
    once = dataclasses.replace(tested.repeated, n_seeds=1)
    side = "config" if tested.test is None else "test"
    tested = dataclasses.replace(tested, **{side: once}).at(seed)
    with contextlib.redirect_stdout(io.StringIO()):  # "resumed, 2 parts": the ledger says it
        run = study.opened(tested)
    return Cell(task, method, values, seed, study, tested, run)


def _without_idle(
    cells: Mapping[pathlib.Path, Cell], alike: Sequence[Cell]
) -> dict[pathlib.Path, Cell]:
    """The cells without the settings that their method does not look at: no row names them.

    alike: the cells that turned out to be runs of others. What they differ in does nothing, if all
    cells of their task and method have one value of it.
    """
    values: dict[tuple[str, str, str], set[str]] = {}
    for other in alike:
        for name, value in other.values.items():
            if value != cells[other.run.path].values[name]:
                values[other.task, other.method, name] = set()
    for cell in cells.values():
        for name, value in cell.values.items():
            values.get((cell.task, cell.method, name), set()).add(str(value))
    idle = {key for key, several in values.items() if len(several) == 1}
    found = {}
    for path, cell in cells.items():
        named = {name for task, method, name in idle if (task, method) == (cell.task, cell.method)}
        kept = {name: value for name, value in cell.values.items() if name not in named}
        found[path] = dataclasses.replace(cell, values=kept)
    return found


def _in_words(values: Mapping[str, Any]) -> str:
    """Settings of a grid for a reader."""
    return ", ".join(f"{name}={value}" for name, value in values.items())


def _mark(cells: Mapping[pathlib.Path, Cell], sweep: str) -> None:
    """Write the cells of a sweep into their folders, and forget those of an earlier grid."""
    for root in {cell.study.root for cell in cells.values()}:
        for folder in map(pathlib.Path, ledger.ledger(root, sweep)["folder"]):
            if folder not in cells:
                ledger.want(folder, sweep, None)
    for path, cell in cells.items():
        ledger.want(path, sweep, cell.facts)


# --- computing ----------------------------------------------------------------------------------


def compute(cells: Sequence[Cell], workers: int = 0, scheduler: str = "") -> pd.DataFrame:
    """Make all runs that are not there yet.

    What fails is written down with its reason, and the rest goes on; the next call tries it again.
    After a kill of a worker or of this process call it again: it goes on.

    Args:
        cells: of `grid`.
        workers: processes of this machine; 0: as many as there are cores, with a GPU one. 1: in
            this one.
        scheduler: the address of a Dask scheduler ("tcp://host:8786"), in place of processes here.

    Returns:
        The ledger of these cells, COLUMNS of `ledger`.

    Raises:
        KeyboardInterrupt: stopped by the user; finished parts are kept.
    """
    for study in {id(cell.study): cell.study for cell in cells}.values():
        study.let_go()  # what another process has no use for
    waiting = [cell for cell in cells if not ledger.is_complete(cell.run.path)]
    done = len(cells) - len(waiting)
    with (
        warnings.catch_warnings(),
        progress_bar(total=len(cells), initial=done, desc="sweep", unit="cell") as shown,
    ):
        # loky says so whenever it replaces a process, such as one that was idle
        warnings.filterwarnings("ignore", "A worker stopped while some jobs", UserWarning)
        while waiting:
            before = _marks_of(waiting)
            try:
                with _engine(waiting, workers, scheduler) as hand_out:
                    parcels = (joblib.delayed(_compute)(*one) for one in _parcels(waiting))
                    for _ in hand_out(parcels):
                        shown.update()
                break
            except Exception as error:  # of the engine: a cell's own are written down
                if _marks_of(waiting) == before:  # it would come again
                    raise
                waiting = _after(error, waiting)
                shown.update(len(cells) - len(waiting) - shown.n)
    table = progress(cells)
    print(ledger.summary(table))
    for row in table[table["state"] == "failed"].itertuples():
        print(ledger.told(row))
    return table


@contextlib.contextmanager
def _engine(cells: Sequence[Cell], workers: int, scheduler: str) -> Iterator[joblib.Parallel]:
    """Joblib with processes of this machine, or with the workers of a Dask scheduler."""
    how = {"batch_size": 1, "return_as": "generator_unordered"}
    if not scheduler:
        on_gpu = any(cell.study.device != "cpu" for cell in cells)
        yield joblib.Parallel(workers or (1 if on_gpu else os.cpu_count()), **how)
        return
    from distributed import Client  # only who has a cluster needs it

    studies = list({id(cell.study): cell.study for cell in cells}.values())
    # studies are sent to each worker once, and not with each cell
    dask = {"scatter": studies, "wait_for_workers_timeout": _PATIENCE}
    with Client(scheduler, timeout=_PATIENCE), joblib.parallel_config("dask", **dask):
        yield joblib.Parallel(**how)


def _parcels(cells: Sequence[Cell]) -> Iterator[tuple[str, Study, Tested, pathlib.Path]]:
    """What goes to another process for each cell."""
    marks: dict[int, str] = {}
    for cell in cells:
        study = cell.study
        if id(study) not in marks:
            marks[id(study)] = uuid.uuid4().hex
        yield marks[id(study)], study, cell.tested, cell.run.path


def _compute(mark: str, study: Study, tested: Tested, folder: pathlib.Path) -> None:
    """Make one run, in whatever process; the folder says how it ended.

    mark: of the study: what a process has read of it serves all its cells.
    """
    with _one_at_a_time, single_thread(True):  # cells share the cores, a cell has one
        if mark not in _studies and len(_studies) >= _MOST_STUDIES:
            _studies.clear()
        study = _studies.setdefault(mark, study)
        shown, study.progress = study.progress, False
        try:
            while not ledger.is_complete(folder):
                if _made(study, tested, folder):
                    break
                time.sleep(_WAIT)
        finally:
            study.progress = shown


def _made(study: Study, tested: Tested, folder: pathlib.Path) -> bool:
    """Whether a run was made, or failed, here and now; False where another process has it."""
    try:
        with contextlib.redirect_stdout(io.StringIO()), ledger.at_work(folder) as told:
            if not any(folder.glob("parts/*.json")):  # of the machine that computes it
                files.write_json(folder / "environment.json", session.environment())
            try:
                study.evaluate([tested], pictures=False)
                told["validation"] = _validation(study, tested)
            except Interrupted as error:  # by the user: no failure of the cell
                raise KeyboardInterrupt(str(error)) from error
    except ledger.Busy:
        return False
    except Exception:  # the ledger has the reason, and the other cells go on
        if _known(folder)["state"] != "failed":  # it could not be written down
            raise
    return True


def _known(folder: pathlib.Path) -> dict[str, Any]:
    """What the ledger knows of a run now."""
    return ledger.outcome(folder, ledger.now(folder))


def _marks_of(cells: Sequence[Cell]) -> list[tuple[str, int]]:
    """State and tries of each cell: what has changed if anything was done."""
    known = [_known(cell.run.path) for cell in cells]
    return [(one["state"], one["tries"]) for one in known]


def _validation(study: Study, tested: Tested) -> float | None:
    """The mean best score of the validation in all trainings; None of a method without any."""
    scores = []
    for seed in study.seeds(tested):
        for fold in study.folds_of(tested):
            history = study.trained(tested.at(seed), fold)[1]
            scores.append(None if history is None else history.best_score)
    return None if None in scores else float(np.mean(scores))


def _after(error: Exception, cells: Sequence[Cell]) -> list[Cell]:
    """The cells to go on with after the engine broke; who ends its process each time is given up.

    It may need more memory than there is.
    """
    left = []
    for cell in cells:
        known = _known(cell.run.path)
        if known["state"] == "left" and known["tries"] >= ledger.TRIES:
            told = f"its process was ended {known['tries']} times (too little memory?)"
            ledger.give_up(cell.run.path, told)
        elif known["state"] in ("left", "running"):
            left.append(cell)
    print(f"a process was ended ({type(error).__name__}); going on with {len(left)} cells")
    return left


def progress(cells: Sequence[Cell]) -> pd.DataFrame:
    """The ledger of these cells.

    Args:
        cells: of `grid`.

    Returns:
        COLUMNS of `ledger` and `validation`, a row a cell in their order.
    """
    rows = []
    for root in {cell.study.root for cell in cells}:
        at = ledger.now(root)
        for cell in cells:
            if cell.study.root == root:
                known = ledger.outcome(cell.run.path, at)
                row = {key: known.get(key) for key in ("state", "seconds", "reason", "validation")}
                rows.append(cell.facts | row | {"folder": str(cell.run.path)})
    table = pd.DataFrame(rows, columns=[*ledger.COLUMNS, "validation"])
    return table.astype({"seconds": float, "validation": float})


# --- from a terminal ----------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the ledger of a workspace: one line a sweep, then what failed and why."""
    parser = argparse.ArgumentParser(prog="python -m colab_utils.sweeps", description=main.__doc__)
    parser.add_argument("command", choices=["status"])
    parser.add_argument("--root", default="out", help="the workspace, which holds runs/")
    parser.add_argument("--sweep", default="", help="its name; default: all")
    given = parser.parse_args(arguments)
    if not pathlib.Path(given.root).is_dir():
        parser.error(f"{given.root}: no such folder; name the workspace by --root")
    cells = ledger.ledger(given.root)
    cells = cells[cells["sweep"].isin([given.sweep] if given.sweep else cells["sweep"])]
    if cells.empty:
        print(f"no cells of a sweep in {given.root}/runs")
    for name, same in cells.groupby("sweep"):
        print(f"{name}: {ledger.summary(same)}")
        for row in same[same["state"] == "failed"].itertuples():
            print(f"  {ledger.told(row)}")


if __name__ == "__main__":
    main()
