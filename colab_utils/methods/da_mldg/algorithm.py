"""What every algorithm of domain generalisation is: a step on one batch of each source domain, and probabilities for new inputs."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from colab_utils.settings import SettingError

Batches = Mapping[str, tuple[tuple[torch.Tensor, ...], torch.Tensor]]
LOSSES = ("domain-mean", "sample-mean")


class Joined(NamedTuple):
    """Batches of some domains as one: what the network is called with, class ids int64 (n,), what each utterance counts in the loss
    (n,), and the utterances of each domain, whose rows follow one another."""
    inputs: tuple[torch.Tensor, ...]
    y: torch.Tensor
    weights: torch.Tensor
    sizes: list[int]


class Algorithm:
    """The contract, and what the algorithms share. One of your own needs `objective` alone, or `gradients` where it is no plain loss.

    network: called with the inputs of a batch it gives (logits (n, classes), embedding (n, d)), and its last layer is `head`.
    optimiser: makes one from parameters, such as `lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9)`; parameters that need no
    gradient are left out and never change. loss: "domain-mean" (each domain counts the same) or "sample-mean" (each utterance does, as
    in the released code of DA-MLDG; the same for domains of equal size). clip: largest norm of the gradient, 0 for none. What an
    algorithm draws follows from (seed, step) alone. Raises SettingError for another loss.

    Batch normalisation, one rule for all: domains that are trained on in a step pass through the network together, in training mode.
    """
    least_domains = 1

    def __init__(self, network: nn.Module, optimiser: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer], *, seed: int = 0,
                 loss: str = "domain-mean", clip: float = 0.0):
        if loss not in LOSSES:
            raise SettingError(f"loss = {loss!r}: choose from {', '.join(map(repr, LOSSES))}")
        self.network, self.seed, self.sample_mean, self.clip, self.step = network, seed, loss == "sample-mean", clip, 0
        self.optimiser = optimiser([parameter for parameter in network.parameters() if parameter.requires_grad])

    def update(self, batches: Batches) -> dict[str, float]:
        """One training step on {domain: (inputs, y int64 (n,))}; inputs are (values (n, dim),) or (values (n, frames, dim), mask bool (n, frames)).

        Returns what the step measured, `loss` among it; a value that is not finite is left to the training loop to report. A class that a
        domain lacks is fine. Raises SettingError for too few domains and ValueError for one without utterances.
        """
        if len(batches) < self.least_domains:
            raise SettingError(f"{type(self).__name__} needs {self.least_domains} source domains or more and got {len(batches)} "
                               f"({', '.join(batches)}): add a corpus, or use erm")
        empty = [domain for domain, (_, y) in batches.items() if len(y) == 0]
        if empty:
            raise ValueError(f"the batch of domain {empty[0]!r} is empty: draw the same number of utterances from every source domain")
        self.network.train()
        self.optimiser.zero_grad()
        values = self.gradients(batches)
        if self.clip:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.clip)
        self.optimiser.step()
        self.step += 1
        return {name: float(value) for name, value in values.items()}

    def gradients(self, batches: Batches) -> dict[str, Any]:
        """Put the gradient of the step into every parameter's `.grad` (None before); returns its values by name."""
        loss, values = self.objective(self.join(batches))
        loss.backward()
        return {"loss": loss.detach(), **values}

    def objective(self, batch: Joined) -> tuple[torch.Tensor, dict[str, Any]]:
        """What the step makes smaller, a scalar, and other values to keep, for all domains joined."""
        raise NotImplementedError(f"{type(self).__name__} has neither an objective nor gradients")

    @torch.no_grad()
    def predict(self, inputs: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """Probabilities in eval mode, float64 (n, classes)."""
        return torch.softmax(self.network.eval()(*inputs)[0].double(), dim=1)

    def state(self) -> dict[str, Any]:
        """All that the next step depends on: with it, the same batches give the same steps, bit for bit on the CPU."""
        return {"network": self.network.state_dict(), "optimiser": self.optimiser.state_dict(), "step": self.step}

    def load(self, state: dict[str, Any]) -> None:
        """Put back what `state` gave."""
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step = state["step"]

    def draw(self) -> np.random.Generator:
        """The random generator of this step."""
        return np.random.default_rng((self.seed, self.step))

    def join(self, batches: Batches, among: Batches | None = None) -> Joined:
        """The batches of these domains as one, in the order of their names, whatever order they came in; shorter clips padded and masked.

        among: the domains whose mean loss this is a part of (default: these).
        """
        among, names = batches if among is None else among, sorted(batches)
        sizes = [len(batches[name][1]) for name in names]
        y = torch.cat([batches[name][1] for name in names])
        utterances = sum(len(other) for _, other in among.values())
        shares = [1 / utterances if self.sample_mean else 1 / (len(among) * size) for size in sizes]
        inputs = tuple(_cat(parts) for parts in zip(*(batches[name][0] for name in names), strict=True))
        weights = torch.tensor(shares, dtype=torch.float64).repeat_interleave(torch.tensor(sizes)).to(inputs[0])
        return Joined(inputs, y, weights, sizes)


def cross_entropy(logits: torch.Tensor, batch: Joined) -> torch.Tensor:
    """Cross-entropy of logits (n, classes), the weighted mean over the utterances: a scalar."""
    return batch.weights @ functional.cross_entropy(logits, batch.y, reduction="none")


def _cat(parts: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """One below the other; masks (bool) and frames (n, frames, dim) of different length get 0 behind, vectors must be of one width."""
    if len(parts) == 1:
        return parts[0]
    if parts[0].dim() == 3 or parts[0].dtype == torch.bool:
        longest = max(part.shape[1] for part in parts)
        parts = tuple(functional.pad(part, (0, 0) * (part.dim() - 2) + (0, longest - part.shape[1])) for part in parts)
    return torch.cat(parts)
