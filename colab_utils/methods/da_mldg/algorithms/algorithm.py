"""What every algorithm of domain generalisation is.

A step on one batch of each source domain, and probabilities for new inputs.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from colab_utils.learning.own import checked, in_one_sentence
from colab_utils.methods.da_mldg.settings import DomainConfig
from colab_utils.settings import SettingError

Batches = Mapping[str, tuple[tuple[torch.Tensor, ...], torch.Tensor]]


class Joined(NamedTuple):
    """Batches of some domains as one.

    Attributes:
        inputs: what the network is called with, n utterances.
        y: class ids, int64 (n,).
        weights: what each utterance counts in the loss, (n,); they add up to 1.
        sizes: utterances of each domain, whose rows follow one another.
    """

    inputs: tuple[torch.Tensor, ...]
    y: torch.Tensor
    weights: torch.Tensor
    sizes: list[int]


class Algorithm:
    """The contract, and what the algorithms share.

    One of your own needs `objective` alone, or `gradients` where it is no plain loss. What an
    algorithm draws follows from (seed, step) alone. Batch normalisation, one rule for all: domains
    that are trained on in a step pass through the network together, in training mode.

    Args:
        network: called with the inputs of a batch it gives (logits (n, classes), embedding (n, d)),
            and its last layer is `head`. Parameters that need no gradient never change.
        config: the settings, checked before; an algorithm looks at those that are its own.

    Example:
        class Mine(Algorithm):
            def objective(self, batch):
                logits, embedding = self.network(*batch.inputs)
                return weighted_cross_entropy(logits, batch), {}
    """

    least_domains = 1
    least_utterances = 1

    def __init__(self, network: nn.Module, config: DomainConfig):
        self.network, self.config = network, config
        self.step = 0
        trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
        rates = {"lr": config.learning_rate, "weight_decay": config.weight_decay}
        if config.optimiser == "sgd":
            self.optimiser = torch.optim.SGD(trained, momentum=config.momentum, **rates)
        else:
            self.optimiser = torch.optim.Adam(trained, **rates)

    def update(self, batches: Batches) -> dict[str, float]:
        """One training step.

        Args:
            batches: {domain: (inputs, y int64 (n,))}; inputs are (values (n, dim),) or (values
                (n, frames, dim), mask bool (n, frames)). A class that a domain lacks is fine.

        Returns:
            What the step measured, `loss` among it; a value that is not finite is left to the
            training loop to report.

        Raises:
            SettingError: for too few domains, and for an algorithm that fails or learns nothing.
            ValueError: for a domain with too few utterances.
        """
        name = type(self).__name__
        if len(batches) < self.least_domains:
            raise SettingError(
                f"{name} needs {self.least_domains} source domains or more and got {len(batches)} "
                f"({', '.join(batches)}): add a corpus, or use erm"
            )
        for domain, (_, y) in batches.items():
            if len(y) < self.least_utterances:
                raise ValueError(
                    f"the batch of domain {domain!r} has {len(y)} utterance(s): {name} needs "
                    f"{self.least_utterances} or more of every domain"
                )
        self.network.train()
        self.optimiser.zero_grad()
        what = f"the algorithm {name}"
        with in_one_sentence(what):
            values = self.gradients(batches)
        if all(parameter.grad is None for parameter in self.network.parameters()):
            raise SettingError(
                f"{what}: no weight of the network has a gradient, so nothing is learned: let the "
                "loss come from self.network, without detach(), item() and no_grad()"
            )
        if self.config.clip:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.config.clip)
        self.optimiser.step()
        self.step += 1
        with in_one_sentence(f"{what}, which keeps numbers by name"):
            return {key: float(value) for key, value in values.items()}

    def gradients(self, batches: Batches) -> dict[str, Any]:
        """Put the gradient of the step into every parameter's `.grad` (None before).

        Returns:
            The values of the step by name.
        """
        found = self.objective(self.join(batches))
        what = f"the objective of {type(self).__name__}, (batch) -> (loss, {{name: value}})"
        if not isinstance(found, tuple) or len(found) != 2 or not isinstance(found[1], Mapping):
            given = type(found).__name__
            raise SettingError(f"{what}: it gave a {given}; end it with `return loss, {{}}`")
        weight = next(self.network.parameters())
        loss = checked(what, found[0], (), weight, learning=True, finite=False)
        loss.backward()
        return {"loss": loss.detach()} | dict(found[1])

    def objective(self, batch: Joined) -> tuple[torch.Tensor, dict[str, Any]]:
        """What the step makes smaller, a scalar, and other values to keep."""
        raise SettingError(
            f"{type(self).__name__} has neither an objective nor gradients: write objective(self, "
            "batch), which returns (loss, {})"
        )

    @torch.no_grad()
    def predict(self, inputs: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """Probabilities in eval mode, float64 (n, classes)."""
        return torch.softmax(self.network.eval()(*inputs)[0].double(), dim=1)

    def state(self) -> dict[str, Any]:
        """All that the next step depends on.

        With it, the same batches give the same steps, bit for bit on the CPU.
        """
        return {
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Put back what `state` gave."""
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step = state["step"]

    def draw(self) -> np.random.Generator:
        """The random generator of this step."""
        return np.random.default_rng((self.config.seed, self.step))

    def join(self, batches: Batches) -> Joined:
        """The batches of these domains as one, in the order of their names.

        Every domain counts the same in the loss, or every utterance where `loss` is "sample-mean".
        """
        names = sorted(batches)
        classes = [batches[name][1] for name in names]
        sizes = [len(y) for y in classes]
        shares = [1 / (len(sizes) * size) for size in sizes]
        if self.config.loss == "sample-mean":
            shares = [1 / sum(sizes)] * len(sizes)
        inputs = batches[names[0]][0]  # of a single domain: no copy
        if len(names) > 1:
            columns = zip(*(batches[name][0] for name in names), strict=True)
            inputs = tuple(torch.cat(parts) for parts in columns)
        weights = torch.tensor(shares, dtype=torch.float64)
        weights = weights.repeat_interleave(torch.tensor(sizes)).to(inputs[0])
        return Joined(inputs, torch.cat(classes), weights, sizes)


def weighted_cross_entropy(logits: torch.Tensor, batch: Joined) -> torch.Tensor:
    """Cross-entropy of a batch, each utterance by its weight.

    The weights add up to 1, so that it is a weighted mean.

    Args:
        logits: (n, classes).
        batch: the classes and weights of the n utterances.

    Returns:
        A scalar.

    Example:
        >>> loss = weighted_cross_entropy(network(*batch.inputs)[0], batch)
    """
    return batch.weights @ functional.cross_entropy(logits, batch.y, reduction="none")
