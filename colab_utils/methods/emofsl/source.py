"""Stage 1 of EMOFSL: projection and head are trained on the source corpus.

Source: Yue et al. 2023, APSIPA ASC. The paper names a source and a target but does not describe how
the source is used; here it is supervised training with all of its labels.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from colab_utils.learning.supervised import balanced_cross_entropy, class_weights
from colab_utils.learning.training import ModuleLearner
from colab_utils.methods.emofsl.data import TransferData
from colab_utils.methods.emofsl.settings import EmofslConfig
from colab_utils.results.rates import confusion, uar
from colab_utils.settings import check

# (embedding (draws, n, width), y (draws, n) or (n,)) -> (draws,)
Metric = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class SourceLearner(ModuleLearner):
    """A learner for `training.train`: cross-entropy on the source, by Adam.

    Classes are weighted to equal mass, and the learning rate falls by config.decay an epoch.

    Args:
        module: an EmofslNet or EncoderNet, (inputs) -> (logits, F).
        data: the utterances.
        train: row numbers of the training utterances (n,).
        valid: row numbers of other speakers of the source, whose UAR picks the epoch.
        config: the settings; the order of batches follows from config.seed.
        metric: of `metric_loss`, on the pairs of a batch, added with config.source_loss_weight; or
            None.

    Attributes:
        steps: config.source_epochs passes of `steps_per_epoch`.

    Raises:
        SettingError: for settings that cannot work.
    """

    def __init__(
        self,
        module: nn.Module,
        data: TransferData,
        train: np.ndarray,
        valid: np.ndarray,
        config: EmofslConfig,
        metric: Metric | None = None,
    ):
        check(config)
        self.module = module
        self.data = data
        self.train_rows = train
        self.valid_rows = valid
        self.config = config
        self.metric = metric
        self.weights = class_weights(data.y[train], len(data.labels))
        self.optimiser = torch.optim.Adam(module.groups(config.source_rate, config.layers_rate))
        self.steps_per_epoch = -(-len(train) // config.source_batch)
        self.steps = config.source_epochs * self.steps_per_epoch

    def batch(self, i: int) -> np.ndarray:
        """Row numbers of the batch of step i; each epoch has an order of its own."""
        epoch, position = divmod(i, self.steps_per_epoch)
        generator = np.random.default_rng((self.config.seed, epoch))
        order = generator.permutation(len(self.train_rows))
        first = position * self.config.source_batch
        return self.train_rows[order[first : first + self.config.source_batch]]

    def step(self, i: int) -> dict[str, float]:
        """One update; the loss.

        The rate follows from i alone, so a resumed training ends like an uninterrupted one.
        """
        epoch = i // self.steps_per_epoch
        for group in self.optimiser.param_groups:
            start = group.setdefault("initial_lr", group["lr"])
            group["lr"] = start * self.config.decay**epoch
        rows = self.batch(i)
        y = self.data.y[rows]
        logits, embedding = self.module(*self.data.inputs(rows))
        loss = balanced_cross_entropy(logits, y, self.weights)
        if self.metric is not None:
            loss = loss + self.config.source_loss_weight * self.metric(embedding, y)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return {"loss": loss.item()}

    def validate(self) -> float:
        """UAR of the validation utterances, in [0, 1]."""
        logits, _ = self.data.through(self.module, self.valid_rows)
        found = logits.argmax(dim=1).cpu()
        true = self.data.y[self.valid_rows].cpu()
        counts = confusion(true.numpy(), found.numpy(), range(logits.shape[1]))
        return float(uar(counts))
