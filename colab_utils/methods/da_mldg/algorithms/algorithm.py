"""What every algorithm of domain generalisation is.

A step on one batch of each source domain, and probabilities for new inputs.
"""

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
    """Batches of some domains as one.

    inputs: what the network is called with; y: class ids, int64 (n,); weights: what each utterance
    counts in the loss, (n,); sizes: the utterances of each domain, whose rows follow one another.
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
            and its last layer is `head`.
        optimiser: makes one from parameters, such as `lambda p: torch.optim.SGD(p, lr=0.05)`.
            Parameters that need no gradient are left out and never change.
        seed: of all that is drawn.
        loss: "domain-mean" (each domain counts the same) or "sample-mean" (each utterance does, as
            in the released code of DA-MLDG; the same for domains of equal size).
        clip: largest norm of the gradient, 0 for none.

    Raises:
        SettingError: for another loss.

    Example:
        class Mine(Algorithm):
            def objective(self, batch):
                logits, embedding = self.network(*batch.inputs)
                return weighted_cross_entropy(logits, batch), {}
    """

    least_domains = 1

    def __init__(
        self,
        network: nn.Module,
        optimiser: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer],
        *,
        seed: int = 0,
        loss: str = "domain-mean",
        clip: float = 0.0,
    ):
        if loss not in LOSSES:
            raise SettingError(f"loss = {loss!r}: choose from {', '.join(map(repr, LOSSES))}")
        self.network, self.seed, self.clip = network, seed, clip
        self.sample_mean = loss == "sample-mean"
        self.step = 0
        trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
        self.optimiser = optimiser(trained)

    def update(self, batches: Batches) -> dict[str, float]:
        """One training step.

        Args:
            batches: {domain: (inputs, y int64 (n,))}; inputs are (values (n, dim),) or (values
                (n, frames, dim), mask bool (n, frames)). A class that a domain lacks is fine.

        Returns:
            What the step measured, `loss` among it; a value that is not finite is left to the
            training loop to report.

        Raises:
            SettingError: for too few domains.
            ValueError: for a domain without utterances.
        """
        if len(batches) < self.least_domains:
            raise SettingError(
                f"{type(self).__name__} needs {self.least_domains} source domains "
                f"or more and got {len(batches)} ({', '.join(batches)}): add a "
                "corpus, or use erm"
            )
        empty = [domain for domain, (_, y) in batches.items() if len(y) == 0]
        if empty:
            raise ValueError(
                f"the batch of domain {empty[0]!r} is empty: draw the same number of "
                "utterances from every source domain"
            )
        self.network.train()
        self.optimiser.zero_grad()
        values = self.gradients(batches)
        if self.clip:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.clip)
        self.optimiser.step()
        self.step += 1
        return {name: float(value) for name, value in values.items()}

    def gradients(self, batches: Batches) -> dict[str, Any]:
        """Put the gradient of the step into every parameter's `.grad` (None before).

        Returns the values of the step by name.
        """
        loss, values = self.objective(self.join(batches))
        loss.backward()
        return {"loss": loss.detach(), **values}

    def objective(self, batch: Joined) -> tuple[torch.Tensor, dict[str, Any]]:
        """What the step makes smaller, a scalar, and other values to keep."""
        raise NotImplementedError(f"{type(self).__name__} has neither an objective nor gradients")

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
        return np.random.default_rng((self.seed, self.step))

    def join(self, batches: Batches, among: Batches | None = None) -> Joined:
        """The batches of these domains as one, shorter clips padded and masked.

        Args:
            batches: they are joined in the order of their names, whatever order they came in.
            among: the domains whose mean loss this is a part of (default: these).
        """
        among = batches if among is None else among
        names = sorted(batches)
        classes = [batches[name][1] for name in names]
        sizes = [len(y) for y in classes]
        if self.sample_mean:
            utterances = sum(len(y) for _, y in among.values())
            shares = [1 / utterances] * len(sizes)
        else:
            shares = [1 / (len(among) * size) for size in sizes]
        columns = zip(*(batches[name][0] for name in names), strict=True)
        inputs = tuple(_cat(parts) for parts in columns)
        weights = torch.tensor(shares, dtype=torch.float64)
        weights = weights.repeat_interleave(torch.tensor(sizes)).to(inputs[0])
        return Joined(inputs, torch.cat(classes), weights, sizes)


def weighted_cross_entropy(logits: torch.Tensor, batch: Joined) -> torch.Tensor:
    """Cross-entropy of logits (n, classes), the sum over utterances by `batch.weights`: a scalar.

    The weights of a batch add up to 1, so that it is a weighted mean.
    """
    return batch.weights @ functional.cross_entropy(logits, batch.y, reduction="none")


def _cat(parts: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """One below the other.

    Masks (bool) and frames (n, frames, dim) of different length get 0 behind; vectors must be of
    one width.
    """
    if len(parts) == 1:
        return parts[0]
    if parts[0].dim() == 3 or parts[0].dtype == torch.bool:
        longest = max(part.shape[1] for part in parts)
        parts = tuple(_longer(part, longest) for part in parts)
    return torch.cat(parts)


def _longer(part: torch.Tensor, frames: int) -> torch.Tensor:
    """A mask (n, frames) or frames (n, frames, dim) with 0 behind, up to so many frames."""
    behind = (0, 0) * (part.dim() - 2) + (0, frames - part.shape[1])
    return functional.pad(part, behind)
