"""The one training loop: resumes after a kill to the same numbers, stops cleanly on an interrupt,
keeps the best state on validation.

A learner is any object with `state() -> dict` of tensors and numbers, `load(state)`, `step(i) ->
dict[str, float]` that makes training step i (from 0), and optionally `validate() -> float`, higher
is better. All its randomness comes from the global generators, from i, or from what is in its
state.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import json
import math
import os
import pathlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import torch

from colab_utils import files
from colab_utils.learning import checkpoints
from colab_utils.progress import bar as progress_bar


class TrainingError(RuntimeError):
    """Training that cannot go on; the message says at which step, why, and what to change."""


class Interrupted(Exception):
    """Training was stopped by the user and everything is saved; running it again goes on from
    there.
    """

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows instead of a traceback."""
        return [str(self)]


class Learner(Protocol):
    """What `train` needs of a method."""

    def state(self) -> dict[str, Any]: ...
    def load(self, state: dict[str, Any]) -> None: ...
    def step(self, i: int) -> dict[str, float]: ...


class ModuleLearner:
    """A learner whose state is that of `module` and `optimiser`, which a subclass sets."""

    module: torch.nn.Module
    optimiser: torch.optim.Optimizer

    def state(self) -> dict[str, Any]:
        """Weights and optimiser: with torch's own random state, which the checkpoint holds, all
        that the next step depends on.
        """
        return {"module": self.module.state_dict(), "optimiser": self.optimiser.state_dict()}

    def load(self, state: dict[str, Any]) -> None:
        """Put back what `state` gave."""
        self.module.load_state_dict(state["module"])
        self.optimiser.load_state_dict(state["optimiser"])


@dataclasses.dataclass
class History:
    """What happened: `records` (one dict a step: step from 1, the step's values, `validation` where
    it was measured), steps made, `best_step` and `best_score` (None without validation), whether it
    `stopped_early`, and the step it was `resumed_from` (0: fresh).
    """

    records: list[dict]
    steps: int
    best_step: int | None
    best_score: float | None
    stopped_early: bool
    resumed_from: int


def train(
    learner: Learner,
    steps: int,
    folder: str | os.PathLike,
    *,
    validate: Callable[[], float] | None = None,
    every: int = 100,
    patience: int | None = None,
    progress: bool = True,
    settings: dict | None = None,
    save_seconds: float = 5.0,
    on_record: Callable[[list[dict]], None] | None = None,
    desc: str = "training",
) -> History:
    """Make `steps` steps of `learner`, with checkpoint.pt and history.jsonl in `folder`; call it
    again after a kill and it goes on.

    validate: score to maximise (default: the learner's own validate(), if it has one), measured
    every `every` steps and after the last; the learner ends with the best state. patience: stop
    after so many validations without a better score. settings: plain JSON values that decide the
    result; a checkpoint made with others is refused. save_seconds: a checkpoint is written after
    each `every` steps, but not sooner than so many seconds after the last one, nor than ten times
    what writing that took: what a kill can cost. on_record: called with all records so far after
    each `every` steps, such as a live curve. desc: what the bar says. On the CPU an interrupted and
    resumed training ends bit for bit like an uninterrupted one. Raises Interrupted, TrainingError
    (a value that is not finite, other settings), CheckpointError, files.DiskFullError.
    """
    if steps < 1 or every < 1:
        raise TrainingError(f"steps = {steps}, every = {every}: both must be at least 1")
    session = _Session(
        learner,
        steps,
        pathlib.Path(folder),
        validate or getattr(learner, "validate", None),
        every,
        patience,
        settings,
    )
    resumed_from = session.resume()
    with (
        _interrupts() as interrupted,
        progress_bar(total=steps, initial=session.step, disable=not progress, desc=desc) as bar,
    ):
        while not session.finished:
            session.advance()
            bar.update(1)
            if session.step % every == 0 or session.step == steps:
                session.measure()
                bar.set_postfix(session.shown())
                if on_record is not None:
                    on_record(session.records)
                if session.finished or session.due(save_seconds):
                    session.save()
            if interrupted.is_set() and not session.finished:
                session.save()
                raise Interrupted(
                    f"Stopped at step {session.step} of {steps}; everything is saved in {folder}:"
                    " run the cell again to go on."
                )
    return session.close(resumed_from)


