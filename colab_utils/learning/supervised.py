"""Supervised training of one network on labelled utterances, classes weighted to equal mass."""

from collections.abc import Callable

import torch
from torch import nn

from colab_utils.learning.tasks import Batch
from colab_utils.learning.training import ModuleLearner
from colab_utils.results.rates import confusion, uar


class SupervisedLearner(ModuleLearner):
    """Supervised training with fixed class ids, one batch a step, for `training.train`.

    Args:
        module: (inputs) -> (logits (n, labels), anything).
        batches: batches(i) is the Batch of step i.
        weights: of the classes, float (labels,), see `class_weights`.
        valid: utterances of held-out speakers whose UAR picks the checkpoint.
        rate: learning rate of Adam.
    """

    def __init__(
        self,
        module: nn.Module,
        batches: Callable[[int], Batch],
        weights: torch.Tensor,
        valid: Batch,
        rate: float = 1e-3,
    ):
        self.module = module
        self.batches = batches
        self.valid = valid
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
        n_labels = logits.shape[1]
        found = logits.argmax(dim=1).cpu().numpy()
        true = self.valid.y.cpu().numpy()
        counts = confusion(true, found, range(n_labels))
        return float(uar(counts))


def class_weights(y: torch.Tensor, n_labels: int) -> torch.Tensor:
    """Weights that give each label that occurs the same mass.

    Args:
        y: class ids of the training utterances, int64 (n,).
        n_labels: how many labels there are.

    Returns:
        float (n_labels,), their mean over the utterances is 1 where all labels occur; 0 for a
        label that does not.
    """
    counts = torch.bincount(y, minlength=n_labels).float()
    return torch.where(counts > 0, len(y) / (n_labels * counts.clamp(min=1)), 0.0)
