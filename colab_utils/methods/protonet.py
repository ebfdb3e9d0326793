"""Prototypical networks (Snell et al. 2017): an embedding in which the class means of the support are near their queries."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from colab_utils.methods.episode_baselines import class_means
from colab_utils.methods.tasks import Batch, Tasks, accuracy, probabilities


class ProtoNetLearner:
    """Episodic training of an embedding, one meta-batch a step, for `training.train`.

    module: a network, of which the embedding is used and the head is not. sample(i): the Tasks of step i; valid: fixed Tasks whose mean query
    accuracy picks the checkpoint. Adam at `rate`.
    """

    def __init__(self, module: nn.Module, sample: Callable[[int], Tasks], valid: Tasks, rate: float = 1e-3):
        self.module, self.sample, self.valid = module, sample, valid
        self.optimiser = torch.optim.Adam(module.parameters(), lr=rate)

    def state(self) -> dict[str, Any]:
        """Weights and optimiser."""
        return {"model": self.module.state_dict(), "optimiser": self.optimiser.state_dict()}

    def load(self, state: dict[str, Any]) -> None:
        """Put back what `state` gave."""
        self.module.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])

    def step(self, i: int) -> dict[str, float]:
        """One update on a meta-batch; the mean query loss."""
        tasks = self.sample(i)
        logits = self._logits(tasks).masked_fill(~tasks.query.active.unsqueeze(1), float("-inf"))
        loss = functional.cross_entropy(logits.flatten(0, 1), tasks.query.y.flatten())
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return {"query_loss": loss.item()}

    def _logits(self, tasks: Tasks) -> torch.Tensor:
        """Minus the squared distances of the query's embeddings to the prototypes, (tasks, n_query, classes)."""
        support, query = (self._embedded(batch) for batch in tasks)
        means = class_means(support, tasks.support.y, tasks.support.active.shape[1])
        return -(query.unsqueeze(2) - means.unsqueeze(1)).square().sum(dim=-1)

    def _embedded(self, batch: Batch) -> torch.Tensor:
        """Embeddings (tasks, n, embedding_dim); all utterances pass through the network at once."""
        flat = tuple(part.flatten(0, 1) for part in batch.inputs)
        return self.module(*flat)[1].unflatten(0, batch.y.shape)

    def validate(self) -> float:
        """Mean query accuracy of the validation episodes, in [0, 1]."""
        return float(accuracy(self.scores(self.valid), self.valid.query.y).mean())

    @torch.no_grad()
    def scores(self, tasks: Tasks) -> torch.Tensor:
        """Probabilities of the query, float (tasks, n_query, classes)."""
        return probabilities(self._logits(tasks), tasks.query.active)
