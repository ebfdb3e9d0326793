"""An algorithm with its network and optimiser, made from settings, and how it learns."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from colab_utils import settings
from colab_utils.learning.clips import Clips
from colab_utils.methods.da_mldg.algorithms import ALGORITHMS, Algorithm
from colab_utils.methods.da_mldg.batches import DomainBatches, predict_table
from colab_utils.methods.da_mldg.settings import DomainConfig
from colab_utils.models import network
from colab_utils.results.rates import confusion, uar


class DomainLearner:
    """An algorithm as a learner for `training.train`.

    Step i takes one batch of every source domain that follows from (config.seed, i) alone. The
    score is the UAR of each source domain's validation speakers, the mean over domains: the target
    has no part in it.
    """

    def __init__(
        self, algorithm: Algorithm, batches: DomainBatches, valid: Clips, config: DomainConfig
    ):
        """Args:
        algorithm: what is trained.
        batches: of the training speakers of the source.
        valid: the validation speakers of the source.
        config: how it is trained.
        """
        self.algorithm, self.module = algorithm, algorithm.network
        self.batches, self.valid, self.config = batches, valid, config

    def step(self, i: int) -> dict[str, float]:
        """One update; what the algorithm measured."""
        for group in self.algorithm.optimiser.param_groups:
            group["lr"] = self.config.learning_rate * self.config.decay ** (i / 10_000)
        batch = self.batches.batch(
            self.config.seed, i, self.config.per_domain, **self.config.sampling()
        )
        return self.algorithm.update(batch)

    def validate(self) -> float:
        """Mean UAR of the source domains' validation speakers, whole clips."""
        found = predict_table(self.algorithm.predict, self.valid).argmax(axis=1)
        domains = self.valid.corpora
        return float(np.mean([self._uar(found, self.valid.corpus == name) for name in domains]))

    def _uar(self, found: np.ndarray, chosen: np.ndarray) -> float:
        labels = np.array(self.valid.labels, dtype=object)
        true = labels[self.valid.y.cpu().numpy()[chosen]]
        return float(uar(confusion(true, labels[found[chosen]], list(labels))))

    def state(self) -> dict[str, Any]:
        """The algorithm's."""
        return self.algorithm.state()

    def load(self, state: dict[str, Any]) -> None:
        """Put it back."""
        self.algorithm.load(state)


def make_algorithm(
    config: DomainConfig,
    dim: int,
    n_labels: int,
    device: str = "cpu",
    own: type[Algorithm] | None = None,
) -> Algorithm:
    """A fresh algorithm with its network and optimiser; its weights follow from config.seed.

    Args:
        config: its settings.
        dim: numbers a vector or a frame has.
        n_labels: emotions.
        device: where it computes.
        own: a class of the same contract instead of `config.algorithm`.

    Raises:
        SettingError: for settings that cannot work.
    """
    settings.check(config)
    torch.manual_seed(config.seed)
    net = network(config.network, dim, n_labels, norm=config.norm, width=config.width).to(device)

    def optimiser(parameters: Any) -> torch.optim.Optimizer:
        if config.optimiser == "sgd":
            return torch.optim.SGD(
                parameters,
                lr=config.learning_rate,
                momentum=config.momentum,
                weight_decay=config.weight_decay,
            )
        return torch.optim.Adam(
            parameters, lr=config.learning_rate, weight_decay=config.weight_decay
        )

    shared = {"seed": config.seed, "loss": config.loss, "clip": config.clip}
    if own is not None:
        return own(net, optimiser, **shared)
    return ALGORITHMS[config.algorithm](net, optimiser, **shared, **_of_algorithm(config))


def _of_algorithm(config: DomainConfig) -> dict[str, Any]:
    """The settings that this algorithm alone has, as its class calls them."""
    if config.algorithm == "rsc":
        return {"period": config.rsc_period}
    if config.algorithm == "coral":
        return {"weight": config.coral_weight}
    if config.algorithm == "erm":
        return {}
    meta = {"order": config.order, "inner_rate": config.inner_rate}
    if config.algorithm == "da-mldg":
        meta["rule"] = config.gamma_rule
        if config.clamp_high:
            meta["clamp"] = config.clamp_low, config.clamp_high
    return meta
