"""Prototypical networks (Snell et al. 2017): an embedding in which the class means of the support are near their queries."""
from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

from colab_utils.learning.heads import class_means
from colab_utils.learning.tasks import Batch, Tasks, accuracy, probabilities
from colab_utils.learning.training import ModuleLearner
from colab_utils.methods.maml.inner_loop import best_tasks_at_once, some_tasks

_TASKS_AT_ONCE = 64          # when nothing is trained: what is held in memory


class ProtoNetLearner(ModuleLearner):
    """Episodic training of an embedding, one meta-batch a step, for `training.train`.

    module: a network, of which the embedding is used and the head is not. sample(i): the Tasks of step i; valid: fixed Tasks whose mean query
    accuracy picks the checkpoint. Adam at `rate`.
    """

    def __init__(self, module: nn.Module, sample: Callable[[int], Tasks], valid: Tasks, rate: float = 1e-3):
        self.module, self.sample, self.valid = module, sample, valid
        self.optimiser = torch.optim.Adam(module.parameters(), lr=rate)

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
        """Embeddings (tasks, n, embedding_dim), each task's by themselves: batch statistics are never those of several tasks."""
        def embedded(*inputs: torch.Tensor) -> torch.Tensor:
            return self.module(*inputs)[1]
        if best_tasks_at_once(self.module, str(batch.y.device), len(batch.y)) == 1:
            return torch.stack([embedded(*(part[i] for part in batch.inputs)) for i in range(len(batch.y))])
        return torch.vmap(embedded)(*batch.inputs)

    def validate(self) -> float:
        """Mean query accuracy of the validation episodes, in [0, 1]."""
        return float(accuracy(self.scores(self.valid), self.valid.query.y).mean())

    @torch.no_grad()
    def scores(self, tasks: Tasks) -> torch.Tensor:
        """Probabilities of the query, float (tasks, n_query, classes)."""
        chunks = (some_tasks(tasks, slice(i, i + _TASKS_AT_ONCE)) for i in range(0, len(tasks.query.y), _TASKS_AT_ONCE))
        return torch.cat([probabilities(self._logits(chunk), chunk.query.active) for chunk in chunks])
