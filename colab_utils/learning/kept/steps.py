"""What a kept model computes, one step after another, each made again from its settings alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from colab_utils.learning.heads import vectors
from colab_utils.learning.tasks import Batch
from colab_utils.models import network
from colab_utils.models.linear import LinearHead


class Step(nn.Module):
    """A module that its settings make, but for its weights.

    Attributes:
        settings: plain JSON values.
    """

    def __init__(self, **settings: Any):
        super().__init__()
        self.settings = settings


class Moments(Step):
    """Frames and their mask to mean and deviation over time, (n, 2 dim)."""

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """See `heads.vectors`."""
        nothing = torch.empty(0)
        return vectors(Batch(inputs, nothing, nothing))


class Linear(Step):
    """x @ weight + bias in float64: (n, dim) to (n, outputs)."""

    def __init__(self, dim: int, outputs: int):
        super().__init__(dim=dim, outputs=outputs)
        self.register_buffer("weight", torch.zeros(dim, outputs, dtype=torch.float64))
        self.register_buffer("bias", torch.zeros(outputs, dtype=torch.float64))

    @classmethod
    def of(cls, weight: Any, bias: Any) -> Linear:
        """With these weights, arrays or tensors (dim, outputs) and (outputs,)."""
        step = cls(*weight.shape)
        step.weight.copy_(torch.as_tensor(weight))
        step.bias.copy_(torch.as_tensor(bias))
        return step

    @classmethod
    def of_head(cls, head: LinearHead) -> Linear:
        """The same as a linear head."""
        return cls.of(head.weight / len(head.weight) ** 0.5, head.bias)

    @property
    def head(self) -> LinearHead:
        """The same as a linear head."""
        weight, bias = self.weight.cpu().numpy(), self.bias.cpu().numpy()
        return LinearHead(weight * len(weight) ** 0.5, bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """float64 (n, outputs)."""
        return x.double() @ self.weight + self.bias


class Dense(Step):
    """A linear layer of a network, in float32: (n, dim) to (n, outputs)."""

    def __init__(self, dim: int, outputs: int):
        super().__init__(dim=dim, outputs=outputs)
        self.layer = nn.Linear(dim, outputs)

    @classmethod
    def of(cls, weight: torch.Tensor, bias: torch.Tensor) -> Dense:
        """With the weights (outputs, dim) and (outputs,) of torch's layer."""
        outputs, dim = weight.shape
        step = cls(dim, outputs)
        with torch.no_grad():
            step.layer.weight.copy_(weight)
            step.layer.bias.copy_(bias)
        return step

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """float32 (n, outputs)."""
        return self.layer(x)


class Relu(Step):
    """Negative values to 0."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """As `x`."""
        return x.relu()


class UnitLength(Step):
    """x less `middle`, then of length 1: (n, dim)."""

    def __init__(self, dim: int):
        super().__init__(dim=dim)
        self.register_buffer("middle", torch.zeros(dim))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """As `x`."""
        return functional.normalize(x - self.middle, dim=-1)


class LayerWeights(Step):
    """The weighted mean of an encoder's layers that stand side by side, (n, layers * dim)."""

    def __init__(self, layers: int):
        super().__init__(layers=layers)
        self.register_buffer("logits", torch.zeros(layers))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, dim)."""
        weights = self.logits.softmax(dim=0)
        return torch.einsum("nld,l->nd", x.unflatten(-1, (len(weights), -1)), weights)


class Nearest(Step):
    """How near each centre is, (n, dim) to (n, centres), in float64.

    measure: "half square", minus half the squared distance; "square"; "distance", minus the
    distance; "cosine".
    """

    def __init__(self, dim: int, centres: int, measure: str):
        super().__init__(dim=dim, centres=centres, measure=measure)
        self.register_buffer("centres", torch.zeros(centres, dim, dtype=torch.float64))

    @classmethod
    def of(cls, centres: Any, measure: str) -> Nearest:
        """With these centres, an array or tensor (centres, dim)."""
        number, dim = centres.shape
        step = cls(dim, number, measure)
        step.centres.copy_(torch.as_tensor(centres))
        return step

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits."""
        x, measure = x.double(), self.settings["measure"]
        if measure == "cosine":
            centres = functional.normalize(self.centres, dim=-1)
            return functional.normalize(x, dim=-1) @ centres.T
        # by differences: |a|^2 - 2ab + |b|^2 cancels where features are far from 0
        how = "donot_use_mm_for_euclid_dist"
        apart = torch.cdist(x, self.centres, compute_mode=how)
        if measure == "distance":
            return -apart
        return -apart.square() * (0.5 if measure == "half square" else 1.0)


class Network(Step):
    """One of `models.network`, in eval mode. gives: "logits" or "embedding"."""

    def __init__(self, gives: str, **settings: Any):
        super().__init__(gives=gives, **settings)
        self.net = network(**settings)

    @classmethod
    def of(
        cls, weights: dict[str, torch.Tensor], gives: str = "logits", **settings: Any
    ) -> Network:
        """With the weights of a network that was made with these settings."""
        step = cls(gives, **settings)
        step.net.load_state_dict(weights)
        return step

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Logits (n, classes) or embeddings (n, width)."""
        logits, embedding = self.net.eval()(*inputs)
        return logits if self.settings["gives"] == "logits" else embedding


class Chosen(Step):
    """Some columns, in this order."""

    def __init__(self, columns: Sequence[int]):
        super().__init__(columns=list(columns))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, columns)."""
        return x[:, self.settings["columns"]]


STEPS = {
    "moments": Moments,
    "linear": Linear,
    "dense": Dense,
    "relu": Relu,
    "unit length": UnitLength,
    "layer weights": LayerWeights,
    "nearest": Nearest,
    "network": Network,
    "chosen": Chosen,
}


def described(step: Step) -> dict[str, Any]:
    """A step as plain JSON values, without its weights."""
    kind = next(name for name, one in STEPS.items() if type(step) is one)
    return {"kind": kind, **step.settings}


def made(description: dict[str, Any]) -> Step:
    """The step of `described`, with weights still to be loaded. Raises KeyError, TypeError."""
    settings = dict(description)
    return STEPS[settings.pop("kind")](**settings)
