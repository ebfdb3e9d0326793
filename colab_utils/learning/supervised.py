"""Supervised training of one network on labelled utterances, classes weighted to equal mass."""

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

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
        self.weights = weights
        self.optimiser = torch.optim.Adam(module.parameters(), lr=rate)

    def step(self, i: int) -> dict[str, float]:
        """One update; the loss."""
        batch = self.batches(i)
        loss = balanced_cross_entropy(self.module(*batch.inputs)[0], batch.y, self.weights)
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


def balanced_cross_entropy(
    logits: torch.Tensor, y: torch.Tensor, weights: torch.Tensor
) -> torch.Tensor:
    """The mean over a batch of weight * cross-entropy, a scalar.

    In expectation over batches it is the mean of the classes' own cross-entropies. The weighted
    mean of torch.nn.CrossEntropyLoss is not: it divides by the weights of the batch at hand, in
    which a rare class is mostly missing. A class of 1 % would then have 0.07 of the loss at
    batches of 8 instead of 0.5.

    Args:
        logits: float (n, labels).
        y: class ids, int64 (n,).
        weights: of the classes, float (labels,), see `class_weights`.
    """
    return functional.cross_entropy(logits, y, weight=weights, reduction="none").mean()


def class_weights(y: torch.Tensor, n_labels: int) -> torch.Tensor:
    """Weights that give each label that occurs the same mass.

    Args:
        y: class ids of the training utterances, int64 (n,).
        n_labels: how many labels there are.

    Returns:
        float (n_labels,), their mean over the utterances is 1; 0 for a label that does not occur.
    """
    counts = torch.bincount(y, minlength=n_labels).float()
    there = counts > 0
    return torch.where(there, len(y) / (there.sum() * counts.clamp(min=1)), 0.0)
