"""Killed at any moment a study goes on and ends as if nothing had happened: all five, by SIGKILL.

Four roots a study (KILLS=4), each killed three times on its way.
"""

import hashlib
import importlib
import multiprocessing
import os
import random
import signal
import sys
import time

import pytest
import torch
from repo import REPO

pytestmark = pytest.mark.long

KILLS = int(os.environ.get("KILLS", "4"))
# where the tests of a study lie: one of them has `small_study(root)`, the study from start to end
STUDIES = {
    "contract": "learning",
    "baselines": "methods/baselines",
    "maml": "methods/maml",
    "emofsl": "methods/emofsl",
    "da_mldg": "methods/da_mldg",
    "alexnet": "methods/alexnet",
}
RESULTS = ("predictions.csv", "metrics.json", "config.json", "split.csv", "steps.csv")


def module_of(study):
    """The name of the test module with the small study, which then can be imported."""
    folder = REPO / "tests" / STUDIES[study]
    found = [path for path in folder.glob("*.py") if "def small_study(" in path.read_text()]
    assert len(found) == 1, f"one small study in {folder}"
    sys.path.insert(0, str(folder))
    return found[0].stem


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


def results(root):
    """{folder/file: hash} of all finished runs and trained weights."""
    found = {}
    for mark in root.glob("*/*/*/DONE"):
        for name in (*RESULTS, "model.safetensors"):
            path = mark.parent / name
            if path.exists():
                key = str(path.relative_to(root))
                found[key] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


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
