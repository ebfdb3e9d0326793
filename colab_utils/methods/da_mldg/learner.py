"""An algorithm with its network, made from settings, and how it learns."""

import numpy as np
import torch

from colab_utils.learning.clips import Clips, predict_table
from colab_utils.learning.own import in_one_sentence, name_of
from colab_utils.methods.da_mldg.algorithms import ALGORITHMS, Algorithm
from colab_utils.methods.da_mldg.batches import DomainBatches
from colab_utils.methods.da_mldg.settings import DomainConfig
from colab_utils.models import network
from colab_utils.results.rates import confusion, uar
from colab_utils.settings import SettingError

_CONTRACT = ("network", "config", "optimiser", "update", "predict", "state", "load")


class DomainLearner:
    """An algorithm as a learner for `training.train`.

    Step i takes one batch of every source domain that follows from (config.seed, i) alone. The
    score is the UAR of each source domain's validation speakers, the mean over domains: the target
    has no part in it.

    Args:
        algorithm: what is trained.
        batches: of the training speakers of the source.
        valid: the validation speakers of the source.
    """

    def __init__(self, algorithm: Algorithm, batches: DomainBatches, valid: Clips):
        self.algorithm, self.batches, self.valid = algorithm, batches, valid
        self.module = algorithm.network
        self.state, self.load = algorithm.state, algorithm.load

    def step(self, i: int) -> dict[str, float]:
        """One update; what the algorithm measured."""
        config = self.algorithm.config
        for group in self.algorithm.optimiser.param_groups:
            group["lr"] = config.learning_rate * config.decay ** (i / 10_000)
        return self.algorithm.update(self.batches.batch(i))

    def found(self) -> tuple[np.ndarray, np.ndarray]:
        """True and predicted class ids of the validation utterances, int (n,) each, whole clips."""
        scores = predict_table(self.algorithm.predict, self.valid)
        return self.valid.y.cpu().numpy(), scores.argmax(axis=1)

    def validate(self) -> float:
        """Mean UAR of the source domains' validation speakers, in [0, 1]."""
        true, found = self.found()
        rates = []
        for name in self.valid.corpora:
            own = self.valid.corpus == name
            rates.append(uar(confusion(true[own], found[own], range(len(self.valid.labels)))))
        return float(np.mean(rates))


def make_algorithm(
    config: DomainConfig,
    dim: int,
    n_labels: int,
    device: str | torch.device = "cpu",
    own: type[Algorithm] | None = None,
) -> Algorithm:
    """A fresh algorithm with its network; its weights follow from config.seed.

    Args:
        config: its settings, checked before.
        dim: numbers a vector or a frame has.
        n_labels: emotions.
        device: where it computes.
        own: a class of the same contract instead of `config.algorithm`.

    Raises:
        SettingError: that is no such class.
    """
    torch.manual_seed(config.seed)
    net = network(config.network, dim, n_labels, norm=config.norm, width=config.width).to(device)
    kind = own or ALGORITHMS[config.algorithm]
    what = f"the algorithm {name_of(kind)}, made by (network, config)"
    with in_one_sentence(what):
        algorithm = kind(net, config)
    lacking = [name for name in _CONTRACT if not hasattr(algorithm, name)]
    if lacking:
        raise SettingError(
            f"{what}: it has no {', '.join(lacking)}: derive the class from da_mldg.Algorithm, "
            "and where it has an __init__, begin it with super().__init__(network, config)"
        )
    return algorithm
