"""Sixty cells on a local Dask cluster of two workers: one is killed mid-cell, the driver, too."""

import contextlib
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import pytest
import sweep_of_sixty
from repo import REPO
from small_studies import results

from colab_utils import ledger, sweeps

pytest.importorskip("distributed")
pytestmark = pytest.mark.long
TESTS = pathlib.Path(sweep_of_sixty.__file__).parent
ENVIRONMENT = {
    **os.environ,
    "OMP_NUM_THREADS": "1",
    "PYTHONPATH": f"{REPO}{os.pathsep}{TESTS}",
}


def start(*command, log):
    """A process with its own group, whose output goes to a file."""
    out = open(log, "w")  # noqa: SIM115
    return subprocess.Popen(
        [sys.executable, *command], env=ENVIRONMENT, stdout=out, stderr=out, start_new_session=True
    )


def stop(process):
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.fixture
def cluster(tmp_path):
    """The address of a scheduler with two workers, a process each, which are started again."""
    file = tmp_path / "scheduler.json"
    scheduler = ["-m", "distributed.cli.dask_scheduler", "--port", "0", "--no-dashboard"]
    worker = ["-m", "distributed.cli.dask_worker", "--nthreads", "1", "--no-dashboard"]
    where = ["--scheduler-file", str(file)]
    processes = [start(*scheduler, *where, log=tmp_path / "scheduler.txt")]
    for number in range(2):
        here = ["--local-directory", str(tmp_path / f"worker{number}")]
        log = tmp_path / f"worker{number}.txt"
        processes.append(start(*worker, *where, *here, log=log))
    deadline = time.time() + 60
    while not file.exists() and time.time() < deadline:
        time.sleep(0.2)
    yield re.search(r"tcp://[^\"]+", file.read_text())[0]
    for process in processes:
        stop(process)


def look(root, marks):
    """The ledger, checked against what lies there: DONE is never written twice."""
    table = ledger.ledger(root, "sixty")
    for row in table.itertuples():
        mark = pathlib.Path(row.folder) / ledger.DONE
        if row.state == "done":
            assert mark.exists()
            assert marks.setdefault(row.folder, mark.stat().st_mtime_ns) == mark.stat().st_mtime_ns
        elif row.state == "running":  # who is said to work there is alive
            pid = int(re.match(r"process (\d+) on", row.reason)[1])
            with contextlib.suppress(FileNotFoundError):  # ended since the ledger was read
                assert pathlib.Path(f"/proc/{pid}/stat").read_text()
    return table


def wait_for(root, marks, number, driver, seconds=300):
    """The ledger once so many cells are done and one is running."""
    deadline = time.time() + seconds
    while time.time() < deadline:
        table = look(root, marks)
        done, running = (table["state"] == "done").sum(), table[table["state"] == "running"]
        if done >= number and (len(running) or done == 60):
            return table, running
        assert driver.poll() is None, "the driver ended before"
        time.sleep(0.05)
    raise AssertionError(f"{number} cells were not done in {seconds} s:\n{ledger.summary(table)}")


def test_sixty_cells_survive_the_death_of_a_worker_and_of_the_driver(cluster, tmp_path):
    root, marks = tmp_path / "dask", {}
    script = [str(TESTS / "sweep_of_sixty.py"), str(root), cluster]
    driver = start(*script, log=tmp_path / "driver0.txt")
    _, running = wait_for(root, marks, 10, driver)
    victim = running.iloc[0]
    os.kill(int(victim["reason"].split()[1]), signal.SIGKILL)
    time.sleep(0.3)
    after = look(root, marks).set_index("folder").loc[victim["folder"]]
    assert after["state"] != "running" or after["reason"] != victim["reason"]

    wait_for(root, marks, 25, driver)
    stop(driver)
    table = look(root, marks)
    assert 25 <= (table["state"] == "done").sum() < 60
    assert not (table["state"] == "failed").any()

    driver = start(*script, log=tmp_path / "driver1.txt")
    driver.wait(300)
    told = (tmp_path / "driver1.txt").read_text()
    assert driver.returncode == 0 and "60 cells: 60 done" in told, told
    assert (look(root, marks)["state"] == "done").all() and len(marks) == 60

    for name, workers in (("alone", 1), ("processes", 2)):
        sweeps.compute(sweep_of_sixty.make_grid(tmp_path / name), workers)
        assert results(tmp_path / name) == results(root)


def test_processes_of_this_machine_survive_it_too(tmp_path):
    root, marks = tmp_path / "processes", {}
    driver = start(str(TESTS / "sweep_of_sixty.py"), str(root), log=tmp_path / "driver0.txt")
    _, running = wait_for(root, marks, 5, driver)
    os.kill(int(running.iloc[0]["reason"].split()[1]), signal.SIGKILL)
    wait_for(root, marks, 15, driver)
    stop(driver)
    driver = start(str(TESTS / "sweep_of_sixty.py"), str(root), log=tmp_path / "driver1.txt")
    driver.wait(300)
    told = (tmp_path / "driver1.txt").read_text()
    assert driver.returncode == 0 and "60 cells: 60 done" in told, told
    assert (look(root, marks)["state"] == "done").all() and len(marks) == 60


def test_a_cell_that_ends_its_process_each_time_is_given_up(tmp_path):
    root = tmp_path / "deadly"
    code = (
        "import os, sys, one_file_method, sweep_of_sixty\n"
        "from colab_utils import sweeps\n"
        "class Deadly(one_file_method.SoftmaxStudy):\n"
        "    def predict(self, learner, tested, fold):\n"
        "        if tested.config.rate > 0.2: os._exit(9)\n"
        "        return super().predict(learner, tested, fold)\n"
        "cells = sweep_of_sixty.make_grid(sys.argv[1], [0.1, 0.3], [10], [0])\n"
        "for cell in cells: cell.study.__class__ = Deadly\n"
        "sweeps.compute(cells, 2)\n"
    )
    driver = start("-c", code, str(root), log=tmp_path / "driver.txt")
    driver.wait(200)
    told = (tmp_path / "driver.txt").read_text()
    assert "4 cells: 2 done, 2 failed" in told, told
    table = ledger.ledger(root)
    reasons = set(table.loc[table["state"] == "failed", "reason"])
    assert reasons == {"its process was ended 3 times (too little memory?)"}
