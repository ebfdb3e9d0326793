"""A learner that uses every source of randomness, and what stops its training."""

import functools
import json
import os
import random
import signal
import time

import numpy as np
import torch

from colab_utils.learning import training

STEPS, EVERY = 60, 7

train = functools.partial(training.train, save_seconds=0.0, progress=False)


class Noisy:
    """Dropout, numpy and python draw for it; Adam has a memory of its own."""

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
        if self.delay:
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
        state = self.model.state_dict()
        return {name: value.numpy().tobytes() for name, value in state.items()}


def records(folder):
    return [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]


def interrupt_at(learner, step):
    """Make the learner's step send this process what Ctrl-C sends."""
    made = learner.step

    def stepping(i):
        if i == step:
            os.kill(os.getpid(), signal.SIGINT)
        return made(i)

    learner.step = stepping
    return learner


def until_killed(folder, ready):
    """What a process does that will be killed."""
    torch.set_num_threads(1)
    learner = Noisy(delay=0.003)
    ready.send("ready")
    train(learner, STEPS, folder, every=EVERY)
