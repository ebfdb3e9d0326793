"""Stopped at any moment a training goes on, and ends bit for bit like an uninterrupted one."""

import multiprocessing
import os
import pathlib
import random
import signal
import time

import numpy as np
import pytest
import torch
from noisy import EVERY, STEPS, Noisy, interrupt_at, records, train, until_killed
from repo import REPO

from colab_utils import files
from colab_utils.learning import checkpoints
from colab_utils.learning.training import Interrupted


@pytest.mark.slow
def test_killed_at_random_moments_it_ends_bit_for_bit_the_same(whole, tmp_path, monkeypatch):
    here = pathlib.Path(__file__).parent
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(here), str(REPO)]))
    # one process imports torch; those that are killed are forked from it
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["noisy", "torch._dynamo"])
    halfway = 0
    for number, moment in enumerate(np.random.default_rng(0).uniform(0, 0.25, 12)):
        folder = tmp_path / str(number)
        receiver, sender = processes.Pipe(duplex=False)
        process = processes.Process(target=until_killed, args=(folder, sender))
        process.start()
        assert receiver.recv() == "ready"
        time.sleep(moment)
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        learner = Noisy()
        history = train(learner, STEPS, folder, every=EVERY)
        assert learner.bits() == whole[0].bits()
        assert history.records == whole[1].records == records(folder)
        assert history.best_step == whole[1].best_step
        halfway += 0 < history.resumed_from < STEPS
    assert halfway >= 3


def stopped_at(step, folder):
    """A training that was interrupted there."""
    learner = interrupt_at(Noisy(), step)
    with pytest.raises(Interrupted) as stop:
        train(learner, STEPS, folder, every=EVERY)
    return learner, stop.value


@pytest.mark.parametrize("step", [0, 6, 40])
def test_an_interrupt_finishes_the_step_saves_and_goes_on_later(tmp_path, step, capsys, same_end):
    handler = signal.getsignal(signal.SIGINT)
    first, stop = stopped_at(step, tmp_path)
    assert signal.getsignal(signal.SIGINT) is handler
    for words in (f"step {step + 1} of 60", str(tmp_path), "run the cell again"):
        assert words in str(stop)
    assert "finishing this step" in capsys.readouterr().out
    assert first.made[-1] == step and stop._render_traceback_() == [str(stop)]
    second, history = same_end()
    assert second.made[0] == history.resumed_from == step + 1


def test_a_second_interrupt_stops_at_once(tmp_path):
    learner = Noisy()

    def twice(i):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        return {"loss": 1.0}

    learner.step = twice
    with pytest.raises(KeyboardInterrupt):
        train(learner, STEPS, tmp_path)
    assert not (tmp_path / checkpoints.NAME).exists()


def torn(path, how):
    data = path.read_bytes()
    middle = len(data) // 2
    flipped = data[:middle] + bytes([data[middle] ^ 255]) + data[middle + 1 :]
    path.write_bytes({"truncated": data[:middle], "empty": b"", "flipped": flipped}[how])


@pytest.mark.parametrize("how", ["truncated", "empty", "flipped"])
def test_a_torn_checkpoint_gives_way_to_the_one_before(tmp_path, how, capsys, same_end):
    stopped_at(30, tmp_path)
    torn(tmp_path / checkpoints.NAME, how)
    assert same_end()[1].resumed_from == 28
    assert "is torn" in capsys.readouterr().out


def test_both_checkpoints_torn_starts_anew_and_says_so(tmp_path, capsys, same_end):
    train(Noisy(), STEPS, tmp_path, every=EVERY)
    for name in (checkpoints.NAME, checkpoints.PREVIOUS):
        torn(tmp_path / name, "truncated")
    assert same_end()[1].resumed_from == 0
    assert "starts anew" in capsys.readouterr().out


def test_a_kill_between_the_two_renames_takes_the_one_before(tmp_path, same_end):
    train(Noisy(), STEPS, tmp_path, every=EVERY)
    (tmp_path / checkpoints.NAME).unlink()
    assert same_end()[1].resumed_from == 56


def test_a_torn_last_line_of_the_history_is_repaired(tmp_path, same_end):
    stopped_at(30, tmp_path)
    with open(tmp_path / "history.jsonl", "a") as handle:
        handle.write('{"step": 32, "loss": 1.0}\n{"step": 33, "lo')
    same_end()


@pytest.mark.parametrize(
    ("module", "mode"), [(checkpoints, "wb"), (files, "a")], ids=["checkpoint", "history"]
)
def test_a_full_disk_is_said_and_keeps_the_checkpoint(
    tmp_path, monkeypatch, module, mode, same_end
):
    stopped_at(10, tmp_path)
    before = (tmp_path / checkpoints.NAME).read_bytes()

    def full(path, how="r", **options):
        return open("/dev/full" if how == mode else path, how, **options)

    with monkeypatch.context() as patch:
        patch.setattr(module, "open", full, raising=False)
        with pytest.raises(files.DiskFullError, match="no room left .* is intact") as error:
            train(Noisy(), STEPS, tmp_path, every=EVERY)
    assert str(tmp_path) in str(error.value) and "\n" not in str(error.value)
    assert (tmp_path / checkpoints.NAME).read_bytes() == before and not list(tmp_path.glob(".*"))
    same_end()


def test_a_finished_training_is_loaded_and_not_made_again(tmp_path, same_end):
    same_end()
    assert same_end()[0].made == []


def test_checkpoints_wait_for_their_seconds_but_the_last_one_does_not(
    tmp_path, monkeypatch, same_end
):
    written, save = [], checkpoints.save

    def noted(folder, content):
        written.append(content["step"])
        return save(folder, content)

    monkeypatch.setattr(checkpoints, "save", noted)
    train(Noisy(), STEPS, tmp_path, every=EVERY, save_seconds=3600)
    assert written == [STEPS]
    assert same_end()[0].made == []


def test_checkpoints_that_take_long_are_written_seldom(tmp_path, monkeypatch):
    written, save = [], checkpoints.save

    def slow(folder, content):
        written.append(content["step"])
        time.sleep(0.01)
        return save(folder, content)

    monkeypatch.setattr(checkpoints, "save", slow)
    begin = time.monotonic()
    train(Noisy(delay=0.005), STEPS, tmp_path, every=1, save_seconds=0.001)
    took = time.monotonic() - begin
    assert written[-1] == STEPS and 2 <= len(written) <= 2 + took / 0.1, written


def test_random_states_come_back():
    def draw():
        one = random.random(), random.gauss(0, 1)
        return (*one, np.random.rand(), np.random.randn(), torch.rand(1).item())

    states = checkpoints.rng_states()
    first = draw()
    checkpoints.set_rng_states(states)
    assert draw() == first
