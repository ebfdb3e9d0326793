"""A small multi-layer perceptron on one vector per utterance, trained by the one training loop."""
from __future__ import annotations

import numpy as np
import torch
from torch import nn

from colab_utils.learning.training import ModuleLearner
from colab_utils.results.rates import uar


class MlpLearner(ModuleLearner):
    """One hidden layer with ReLU and dropout, AdamW, cross-entropy with classes weighted to equal mass.

    x: float (n, dim); y: label indices (n,); valid: (x, y) whose UAR selects the epoch. A step is a batch; the order of an epoch
    follows from (seed, epoch) alone. Runs on the CPU, where a resumed training ends bit for bit like an uninterrupted one.
    """

    def __init__(self, x: np.ndarray, y: np.ndarray, valid: tuple[np.ndarray, np.ndarray], n_labels: int, *, hidden: int,
                 dropout: float, learning_rate: float, weight_decay: float, batch: int, seed: int):
        self.x, self.y = torch.as_tensor(x, dtype=torch.float32), torch.as_tensor(y, dtype=torch.int64)
        self.valid, self.n_labels, self.batch, self.seed = valid, n_labels, batch, seed
        torch.manual_seed(seed)
        self.module = nn.Sequential(nn.Linear(x.shape[1], hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, n_labels))
        self.optimiser = torch.optim.AdamW(self.module.parameters(), lr=learning_rate, weight_decay=weight_decay)
        counts = np.bincount(y, minlength=n_labels)
        weights = np.divide(len(y), n_labels * counts, out=np.zeros(n_labels), where=counts > 0)
        self.loss = nn.CrossEntropyLoss(weight=torch.as_tensor(weights, dtype=torch.float32))

    @property
    def steps_per_epoch(self) -> int:
        """Batches in one pass over the training utterances."""
        return -(-len(self.x) // self.batch)

    def step(self, i: int) -> dict[str, float]:
        """One update on batch i of the endless row of epochs; returns its loss."""
        epoch, position = divmod(i, self.steps_per_epoch)
        order = np.random.default_rng((self.seed, epoch)).permutation(len(self.x))
        rows = torch.as_tensor(order[position * self.batch:(position + 1) * self.batch])
        self.module.train()
        loss = self.loss(self.module(self.x[rows]), self.y[rows])
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return {"loss": loss.item()}

    def validate(self) -> float:
        """UAR on the validation utterances, in [0, 1]."""
        x, y = self.valid
        chosen = self.scores(x).argmax(axis=1)
        return float(uar(np.bincount(y * self.n_labels + chosen, minlength=self.n_labels ** 2).reshape(self.n_labels, self.n_labels)))

    @torch.no_grad()
    def scores(self, x: np.ndarray) -> np.ndarray:
        """Softmax probabilities, float64 (n, n_labels)."""
        self.module.eval()
        return torch.softmax(self.module(torch.as_tensor(x, dtype=torch.float32)).double(), dim=1).numpy()
