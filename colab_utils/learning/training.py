"""The one training loop: resumes after a kill to the same numbers, and keeps the best state.

It stops cleanly on an interrupt. A learner is any object with `state() -> dict` of tensors and
numbers, `load(state)`, `step(i) -> dict[str, float]` that makes training step i (from 0), and
optionally `validate() -> float`, higher is better. All its randomness comes from the global
generators, from i, or from what is in its state.
"""

import contextlib
import copy
import dataclasses
import json
import math
import pathlib
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import torch
from threadpoolctl import threadpool_limits

from colab_utils import files
from colab_utils.learning import checkpoints
from colab_utils.progress import bar as progress_bar


class TrainingError(RuntimeError):
    """Training that cannot go on; the message says at which step, why, and what to change."""


class Interrupted(Exception):
    """The user stopped a training; all is saved, and running it again goes on from there."""

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows instead of a traceback."""
        return [str(self)]


class Learner(Protocol):
    """What `train` needs of a method."""

    def state(self) -> dict[str, Any]:
        """All that the next step depends on, besides the random generators."""

    def load(self, state: dict[str, Any]) -> None:
        """Put back what `state` gave."""

    def step(self, i: int) -> dict[str, float]:
        """Make training step i, from 0; what it measured."""


class ModuleLearner:
    """A learner whose state is that of `module` and `optimiser`, which a subclass sets."""

    module: torch.nn.Module
    optimiser: torch.optim.Optimizer

    def state(self) -> dict[str, Any]:
        """Weights and optimiser: all that the next step depends on.

        Besides torch's own random state, which the checkpoint holds.
        """
        return {"module": self.module.state_dict(), "optimiser": self.optimiser.state_dict()}

    def load(self, state: dict[str, Any]) -> None:
        """Put back what `state` gave."""
        self.module.load_state_dict(state["module"])
        self.optimiser.load_state_dict(state["optimiser"])


@dataclasses.dataclass
class History:
    """What happened in a training.

    Attributes:
        records: one dict a step: step from 1, the step's values, `validation` where measured.
        steps: how many were made.
        best_step: the step whose state was kept; None without validation.
        best_score: its validation score; None without validation.
        stopped_early: whether `patience` ended it.
        resumed_from: the step that this call went on from; 0 for a fresh start.
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
    folder: files.AnyPath,
    *,
    every: int = 100,
    patience: int | None = None,
    progress: bool = True,
    settings: Mapping[str, Any] | None = None,
    save_seconds: float = 5.0,
    on_record: Callable[[list[dict]], None] | None = None,
    on_saved: Callable[[bool], None] | None = None,
    desc: str = "training",
) -> History:
    """Make steps of a learner, with checkpoints in a folder; called again after a kill it goes on.

    On the CPU an interrupted and resumed training ends bit for bit like an uninterrupted one.

    Args:
        learner: what learns. It ends with the state of the best validation, if it validates.
        steps: how many.
        folder: for checkpoint.pt and history.jsonl.
        every: steps from one validation to the next; the last step is validated, too.
        patience: stop after so many validations without a better score; None for never.
        progress: whether a bar is shown.
        settings: plain JSON values that decide the result; a checkpoint of others is refused.
        save_seconds: of work that a kill can cost; ten times what writing takes, if that is more.
        on_record: called with all records so far after `every` steps, such as a live curve.
        on_saved: called after each checkpoint; with True where the user stopped it.
        desc: what the bar says.

    Raises:
        Interrupted: the user stopped it.
        TrainingError: a value is not finite, memory is out, the settings are others.
        CheckpointError, DiskFullError: a checkpoint cannot be written.
    """
    if steps < 1 or every < 1:
        raise TrainingError(f"steps = {steps}, every = {every}: both must be at least 1")
    rules = {**(settings or {}), "steps": steps, "every": every, "patience": patience}
    session = _Session(learner, pathlib.Path(folder), rules, on_saved)
    session.resume()
    bar = progress_bar(total=steps, initial=session.step, disable=not progress, desc=desc)
    with bar, _interrupts() as interrupted:
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
                session.save(stopped=True)
                raise Interrupted(
                    f"Stopped at step {session.step} of {steps}; everything is saved in {folder}: "
                    "run the cell again to go on."
                )
    return session.close()


