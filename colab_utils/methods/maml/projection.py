"""A projection in front of a metric loss, so that the head's features and the loss' features need not be the same."""
from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from colab_utils.models.normalisation import kaiming


class WithProjection(nn.Module):
    """A network whose embedding is seen by a metric loss through a linear layer of `dim` units, L2-normalised; the logits stay as they are
    (Khosla et al. 2020)."""

    def __init__(self, network: nn.Module, dim: int = 128):
        super().__init__()
        self.network, self.embedding_dim = network, dim
        self.vmappable = getattr(network, "vmappable", True)
        self.projection = kaiming(nn.Linear(network.embedding_dim, dim))

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits (n, classes) of the network, and the projection (n, dim) of its embedding, of length 1."""
        logits, embedding = self.network(*inputs)
        return logits, functional.normalize(self.projection(embedding), dim=1, eps=1e-6)
