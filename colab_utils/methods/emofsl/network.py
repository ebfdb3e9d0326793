"""The network of EMOFSL on frozen features, callable with the parameters of many draws at once."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from colab_utils.learning.clips import Scale
from colab_utils.models.normalisation import kaiming
from colab_utils.settings import SettingError

# {name of a network's weight: (...)}, or (draws, ...): one network for each support draw
Parameters = Mapping[str, torch.Tensor]


class EmofslNet(nn.Module):
    """Standardisation, one linear layer to the projection F, and a linear head on F.

    (values (..., n, dim)) -> (logits (..., n, classes), F (..., n, width)).

    The paper's extractor is an encoder with one fully connected layer, and a second one for
    cross-entropy (Yue et al. 2023, Fig. 2); what stands between them is not said. Default: nothing,
    as in the usual classifier on wav2vec 2.0. The projection then commutes with the mean over
    frames, so that it may act on pooled features as well as on frames; F keeps its signs, which
    prototypes use; activation="relu" is the other choice. The head sees F itself, the metric loss F
    of length 1.

    Args:
        scale: mean and 1 / deviation of the source's training utterances, kept with the weights.
        n_classes: outputs of the head.
        width: dimensions of F.
        activation: between projection and head, "none" or "relu".
        layers: how many layers of an encoder stand side by side in `values`
            (`SpeechEncoder(layer="all")`): the projection then sees their mean under learned
            weights, softmax of `layer_weights` (SUPERB, Yang et al. 2021), at first all alike;
            standardised, so that a layer of large numbers does not count more.

    Raises:
        SettingError: dim is no multiple of `layers`.
    """

    def __init__(
        self,
        scale: Scale,
        n_classes: int,
        width: int = 256,
        activation: str = "none",
        layers: int = 1,
    ):
        super().__init__()
        dim = len(scale.mean)
        if dim % layers:
            raise SettingError(
                f"layers = {layers}: {dim} features are not so many layers of equal size"
            )
        self.activation = activation
        self.register_buffer("mean", scale.mean)
        self.register_buffer("factor", scale.factor)
        if layers > 1:
            self.layer_weights = nn.Parameter(torch.zeros(layers))
        self.projection = kaiming(nn.Linear(dim // layers, width))
        self.head = kaiming(nn.Linear(width, n_classes))

    def forward(self, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits (..., n, classes) and the projection F (..., n, width), not normalised."""
        return forward(self.state_dict(keep_vars=True), values, self.activation)

    @property
    def net(self) -> EmofslNet:
        """Itself; in a network with an encoder below it, the part above."""
        return self

    def scaled(self, values: torch.Tensor) -> torch.Tensor:
        """What the projection sees of values (..., n, dim): (..., n, dim / layers)."""
        return scaled(self.state_dict(keep_vars=True), values)

    def groups(self, rate: float, layers_rate: float) -> list[dict]:
        """What learns, for an optimiser: all of it at `rate`."""
        return [{"params": list(self.parameters()), "lr": rate}]


def forward(
    parameters: Parameters, values: torch.Tensor, activation: str = "none"
) -> tuple[torch.Tensor, torch.Tensor]:
    """EmofslNet with `parameters` of its names, which may have leading dimensions (draws, ...).

    Args:
        parameters: of the network's `state_dict`.
        values: (n, dim) or (draws, n, dim).
        activation: between projection and head.

    Returns:
        Logits (..., n, classes) and F (..., n, width).
    """
    embedding = _linear(scaled(parameters, values), parameters, "projection")
    if embedding.requires_grad:
        # with another order in memory the products behind would be rounded otherwise, and a metric
        # loss of zero would not end as none does
        embedding.register_hook(lambda gradient: gradient.mT.contiguous().mT)
    seen = embedding.relu() if activation == "relu" else embedding
    return _linear(seen, parameters, "head"), embedding


def scaled(parameters: Parameters, values: torch.Tensor) -> torch.Tensor:
    """Standardised values, layers weighed: `EmofslNet.scaled` with `parameters` of its names."""
    mean = parameters["mean"].unsqueeze(-2)
    factor = parameters["factor"].unsqueeze(-2)
    values = (values - mean) * factor
    if "layer_weights" not in parameters:
        return values
    weights = torch.softmax(parameters["layer_weights"], dim=-1)
    layers = values.unflatten(-1, (weights.shape[-1], -1))
    return torch.einsum("...nld,...l->...nd", layers, weights)


def _linear(x: torch.Tensor, parameters: Parameters, layer: str) -> torch.Tensor:
    """X W^T + b, with leading dimensions on either side.

    In this order the gradient of W lies in memory as W does, and is not copied.
    """
    weight = parameters[f"{layer}.weight"]
    bias = parameters[f"{layer}.bias"]
    product = (weight @ x.transpose(-1, -2)).transpose(-1, -2)
    return product + bias.unsqueeze(-2)
