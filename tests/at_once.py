"""Several processes that do the same at the same moment, and one that is killed on the way."""

import contextlib
import multiprocessing
import os
import pathlib

# processes that have imported the package already: they begin within milliseconds
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    [
        "colab_utils.corpora.download",
        "colab_utils.corpora.synthetic",
        "colab_utils.features.store.extract",
        "colab_utils.features.acoustic.prosody",
    ]
)


def _act(code: str, names: dict, barrier, log: str) -> None:
    """Run `code` once all are there; what it prints, and a traceback, go to `log`."""
    with open(log, "w", encoding="utf-8") as out:
        os.dup2(out.fileno(), 2)
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            barrier.wait(60)
            exec(code, names)


def started(code: str, number: int, logs: pathlib.Path, names: dict) -> list:
    """Processes that run `code` with these names; they have begun when this returns."""
    logs.mkdir(parents=True, exist_ok=True)
    barrier = CONTEXT.Barrier(number + 1)
    processes = []
    for one in range(number):
        log = str(logs / f"{one}.txt")
        processes.append(CONTEXT.Process(target=_act, args=(code, names, barrier, log)))
        processes[-1].start()
    barrier.wait(60)
    return processes


def at_once(code: str, number: int, logs: pathlib.Path, **names) -> list[str]:
    """Run `code` in `number` processes at once.

    Returns:
        What each printed; one that failed fails the test, with its traceback.
    """
    processes = started(code, number, logs, names)
    told = []
    for one, process in enumerate(processes):
        process.join(120)
        told.append((logs / f"{one}.txt").read_text(encoding="utf-8"))
        assert process.exitcode == 0, told[-1]
    return told


def killed(code: str, seconds: float, logs: pathlib.Path, **names) -> bool:
    """Run `code` in a process and kill it so long after it began; whether that came in time."""
    (process,) = started(code, 1, logs, names)
    process.join(seconds)  # no sleep: some tests take the waits out of it
    early = process.is_alive()
    process.kill()
    process.join(60)
    return early
