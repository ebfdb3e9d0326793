"""The training loop: killed at any moment it ends bit for bit like an uninterrupted one, and says
in one sentence what went wrong.
"""

import functools
import json
import multiprocessing
import os
import pathlib
import pickle
import random
import signal
import threading
import time

import numpy as np
import pytest
import torch

from colab_utils import files
from colab_utils.learning import checkpoints, training
from colab_utils.learning.checkpoints import CheckpointError
from colab_utils.learning.training import Interrupted, TrainingError

STEPS, EVERY = 60, 7
from repo import REPO

TESTS = REPO / "tests"


train = functools.partial(training.train, save_seconds=0.0, progress=False)


class Noisy:
    """Uses every source of randomness: dropout, numpy, python; Adam has a memory of its own."""

    def __init__(self, delay=0.0, fail_at=None):
        torch.manual_seed(0)
        np.random.seed(0)
        random.seed(0)
        self.model = torch.nn.Sequential(
            torch.nn.Linear(6, 8), torch.nn.Dropout(0.5), torch.nn.Linear(8, 1)
        )
        self.optimiser = torch.optim.Adam(self.model.parameters(), lr=0.01)
        self.delay, self.fail_at, self.made = delay, fail_at, []

    def state(self):
        return {"model": self.model.state_dict(), "optimiser": self.optimiser.state_dict()}

    def load(self, state):
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])

    def step(self, i):
        self.made.append(i)
        time.sleep(self.delay)
        x = torch.randn(4, 6) + float(np.random.rand()) + random.random()
        loss = (self.model.train()(x) - x.sum(dim=1, keepdim=True)).pow(2).mean()
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return {"loss": float("nan") if i == self.fail_at else loss.item()}

    def validate(self):
        x = torch.arange(12.0).reshape(2, 6) / 12
        with torch.no_grad():
            return -(self.model.eval()(x) - x.sum(dim=1, keepdim=True)).pow(2).mean().item()

    def bits(self):
        return {
            name: value.numpy().tobytes().hex() for name, value in self.model.state_dict().items()
        }


