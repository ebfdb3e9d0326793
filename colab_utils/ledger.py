"""How far many runs are: done, running, failed, left. Read from the run folders alone.

Each run of a sweep has two small files in its folder. cell.json says which sweeps want it and what
it is there; outcome.json says who works on it, or how that ended. While someone works, the time of
outcome.json is renewed every few seconds, so that a process that was killed, here or on another
machine, is known by its silence. Whether a run is done says DONE, which the run itself writes.
"""

import contextlib
import os
import pathlib
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from colab_utils import files

CELL, OUTCOME, DONE = "cell.json", "outcome.json", "DONE"
BEAT = 5.0  # seconds from one sign of life to the next
SILENT = 30.0  # seconds without one: nobody works on it any more
TRIES = 3  # a cell whose process was ended so often is not begun again by itself
STATES = ("done", "running", "failed", "left")
COLUMNS = ("task", "method", "settings", "seed", "state", "seconds", "reason", "folder")


class Busy(RuntimeError):
    """Another process is at work on this run."""


# --- written by whoever works -------------------------------------------------------------------


def want(folder: pathlib.Path, sweep: str, cell: Mapping[str, Any] | None) -> None:
    """Say in a run folder that a sweep wants this run, as which cell; None: no longer.

    Args:
        folder: of the run.
        sweep: the name of the sweep.
        cell: task, method, settings (a text) and seed.
    """
    before = _read(folder / CELL)
    after = {name: one for name, one in before.items() if name != sweep}
    if cell is not None:
        after[sweep] = dict(cell)
    if after != before:
        files.write_json(folder / CELL, after)


@contextlib.contextmanager
def at_work(folder: pathlib.Path) -> Iterator[dict[str, Any]]:
    """Meanwhile the ledger says "running"; afterwards how it ended.

    An exception is written down as the reason of a failure and goes on; an interruption
    (KeyboardInterrupt) leaves the run to be gone on with.

    Args:
        folder: of the run.

    Yields:
        A dict whose entries are written into outcome.json at the end, too.

    Raises:
        Busy: another process is at work on it.
    """
    before = outcome(folder, now(folder))
    if before["state"] == "running":
        raise Busy(f"{folder.name}: {before['reason']}")
    mine = {"host": socket.gethostname(), "pid": os.getpid(), "tries": before["tries"] + 1}
    files.write_json(folder / OUTCOME, {"state": "running", **mine})
    begin, told = time.perf_counter(), {}
    with _signs_of_life(folder / OUTCOME):
        try:
            yield told
        except KeyboardInterrupt:
            files.write_json(folder / OUTCOME, {"state": "left", **mine, "tries": before["tries"]})
            raise
        except Exception as error:
            ended = {"state": "failed", "reason": files.one_line(error)}
            files.write_json(folder / OUTCOME, ended | mine | {"tries": 0})
            raise
    seconds = round(time.perf_counter() - begin, 3)
    files.write_json(folder / OUTCOME, {"state": "done", **mine, "seconds": seconds, **told})


def give_up(folder: pathlib.Path, reason: str) -> None:
    """Write down that a run failed, where its own process could not."""
    files.write_json(folder / OUTCOME, {"state": "failed", "reason": reason, "tries": 0})


@contextlib.contextmanager
def _signs_of_life(path: pathlib.Path) -> Iterator[None]:
    """Renew the time of a file now and then."""
    over = threading.Event()

    def beat() -> None:
        while not over.wait(BEAT):
            with contextlib.suppress(OSError):  # the next one may come through
                os.utime(path)

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


# --- read by anybody ----------------------------------------------------------------------------


def outcome(folder: pathlib.Path, at: float) -> dict[str, Any]:
    """What is known of one run.

    Args:
        folder: of the run.
        at: the time, of `now`.

    Returns:
        `state` of STATES, `reason` (why it failed, who works on it, or ""), `tries` that ended
        without a result, and what outcome.json has besides, such as `seconds`.
    """
    found = {"state": "left", "reason": "", "tries": 0, **_read(folder / OUTCOME)}
    if (folder / DONE).exists():
        return found | {"state": "done", "reason": "", "tries": 0}
    if found["state"] == "done":  # its results were deleted since
        return found | {"state": "left", "tries": 0}
    if found["state"] != "running":
        return found
    if _alive(folder, found, at):
        reason = f"process {found.get('pid')} on {found.get('host')}"
        return found | {"reason": reason}
    return found | {"state": "left", "reason": "its process was ended; goes on where it stopped"}


