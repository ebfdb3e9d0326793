"""Killed while it reads back from Drive, a study goes on at the next call; Drive stays whole."""

import os
import random
import signal
import time

import pytest
import torch
from one_file_method import SoftmaxStudy
from test_at_once import FORK
from test_study import NINE, content, make_study

from colab_utils.drive import memory as memory_file
from colab_utils.learning.study import Tested

KILLS = int(os.environ.get("TRIES", "20"))


def work(root, drive):
    """What a child process does: the whole study, with what Drive has."""
    torch.set_num_threads(1)
    study = make_study(root, drive_folder=drive)
    for fold in study.folds:  # trainings are read back although the finished run needs none
        study.trained(Tested("softmax", NINE), fold)
    return study.evaluate([Tested("softmax", NINE)], pictures=False)["softmax"]


@pytest.mark.long
def test_killed_while_it_reads_back(tmp_path, monkeypatch):
    monkeypatch.setattr(memory_file, "WORTH", 0.0)
    drive = tmp_path / "MyDrive"
    drive.mkdir()
    whole = content(work(tmp_path / "whole", drive))
    on_drive = {path: path.read_bytes() for path in drive.rglob("*") if path.is_file()}
    begin = time.monotonic()
    work(tmp_path / "read", drive)
    seconds = time.monotonic() - begin
    rng = random.Random(0)
    killed = 0
    for number in range(KILLS):
        root = tmp_path / f"killed-{number}"
        child = FORK.Process(target=work, args=(root, drive))
        child.start()
        child.join(rng.uniform(0.0, seconds))
        if child.is_alive():
            os.kill(child.pid, signal.SIGKILL)
            killed += 1
        child.join()
        with monkeypatch.context() as patch:  # nothing is left to compute

            def refused(*arguments):
                raise AssertionError("computed again")

            patch.setattr(SoftmaxStudy, "predict", refused)
            assert content(work(root, drive)) == whole, number
    assert killed > KILLS / 2
    assert on_drive == {path: path.read_bytes() for path in drive.rglob("*") if path.is_file()}
