"""The training loop: what it keeps, when it stops, and what it refuses in one sentence."""

import os
import pathlib
import signal
import threading

import pytest
import torch
from noisy import EVERY, STEPS, Noisy, train

from colab_utils.learning import checkpoints
from colab_utils.learning.checkpoints import CheckpointError
from colab_utils.learning.training import TrainingError


def test_history_matches_and_the_best_state_is_kept(whole):
    learner, history = whole
    assert [record["step"] for record in history.records] == list(range(1, STEPS + 1))
    scores = {}
    for record in history.records:
        if "validation" in record:
            scores[record["step"]] = record["validation"]
    assert sorted(scores) == [7, 14, 21, 28, 35, 42, 49, 56, 60]
    assert history.best_score == max(scores.values()) == learner.validate()
    assert scores[history.best_step] == history.best_score
    assert history.best_step < STEPS, "otherwise the last state would do as well"


def scored(scores):
    """A learner whose validations give these scores."""
    learner = Noisy()
    learner.validate = iter(scores).__next__
    return learner


def test_early_stopping_by_patience_and_its_resumption(tmp_path):
    learner = scored([0.1, 0.5, 0.5, 0.4, 0.9])
    history = train(learner, 100, tmp_path, every=5, patience=2)
    assert history.stopped_early and history.steps == 20
    assert (history.best_step, history.best_score) == (10, 0.5)
    again = scored([1.0])
    second = train(again, 100, tmp_path, every=5, patience=2)
    assert again.made == [] and second.stopped_early and again.bits() == learner.bits()


def test_without_validation_the_last_state_is_kept(tmp_path):
    learner = Noisy()
    learner.validate = None
    history = train(learner, 10, tmp_path, every=4)
    assert history.best_step is None and history.steps == 10
    assert not any("validation" in record for record in history.records)


def test_in_a_thread_it_trains_without_touching_signals(tmp_path, whole):
    learner, handler = Noisy(), signal.getsignal(signal.SIGINT)
    thread = threading.Thread(
        target=train, args=(learner, STEPS, tmp_path), kwargs={"every": EVERY}
    )
    thread.start()
    thread.join()
    assert learner.bits() == whole[0].bits() and signal.getsignal(signal.SIGINT) is handler


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize("fail_at", [0, 25])
def test_a_loss_that_is_not_finite_is_one_sentence(tmp_path, fail_at):
    with pytest.raises(TrainingError, match=f"loss is nan at step {fail_at + 1}.*learning rate"):
        train(Noisy(fail_at=fail_at), STEPS, tmp_path, every=EVERY)
    content = checkpoints.load(tmp_path)
    assert (content is None) if fail_at == 0 else (content["step"] == 21)
    with pytest.raises(TrainingError, match="validation score is nan"):
        train(scored([float("nan")]), STEPS, tmp_path / "v", every=EVERY)


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("can't allocate memory: 9 GB")])
def test_memory_that_is_out_is_one_sentence(tmp_path, error):
    learner = Noisy()

    def step(i):
        raise error

    learner.step = step
    with pytest.raises(TrainingError, match="out of memory at step 1: lower"):
        train(learner, STEPS, tmp_path)


def test_other_settings_are_refused_and_listed(tmp_path):
    train(Noisy(), 10, tmp_path, settings={"learning_rate": 0.1, "name": "x"})
    with pytest.raises(TrainingError) as error:
        train(Noisy(), 20, tmp_path, settings={"learning_rate": 0.2, "name": "x"})
    for words in ("learning_rate was 0.1 and is now 0.2", "steps was 10 and is now 20"):
        assert words in str(error.value)
    assert "name was" not in str(error.value) and str(tmp_path) in str(error.value)
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
    with pytest.raises(CheckpointError, match="pickle"):
        checkpoints.load(tmp_path)
    assert not (tmp_path / "ran").exists()