class _Session:
    """The state of one call of `train`: where it is, the best so far, the records not yet written."""

    def __init__(
        self,
        learner: Learner,
        steps: int,
        folder: pathlib.Path,
        validate: Callable[[], float] | None,
        every: int,
        patience: int | None,
        settings: dict | None,
    ):
        self.learner, self.steps, self.folder, self.validate, self.patience = (
            learner,
            steps,
            folder,
            validate,
            patience,
        )
        self.settings = json.loads(
            files.canonical_json(
                {**(settings or {}), "steps": steps, "every": every, "patience": patience}
            )
        )
        self.step, self.best, self.stale = 0, None, 0
        self.records: list[dict] = []
        self.unwritten = 0
        self.checked = False
        self.saved_at, self.saving_took = time.monotonic(), 0.0

    def due(self, seconds: float) -> bool:
        """Whether a checkpoint is to be written; a large network's takes a tenth of the time at
        most.
        """
        return time.monotonic() - self.saved_at >= (
            max(seconds, 10 * self.saving_took) if seconds else 0.0
        )

    @property
    def stopped_early(self) -> bool:
        return self.patience is not None and self.stale >= self.patience

    @property
    def finished(self) -> bool:
        return self.step >= self.steps or self.stopped_early

    def resume(self) -> int:
        """Go to the newest checkpoint, if there is one; returns its step (0: a fresh start)."""
        content = checkpoints.load(self.folder)
        if content is not None:
            self._check_settings(json.loads(content["settings"]))
            self.step, self.best, self.stale = content["step"], content["best"], content["stale"]
            self.learner.load(content["learner"])
            checkpoints.set_rng_states(content["rng"])
        path = self.folder / "history.jsonl"
        # what was written after the checkpoint is made again, so it goes
        if path.exists():
            self.records = [
                record for record in files.read_jsonl(path) if record["step"] <= self.step
            ]
            files.write_text(path, "".join(json.dumps(record) + "\n" for record in self.records))
        return self.step

    def _check_settings(self, stored: dict) -> None:
        """Raise TrainingError that lists the settings in which the checkpoint differs."""
        names = sorted(
            name
            for name in {*stored, *self.settings}
            if stored.get(name) != self.settings.get(name)
        )
        if names:
            listed = "; ".join(
                f"{name} was {stored.get(name)!r} and is now {self.settings.get(name)!r}"
                for name in names
            )
            raise TrainingError(
                f"the checkpoint in {self.folder} was made with other settings ({listed}): use"
                " another folder or delete this one"
            )

    def advance(self) -> None:
        """Make one step and keep its record. Raises TrainingError for a value that is not finite."""
        try:
            values = {name: float(value) for name, value in self.learner.step(self.step).items()}
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if not isinstance(
                error, (torch.OutOfMemoryError, MemoryError)
            ) and "allocate memory" not in str(error):
                raise
            raise TrainingError(
                f"out of memory at step {self.step + 1}: lower what is held at once (batch or"
                " meta_batch, queries, max_frames), or the width of the network"
            ) from error
        bad = next((name for name, value in values.items() if not math.isfinite(value)), None)
        if bad is not None:
            raise TrainingError(
                f"{bad} is {values[bad]} at step {self.step + 1}: lower the learning rate or look"
                f" for broken inputs; the last checkpoint in {self.folder} is from before"
            )
        self.step += 1
        self.records.append({"step": self.step, **values})
        self.unwritten += 1

    def measure(self) -> None:
        """Validate, and keep the state if it is the best so far (the first of equal ones)."""
        if self.validate is None:
            return
        score = float(self.validate())
        if not math.isfinite(score):
            raise TrainingError(
                f"the validation score is {score} at step {self.step}: look for an empty validation"
                " set or broken inputs"
            )
        self.records[-1]["validation"] = score
        self.stale += 1
        if self.best is None or score > self.best["score"]:
            self.best, self.stale = (
                {"score": score, "step": self.step, "state": copy.deepcopy(self.learner.state())},
                0,
            )

    def save(self) -> None:
        """Append the new records to history.jsonl, then write the checkpoint that vouches for them."""
        begin = time.monotonic()
        for record in self.records[len(self.records) - self.unwritten :]:
            files.append_jsonl(self.folder / "history.jsonl", record)
        self.unwritten = 0
        path = checkpoints.save(
            self.folder,
            {
                "step": self.step,
                "stale": self.stale,
                "best": self.best,
                "learner": self.learner.state(),
                "settings": files.canonical_json(self.settings),
                "rng": checkpoints.rng_states(),
            },
        )
        if not self.checked:
            checkpoints.check_loadable(path)
            self.checked = True
        self.saved_at = time.monotonic()
        self.saving_took = self.saved_at - begin

    def shown(self) -> dict[str, str]:
        """The newest values, as the progress bar shows them."""
        return {name: f"{value:.3f}" for name, value in self.records[-1].items() if name != "step"}

    def close(self, resumed_from: int) -> History:
        """Put the best state into the learner and tell what happened."""
        if self.best is not None:
            self.learner.load(copy.deepcopy(self.best["state"]))
        step, score = (self.best["step"], self.best["score"]) if self.best else (None, None)
        return History(
            self.records,
            self.step,
            step,
            score,
            self.stopped_early and self.step < self.steps,
            resumed_from,
        )


@contextlib.contextmanager
def _interrupts() -> Iterator[threading.Event]:
    """An event that the first interrupt sets, so that the step in progress is finished; a second
    one stops at once.

    Outside the main thread signals cannot be caught: there the event stays unset.
    """
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = signal.getsignal(signal.SIGINT)

    def ask(number: int, frame: Any) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()
        print("finishing this step, then stopping (interrupt again to stop at once)")

    signal.signal(signal.SIGINT, ask)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def single_thread(wanted: bool = True) -> Iterator[None]:
    """Let torch compute with one thread meanwhile, where `wanted`.

    The tensors of a small perceptron are too small to share: a second thread gains nothing alone,
    and beside other work the waiting threads make it several times slower. The numbers then do not
    depend on how many cores there are, either.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1 if wanted else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