def is_complete(folder: pathlib.Path) -> bool:
    """Whether a run is done, and a sweep has noted how that went."""
    return (folder / DONE).exists() and _read(folder / OUTCOME).get("state") == "done"


def _alive(folder: pathlib.Path, found: Mapping[str, Any], at: float) -> bool:
    """Whether who works on a run has given a sign of life lately; on this machine: is there."""
    with contextlib.suppress(OSError):
        if at - (folder / OUTCOME).stat().st_mtime > SILENT:
            return False
    if found.get("host") != socket.gethostname():
        return True
    try:
        os.kill(int(found["pid"]), 0)
    except PermissionError:
        return True
    except (OSError, KeyError, TypeError, ValueError):
        return False
    return not _is_zombie(int(found["pid"]))


def _is_zombie(pid: int) -> bool:
    """Whether a process has ended and nobody has asked for it yet (Linux; elsewhere False)."""
    try:
        text = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return text.rpartition(")")[2].split()[:1] == ["Z"]


def now(folder: pathlib.Path) -> float:
    """The time as the clock of this folder's disk has it, seconds.

    On a shared folder that is the file server's clock, by which signs of life are dated, too.
    """
    mark = folder / f".now-{socket.gethostname()}-{os.getpid()}"
    try:
        mark.touch()
        at = mark.stat().st_mtime
        mark.unlink()
    except OSError:  # one that may only be read
        return time.time()
    return at


def ledger(root: files.AnyPath, sweep: str = "") -> pd.DataFrame:
    """All cells of a sweep, or of all sweeps of a workspace.

    Args:
        root: the workspace, which holds runs/.
        sweep: its name; "": all.

    Returns:
        COLUMNS, a row a cell; seconds is NaN where it is not known. Without a sweep a column
        `sweep` stands before them. Nothing is raised whatever lies there.
    """
    runs = pathlib.Path(root) / "runs"
    at = now(runs) if runs.is_dir() else 0.0
    rows = []
    for path in sorted(runs.glob(f"*/*/{CELL}")):
        wanted = _read(path)
        known = outcome(path.parent, at)
        for name, cell in sorted(wanted.items()):
            if sweep in ("", name) and isinstance(cell, dict):
                row = {key: known.get(key) for key in ("state", "seconds", "reason")}
                rows.append({"sweep": name, **cell, **row, "folder": str(path.parent)})
    columns = COLUMNS if sweep else ("sweep", *COLUMNS)
    return pd.DataFrame(rows, columns=list(columns)).astype({"seconds": float})


def summary(table: pd.DataFrame, workers: int = 0) -> str:
    """One line: how many cells are done, running, failed and left, and how long that takes.

    Args:
        table: of `ledger`.
        workers: how many work at once; default: as many as are running.
    """
    counts = {state: int((table["state"] == state).sum()) for state in STATES}
    told = [f"{number} {state}" for state, number in counts.items() if number or state == "done"]
    line = f"{len(table)} cells: {', '.join(told)}"
    left = seconds_left(table, workers)
    return line if left is None else f"{line}; about {_words(left)} to go"


def seconds_left(table: pd.DataFrame, workers: int = 0) -> float | None:
    """What running and left cells take, by the mean of those of their method that are done.

    A running cell is taken to be half done. None where nothing is known or nothing is left.
    """
    known = table[table["state"] == "done"]
    known = known[known["seconds"].notna()]
    waiting = table[table["state"].isin(["running", "left"])]
    if known.empty or waiting.empty:
        return None
    of_method = known.groupby("method")["seconds"].mean()
    each = waiting["method"].map(of_method).fillna(known["seconds"].mean())
    share = waiting["state"].map({"running": 0.5, "left": 1.0})
    running = int((table["state"] == "running").sum())
    at_once = workers or max(1, running)
    whole = (each * share).sum()
    return float(whole / at_once)


def told(row: Any) -> str:
    """One row of the table that failed, in a line: what, and why."""
    named = [row.task, row.method, row.settings, f"seed {row.seed}"]
    return f"failed: {', '.join(filter(None, named))}: {row.reason}"


def _words(seconds: float) -> str:
    """A time for a person."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def _read(path: pathlib.Path) -> dict[str, Any]:
    """The content of one of the two files; {} where it is missing, torn or foreign."""
    try:
        found = files.read_json(path)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
