"""Killed at any moment a study goes on and ends as if nothing had happened: all five, by SIGKILL.

Four roots a study (KILLS=4), each killed three times on its way.
"""

import importlib
import multiprocessing
import os
import random
import signal
import time

import pytest
import torch
from small_studies import STUDIES, module_of, results

pytestmark = pytest.mark.long

KILLS = int(os.environ.get("KILLS", "4"))


def work(module, root):
    """What a child process does: the small study of a test module, from start to end."""
    torch.set_num_threads(1)
    from colab_utils.learning import training

    training.train.__kwdefaults__["save_seconds"] = 0.0  # a checkpoint at every chance
    importlib.import_module(module).small_study(root)


def run(module, root, kill_after=None):
    """The study in a child, killed after so many seconds; returns the seconds it took."""
    child = multiprocessing.get_context("fork").Process(target=work, args=(module, root))
    begin = time.monotonic()
    child.start()
    child.join(kill_after if kill_after is not None else 300)
    if kill_after is not None and child.is_alive():
        os.kill(child.pid, signal.SIGKILL)
        child.join()
    elif kill_after is None:
        assert child.exitcode == 0
    return time.monotonic() - begin


@pytest.mark.parametrize("study", STUDIES)
def test_killed_and_run_again_it_ends_the_same(study, tmp_path):
    module = module_of(study)
    seconds = run(module, tmp_path / "whole")
    whole = results(tmp_path / "whole")
    assert whole, "the study leaves finished runs"
    rng = random.Random(study)
    for number in range(KILLS):
        root = tmp_path / f"killed-{number}"
        for _ in range(3):  # killed again while it goes on
            run(module, root, kill_after=rng.uniform(0.05, 0.8) * seconds)
        run(module, root)
        assert results(root) == whole, f"kill {number} of {study}"
