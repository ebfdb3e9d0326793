"""Killed at any moment a study goes on and ends as if nothing had happened: all five, by SIGKILL.

Each root is killed three times on its way; `make long` takes four roots a study (KILLS=4), the
ordinary tests one.
"""

import hashlib
import importlib
import multiprocessing
import os
import random
import signal
import time

import pytest
import torch

KILLS = int(os.environ.get("KILLS", "1"))
STUDIES = {
    "contract": "test_study",
    "baselines": "test_baselines",
    "maml": "test_maml_study",
    "emofsl": "test_emofsl_study",
    "da_mldg": "test_da_mldg_study",
    "alexnet": "test_alexnet",
}
RESULTS = ("predictions.csv", "metrics.json", "config.json", "split.csv", "steps.csv")


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
    module = STUDIES[study]
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