def records(folder):
    return [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted training: its learner and history."""
    learner = Noisy()
    return learner, train(learner, STEPS, tmp_path_factory.mktemp("whole"), every=EVERY)


def child(folder, ready):
    """What a process does that will be killed."""
    torch.set_num_threads(1)
    learner = Noisy(delay=0.003)
    ready.send("ready")
    train(learner, STEPS, folder, every=EVERY)


def test_killed_at_twenty_random_moments_it_ends_bit_for_bit_the_same(whole, tmp_path, monkeypatch):
    monkeypatch.setenv(
        "PYTHONPATH",
        os.pathsep.join([str(TESTS), str(TESTS.parent), os.environ.get("PYTHONPATH", "")]),
    )
    # one process imports torch; those that are killed are forked from it
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload([__name__, "pytest", "torch._dynamo"])
    moments, halfway = np.random.default_rng(0).uniform(0, 0.25, 20), 0
    for number, moment in enumerate(moments):
        folder = tmp_path / str(number)
        receiver, sender = processes.Pipe(duplex=False)
        process = processes.Process(target=child, args=(folder, sender))
        process.start()
        assert receiver.recv() == "ready"
        time.sleep(moment)
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        learner = Noisy()
        history = train(learner, STEPS, folder, every=EVERY)
        assert learner.bits() == whole[0].bits()
        assert (
            history.records == whole[1].records == records(folder)
            and history.best_step == whole[1].best_step
        )
        halfway += 0 < history.resumed_from < STEPS
    assert halfway >= 5


def test_history_matches_and_the_best_state_is_kept(whole):
    learner, history = whole
    assert [record["step"] for record in history.records] == list(range(1, STEPS + 1))
    scores = {
        record["step"]: record["validation"] for record in history.records if "validation" in record
    }
    assert sorted(scores) == [7, 14, 21, 28, 35, 42, 49, 56, 60]
    assert (
        history.best_score == max(scores.values()) == learner.validate()
        and scores[history.best_step] == history.best_score
    )
    # otherwise the last state would do as well
    assert history.best_step < STEPS


def test_a_finished_training_is_loaded_and_not_made_again(whole, tmp_path):
    train(Noisy(), STEPS, tmp_path, every=EVERY)
    learner = Noisy()
    history = train(learner, STEPS, tmp_path, every=EVERY)
    assert (
        learner.made == []
        and learner.bits() == whole[0].bits()
        and history.records == whole[1].records
    )


def interrupt_at(learner, step):
    """Make the learner's step send this process what Ctrl-C sends."""
    made = learner.step

    def stepping(i):
        if i == step:
            os.kill(os.getpid(), signal.SIGINT)
        return made(i)

    learner.step = stepping


@pytest.mark.parametrize("step", [0, 3, 6, 13, 40])
def test_an_interrupt_finishes_the_step_saves_and_goes_on_later(whole, tmp_path, step, capsys):
    first = Noisy()
    interrupt_at(first, step)
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(
        Interrupted,
        match=f"Stopped at step {step + 1} of 60; everything is saved in .*run the cell again",
    ) as stop:
        train(first, STEPS, tmp_path, every=EVERY)
    assert (
        signal.getsignal(signal.SIGINT) is handler
        and "finishing this step" in capsys.readouterr().out
    )
    assert first.made[-1] == step and stop.value._render_traceback_() == [str(stop.value)]
    second = Noisy()
    history = train(second, STEPS, tmp_path, every=EVERY)
    assert second.made[0] == history.resumed_from == step + 1
    assert second.bits() == whole[0].bits() and records(tmp_path) == whole[1].records


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
    if how == "flipped":
        middle = data.index(b"checkpoint") if b"checkpoint" in data[:200] else len(data) // 2
        position = max(middle, len(data) // 2)
        data = data[:position] + bytes([data[position] ^ 255]) + data[position + 1 :]
    path.write_bytes({"truncated": data[: len(data) // 2], "empty": b"", "flipped": data}[how])


@pytest.mark.parametrize("how", ["truncated", "empty", "flipped"])
def test_a_torn_checkpoint_gives_way_to_the_one_before(whole, tmp_path, how, capsys):
    learner = Noisy()
    interrupt_at(learner, 30)
    with pytest.raises(Interrupted):
        train(learner, STEPS, tmp_path, every=EVERY)
    torn(tmp_path / checkpoints.NAME, how)
    second = Noisy()
    history = train(second, STEPS, tmp_path, every=EVERY)
    assert "is torn" in capsys.readouterr().out and history.resumed_from == 28
    assert second.bits() == whole[0].bits() and records(tmp_path) == whole[1].records


def test_both_checkpoints_torn_starts_anew_and_says_so(whole, tmp_path, capsys):
    train(Noisy(), STEPS, tmp_path, every=EVERY)
    for name in (checkpoints.NAME, checkpoints.PREVIOUS):
        torn(tmp_path / name, "truncated")
    learner = Noisy()
    assert train(learner, STEPS, tmp_path, every=EVERY).resumed_from == 0
    assert (
        "starts anew" in capsys.readouterr().out
        and learner.bits() == whole[0].bits()
        and records(tmp_path) == whole[1].records
    )


def test_a_kill_between_the_two_renames_takes_the_one_before(whole, tmp_path):
    train(Noisy(), STEPS, tmp_path, every=EVERY)
    (tmp_path / checkpoints.NAME).unlink()
    learner = Noisy()
    assert train(learner, STEPS, tmp_path, every=EVERY).resumed_from == 56
    assert learner.bits() == whole[0].bits()


def test_a_torn_last_line_of_the_history_is_repaired(whole, tmp_path):
    learner = Noisy()
    interrupt_at(learner, 30)
    with pytest.raises(Interrupted):
        train(learner, STEPS, tmp_path, every=EVERY)
    with open(tmp_path / "history.jsonl", "a") as handle:
        handle.write('{"step": 32, "loss": 1.0}\n{"step": 33, "lo')
    train(Noisy(), STEPS, tmp_path, every=EVERY)
    assert records(tmp_path) == whole[1].records


@pytest.mark.parametrize(
    ("module", "mode"), [(checkpoints, "wb"), (files, "a")], ids=["checkpoint", "history"]
)
def test_a_full_disk_is_said_and_keeps_the_checkpoint(whole, tmp_path, monkeypatch, module, mode):
    learner = Noisy()
    interrupt_at(learner, 10)
    with pytest.raises(Interrupted):
        train(learner, STEPS, tmp_path, every=EVERY)
    before = (tmp_path / checkpoints.NAME).read_bytes()

    def full(path, how="r", **options):
        return open("/dev/full" if how == mode else path, how, **options)

    monkeypatch.setattr(module, "open", full, raising=False)
    with pytest.raises(
        files.DiskFullError,
        match="^no room left on the disk while writing .*; everything finished before is intact$",
    ):
        train(Noisy(), STEPS, tmp_path, every=EVERY)
    assert (tmp_path / checkpoints.NAME).read_bytes() == before and not list(tmp_path.glob(".*"))
    monkeypatch.undo()
    second = Noisy()
    train(second, STEPS, tmp_path, every=EVERY)
    assert second.bits() == whole[0].bits()


def test_early_stopping_by_patience_and_its_resumption(tmp_path):
    scores = iter([0.1, 0.5, 0.5, 0.4, 0.9])
    learner = Noisy()
    history = train(learner, 100, tmp_path, every=5, patience=2, validate=lambda: next(scores))
    assert history.stopped_early and (history.steps, history.best_step, history.best_score) == (
        20,
        10,
        0.5,
    )
    again = Noisy()
    second = train(again, 100, tmp_path, every=5, patience=2, validate=lambda: 1.0)
    assert again.made == [] and second.stopped_early and again.bits() == learner.bits()


def test_checkpoints_wait_for_their_seconds_but_the_last_one_does_not(whole, tmp_path, monkeypatch):
    written, save = [], checkpoints.save
    monkeypatch.setattr(
        checkpoints,
        "save",
        lambda folder, content: written.append(content["step"]) or save(folder, content),
    )
    learner = Noisy()
    train(learner, STEPS, tmp_path, every=EVERY, save_seconds=3600)
    assert (
        written == [STEPS]
        and learner.bits() == whole[0].bits()
        and records(tmp_path) == whole[1].records
    )


def test_without_validation_the_last_state_is_kept(tmp_path):
    learner = Noisy()
    learner.validate = None
    history = train(learner, 10, tmp_path, every=4)
    assert (
        history.best_step is None
        and history.steps == 10
        and not any("validation" in record for record in history.records)
    )


@pytest.mark.parametrize("fail_at", [0, 25])
def test_a_loss_that_is_not_finite_is_one_sentence(tmp_path, fail_at):
    with pytest.raises(
        TrainingError, match=f"loss is nan at step {fail_at + 1}: lower the learning rate"
    ):
        train(Noisy(fail_at=fail_at), STEPS, tmp_path, every=EVERY)
    content = checkpoints.load(tmp_path)
    assert (content is None) if fail_at == 0 else (content["step"] == 21)
    with pytest.raises(TrainingError, match="validation score is nan"):
        train(Noisy(), STEPS, tmp_path / "v", validate=lambda: float("nan"), every=EVERY)


def test_other_settings_are_refused_and_listed(tmp_path):
    train(Noisy(), 10, tmp_path, settings={"learning_rate": 0.1, "name": "x"})
    with pytest.raises(
        TrainingError, match=r"learning_rate was 0.1 and is now 0.2; steps was 10 and is now 20"
    ):
        train(Noisy(), 20, tmp_path, settings={"learning_rate": 0.2, "name": "x"})
    with pytest.raises(TrainingError, match="at least 1"):
        train(Noisy(), 0, tmp_path / "none")


class Odd(Noisy):
    """A learner whose state holds an object that only unpickling could bring back."""

    def state(self):
        return super().state() | {"odd": pathlib.Path("x")}


def test_a_state_that_needs_unpickling_is_refused_when_it_is_written(tmp_path):
    with pytest.raises(CheckpointError, match="no tensor, number, text, list or dict"):
        train(Odd(), 10, tmp_path, every=2)
    assert not (tmp_path / checkpoints.NAME).exists()


def test_a_malicious_checkpoint_runs_nothing(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'ran'}",)

    torch.save({"step": Evil()}, tmp_path / checkpoints.NAME)
    with pytest.raises(pickle.UnpicklingError):
        checkpoints.load(tmp_path)
    assert not (tmp_path / "ran").exists()


def test_random_states_come_back():
    states = checkpoints.rng_states()
    drawn = [
        random.random(),
        np.random.rand(),
        torch.rand(1).item(),
        random.gauss(0, 1),
        np.random.randn(),
    ]
    checkpoints.set_rng_states(states)
    assert drawn == [
        random.random(),
        np.random.rand(),
        torch.rand(1).item(),
        random.gauss(0, 1),
        np.random.randn(),
    ]


def test_in_a_thread_it_trains_without_touching_signals(tmp_path, whole):
    learner, handler = Noisy(), signal.getsignal(signal.SIGINT)
    thread = threading.Thread(
        target=train, args=(learner, STEPS, tmp_path), kwargs={"every": EVERY}
    )
    thread.start()
    thread.join()
    assert learner.bits() == whole[0].bits() and signal.getsignal(signal.SIGINT) is handler


def test_checkpoints_that_take_long_are_written_seldom(tmp_path, monkeypatch):
    written, save = [], training.checkpoints.save

    def slow(folder, content):
        written.append(content["step"])
        time.sleep(0.02)
        return save(folder, content)

    monkeypatch.setattr(training.checkpoints, "save", slow)
    begin = time.monotonic()
    train(Noisy(delay=0.005), 60, tmp_path, every=1, save_seconds=0.001)
    took = time.monotonic() - begin
    assert written[-1] == 60 and 2 <= len(written) <= 2 + took / 0.2, written