class _Session:
    """One call of `train`: where it is, the best so far, and the records.

    Args:
        learner: what learns.
        folder: of the checkpoint and the history.
        rules: what decides the result; steps, every and patience are among it.
        on_saved: of `train`.
    """

    def __init__(
        self,
        learner: Learner,
        folder: pathlib.Path,
        rules: Mapping[str, Any],
        on_saved: Callable[[bool], None] | None,
    ):
        self.learner = learner
        self.on_saved = on_saved
        self.folder = folder
        self.rules = json.loads(files.canonical_json(rules))
        self.step = self.resumed_from = 0
        self.best: dict[str, Any] | None = None
        self.stale = 0  # validations since the best one
        self.records: list[dict] = []
        self.written = 0  # how many of them are on disk
        self.checked = False  # whether a checkpoint was found to be loadable
        self.saved_at = time.monotonic()
        self.saving_took = 0.0

    @property
    def stopped_early(self) -> bool:
        patience = self.rules["patience"]
        return patience is not None and self.stale >= patience

    @property
    def finished(self) -> bool:
        return self.step >= self.rules["steps"] or self.stopped_early

    def resume(self) -> None:
        """Go to the newest checkpoint, if there is one."""
        content = checkpoints.load(self.folder)
        if content is not None:
            self._check_rules(json.loads(content["settings"]))
            self.step = self.resumed_from = content["step"]
            self.best = content["best"]
            self.stale = content["stale"]
            try:
                self.learner.load(content["learner"])
                checkpoints.set_rng_states(content["rng"])
            except (LookupError, RuntimeError, TypeError, ValueError) as error:
                raise TrainingError(
                    f"the checkpoint in {self.folder} is of another network "
                    f"({files.one_line(error)}): use another folder or delete this one"
                ) from error
        path = self.folder / "history.jsonl"
        if path.exists():
            # what was written after the checkpoint is made again, so it goes
            for record in files.read_jsonl(path):
                if record["step"] <= self.step:
                    self.records.append(record)
            lines = [json.dumps(record) + "\n" for record in self.records]
            files.write_text(path, "".join(lines))
            self.written = len(self.records)

    def _check_rules(self, stored: dict) -> None:
        """Raise TrainingError that lists the settings in which the checkpoint differs."""
        other = []
        for name in sorted({*stored, *self.rules}):
            before, now = stored.get(name), self.rules.get(name)
            if before != now:
                other.append(f"{name} was {before!r} and is now {now!r}")
        if other:
            raise TrainingError(
                f"the checkpoint in {self.folder} was made with other settings "
                f"({'; '.join(other)}): use another folder or delete this one"
            )

    def advance(self) -> None:
        """Make one step and keep its record."""
        try:
            values = self.learner.step(self.step)
        except (MemoryError, RuntimeError) as error:
            full = isinstance(error, (MemoryError, torch.OutOfMemoryError))
            if not full and "allocate memory" not in str(error):
                raise
            raise TrainingError(
                f"out of memory at step {self.step + 1}: lower what is held at once (batch or "
                "meta_batch, queries, max_frames), or the width of the network"
            ) from error
        record = {"step": self.step + 1}
        for name, value in values.items():
            record[name] = float(value)
            if not math.isfinite(record[name]):
                raise TrainingError(
                    f"{name} is {record[name]} at step {self.step + 1}: lower the learning rate "
                    f"or look for broken inputs; the last checkpoint in {self.folder} is from "
                    "before"
                )
        self.step += 1
        self.records.append(record)

    def measure(self) -> None:
        """Validate, and keep the state if it is the best so far (the first of equal ones)."""
        validate = getattr(self.learner, "validate", None)
        if validate is None:
            return
        score = float(validate())
        if not math.isfinite(score):
            raise TrainingError(
                f"the validation score is {score} at step {self.step}: look for an empty "
                "validation set or broken inputs"
            )
        self.records[-1]["validation"] = score
        self.stale += 1
        if self.best is None or score > self.best["score"]:
            state = copy.deepcopy(self.learner.state())
            self.best = {"score": score, "step": self.step, "state": state}
            self.stale = 0

    def due(self, seconds: float) -> bool:
        """Whether to write a checkpoint: a large network's takes a tenth of the time at most."""
        waited = time.monotonic() - self.saved_at
        return not seconds or waited >= max(seconds, 10 * self.saving_took)

    def save(self, stopped: bool = False) -> None:
        """Append new records to the history, then write the checkpoint that vouches for them."""
        begin = time.monotonic()
        files.append_jsonl(self.folder / "history.jsonl", self.records[self.written :])
        self.written = len(self.records)
        content = {
            "step": self.step,
            "stale": self.stale,
            "best": self.best,
            "learner": self.learner.state(),
            "settings": files.canonical_json(self.rules),
            "rng": checkpoints.rng_states(),
        }
        path = checkpoints.save(self.folder, content)
        if not self.checked:
            checkpoints.check_loadable(path)
            self.checked = True
        self.saved_at = time.monotonic()
        self.saving_took = self.saved_at - begin
        if self.on_saved is not None:
            self.on_saved(stopped)

    def shown(self) -> dict[str, str]:
        """The newest values, as the progress bar shows them."""
        return {name: f"{value:.3f}" for name, value in self.records[-1].items() if name != "step"}

    def close(self) -> History:
        """Put the best state into the learner and tell what happened."""
        best = self.best or {"step": None, "score": None}
        if self.best is not None:
            self.learner.load(copy.deepcopy(self.best["state"]))
        return History(
            self.records,
            self.step,
            best["step"],
            best["score"],
            self.stopped_early and self.step < self.rules["steps"],
            self.resumed_from,
        )


@contextlib.contextmanager
def _interrupts() -> Iterator[threading.Event]:
    """An event that the first interrupt sets, so that the step in progress is finished.

    A second one stops at once. Outside the main thread signals cannot be caught: there the event
    stays unset.
    """
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def ask(number: int, frame: Any) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()
        print("finishing this step, then stopping (interrupt again to stop at once)")

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def single_thread(wanted: bool = True) -> Iterator[None]:
    """Let torch and the linear algebra of numpy compute with one thread meanwhile, where `wanted`.

    The tensors of a small perceptron are too small to share: a second thread gains nothing alone,
    and beside other work the waiting threads make it several times slower. The numbers then do not
    depend on how many cores there are, either, to the last bit.
    """
    before = torch.get_num_threads()
    if wanted:
        torch.set_num_threads(1)
    try:
        with threadpool_limits(1 if wanted else None, user_api="blas"):
            yield
    finally:
        torch.set_num_threads(before)
