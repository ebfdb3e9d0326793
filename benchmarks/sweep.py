"""What a thousand tiny cells cost: planning, computing, looking at the ledger, the disk.

    python benchmarks/sweep.py [--cells 1000] [--workers 2]

A cell is a logistic regression on one domain of the embedded corpus in grouped folds, with a C and
a seed of its own. The same runs are first made one after the other by the study itself, a tenth of
them, which is what a cell cannot cost less than. Prints seconds and milliseconds a cell.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import io
import pathlib
import sys
import tempfile
import time

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from colab_utils import ledger, sweep_tables, sweep_tasks, sweeps  # noqa: E402


def timed(name: str, number: int, work: object) -> object:
    """Call `work`, print how long that took and how long for each of `number` cells."""
    begin = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        found = work()
    seconds = time.perf_counter() - begin
    print(f"{name}: {seconds:.1f} s, {1000 * seconds / number:.0f} ms a cell", flush=True)
    return found


def main() -> None:
    """Make the cells in a temporary folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    config = sweep_tasks.config_of("baselines", settings={"folds": "grouped", "n_folds": 4})
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        place = sweep_tasks.Place(root)
        study = sweep_tasks.open_tasks("baselines", ["synthetic-studio"], config, place)
        (study,) = study.values()
        study.progress = False
        values = {"C": [float(value) for value in np.geomspace(1e-3, 10, given.cells // 2)]}
        tasks = {"studio": study}

        def alone() -> None:
            place.root.joinpath("alone").mkdir()
            one = sweep_tasks.Place(root / "alone")
            (other,) = sweep_tasks.open_tasks(
                "baselines", ["synthetic-studio"], config, one
            ).values()
            other.progress = False
            begin = time.perf_counter()
            for value in values["C"][: given.cells // 10]:
                chosen = dataclasses.replace(config, C=value, classifier="logistic")
                other.run(chosen, pictures=False)
            alone.seconds = time.perf_counter() - begin

        timed("(opening the study again)", 1, alone)
        each = 1000 * alone.seconds / (given.cells // 10)
        print(f"without a sweep, one after the other: {each:.0f} ms a run")
        grid = lambda: sweeps.grid(tasks, config, ["logistic"], values, range(2))  # noqa: E731
        cells = timed("planning", given.cells, grid)
        compute = lambda: sweeps.compute(cells, given.workers)  # noqa: E731
        timed(f"computing with {given.workers} processes", given.cells, compute)
        timed("run again: planning", given.cells, grid)
        timed("run again: computing", given.cells, compute)
        table = timed("ledger", given.cells, lambda: ledger.ledger(root))
        print(ledger.summary(table))
        timed("table of all rows", given.cells, lambda: sweep_tables.pooled(cells))
        size = sum(path.stat().st_size for path in root.glob("runs/*/*/**/*") if path.is_file())
        print(f"disk: {size / 1e6:.0f} MB, {size / 1e3 / given.cells:.0f} kB a cell")


if __name__ == "__main__":
    main()
