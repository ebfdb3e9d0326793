"""Class weights: each class has the same share of the expected loss, whatever the batch holds."""

import math

import numpy as np
import pytest
import torch

from colab_utils.learning.supervised import (
    SupervisedLearner,
    balanced_cross_entropy,
    class_weights,
)
from colab_utils.learning.tasks import Batch


@pytest.mark.parametrize("size", [8, 64])
def test_a_class_of_one_per_cent_has_half_of_the_loss(size):
    """In 6,400 utterances with 64 of the rare class all batches of an epoch are equally large."""
    y = torch.from_numpy(np.random.default_rng(0).permutation(6400) < 64).long()
    weights = class_weights(y, 2)
    for label in (0, 1):
        # that class alone has a loss: ln 2 an utterance
        logits = torch.where((y == label).unsqueeze(1), 0.0, 200.0 * torch.eye(2)[y] - 100.0)
        losses = []
        for first in range(0, 6400, size):
            batch = slice(first, first + size)
            losses.append(balanced_cross_entropy(logits[batch], y[batch], weights).item())
        assert np.mean(losses) == pytest.approx(0.5 * math.log(2), rel=1e-5)


def test_weights_have_the_mean_1_and_give_each_label_that_occurs_the_same_mass():
    y = torch.tensor([0, 0, 0, 2])
    weights = class_weights(y, 4)
    assert weights.tolist() == pytest.approx([2 / 3, 0, 2, 0])
    assert weights[y].mean().item() == pytest.approx(1)


def test_an_epoch_of_pooled_training_has_the_mean_loss_of_its_classes():
    rng = np.random.default_rng(0)
    y = torch.from_numpy(rng.permutation(np.repeat([0, 1, 2], [50, 10, 4])))
    x = torch.from_numpy(rng.normal(size=(64, 5))).float()
    everywhere = torch.ones(3, dtype=torch.bool)
    layer = torch.nn.Linear(5, 3)

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = layer

        def forward(self, values):
            return self.layer(values), values

    def batch(i):
        part = slice(8 * i, 8 * i + 8)
        return Batch((x[part],), y[part], everywhere)

    learner = SupervisedLearner(Net(), batch, class_weights(y, 3), batch(0), rate=0.0)
    losses = [learner.step(i)["loss"] for i in range(8)]
    each = -torch.log_softmax(layer(x), dim=1)[torch.arange(64), y]
    of_classes = [each[y == label].mean().item() for label in range(3)]
    assert np.mean(losses) == pytest.approx(np.mean(of_classes), rel=1e-5)
