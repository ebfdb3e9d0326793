"""Supervised training of one network on labelled utterances, classes weighted to equal mass."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from colab_utils.learning.tasks import Batch
from colab_utils.learning.training import ModuleLearner
from colab_utils.results.rates import uar


class SupervisedLearner(ModuleLearner):
    """Supervised training with fixed class ids, one batch a step, for `training.train`.

    module: a network with one output a label. batches(i): the Batch of step i; weights: of the
    classes (labels,), for equal mass; valid: utterances of held-out speakers whose UAR picks the
    checkpoint. Adam at `rate`.
    """

    def __init__(
        self,
        module: nn.Module,
        batches: Callable[[int], Batch],
        weights: torch.Tensor,
        valid: Batch,
        rate: float = 1e-3,
    ):
        self.module, self.batches, self.valid = module, batches, valid
        self.loss = nn.CrossEntropyLoss(weight=weights)
        self.optimiser = torch.optim.Adam(module.parameters(), lr=rate)

    def step(self, i: int) -> dict[str, float]:
        """One update; the loss."""
        batch = self.batches(i)
        loss = self.loss(self.module(*batch.inputs)[0], batch.y)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return {"loss": loss.item()}

    @torch.no_grad()
    def validate(self) -> float:
        """UAR of the validation utterances, in [0, 1]."""
        logits = self.module(*self.valid.inputs)[0]
        size, true = logits.shape[1], self.valid.y.cpu().numpy()
        counts = np.bincount(true * size + logits.argmax(dim=1).cpu().numpy(), minlength=size**2)
        return float(uar(counts.reshape(size, size)))


def class_weights(y: torch.Tensor, n_labels: int) -> torch.Tensor:
    """Weights that give each label that occurs the same mass: float (n_labels,), 0 for a label that
    does not.
    """
    counts = torch.bincount(y, minlength=n_labels).float()
    return torch.where(counts > 0, len(y) / (n_labels * counts.clamp(min=1)), 0.0)
