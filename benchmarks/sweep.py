"""What a thousand tiny cells cost: planning, computing, looking at the ledger, the disk.

    python benchmarks/sweep.py [--cells 1000] [--workers 2]

A cell is a logistic regression on one domain of the embedded corpus in grouped folds, with a C and
a seed of its own. Fifty such runs are first made one after the other by the study itself, which is
what a cell costs without a sweep. Prints seconds and milliseconds a cell.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import io
import pathlib
import sys
import tempfile
import time

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from colab_utils import ledger, sweep_tables, sweep_tasks, sweeps  # noqa: E402
from colab_utils.learning.recipe import StudySettings  # noqa: E402
from colab_utils.learning.study import Study  # noqa: E402

DOMAIN = "synthetic-studio"


def timed(name: str, number: int, work: object) -> object:
    """Call `work`, print how long that took and how long for each of `number` cells."""
    begin = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        found = work()
    seconds = time.perf_counter() - begin
    print(f"{name}: {seconds:.1f} s, {1000 * seconds / number:.0f} ms a cell", flush=True)
    return found


def opened(root: pathlib.Path, config: StudySettings) -> Study:
    """The study of all cells, its features extracted."""
    place = sweep_tasks.Place(root)
    (study,) = sweep_tasks.open_tasks("baselines", [DOMAIN], config, place).values()
    study.progress = False
    return study


def main() -> None:
    """Make the cells in a temporary folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    config = sweep_tasks.config_of("baselines", settings={"folds": "grouped", "n_folds": 4})
    strengths = [float(value) for value in np.geomspace(1e-3, 10, given.cells // 2)]
    few = strengths[:: max(1, len(strengths) // 50)]
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        study, other = opened(root, config), opened(root / "alone", config)

        def plan() -> list[sweeps.Cell]:
            values = {"C": strengths}
            return sweeps.grid({DOMAIN: study}, config, ["logistic"], values, range(2))

        def alone() -> None:
            for value in few:
                chosen = dataclasses.replace(config, C=value, classifier="logistic")
                other.run(chosen, pictures=False)

        timed("without a sweep, one after the other", len(few), alone)
        cells = timed("planning", given.cells, plan)
        compute = functools.partial(sweeps.compute, cells, given.workers)
        timed(f"computing with {given.workers} processes", given.cells, compute)
        timed("run again: planning", given.cells, plan)
        timed("run again: computing", given.cells, compute)
        table = timed("ledger", given.cells, functools.partial(ledger.ledger, root))
        print(ledger.summary(table))
        timed("pooling for the table", given.cells, functools.partial(sweep_tables.pooled, cells))
        size = sum(path.stat().st_size for path in root.glob("runs/*/*/**/*") if path.is_file())
        print(f"disk: {size / 1e6:.0f} MB, {size / 1e3 / given.cells:.0f} kB a cell")


if __name__ == "__main__":
    main()
