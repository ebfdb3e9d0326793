"""A multi-layer perceptron on one vector an utterance, such as an encoder's embedding."""

import torch
from torch import nn
from torch.nn import functional

from colab_utils.models.normalisation import VectorNorm, kaiming


class Mlp(nn.Module):
    """Two hidden layers of `width` units, each linear, normalisation, ReLU; then the head.

    The second layer is the embedding. norm: "group" (one group of all units: LayerNorm, Ba et al.
    2016; an utterance does not see its batch) or "batch" (statistics of the whole batch, of at
    least 2 utterances, also at test: transductive).
    Parameters: (dim + 1) width + (width + 1) width + 4 width + (width + 1) classes; 53 957 for 768
    columns, width 64 and 5 classes.
    """

    def __init__(self, dim: int, n_classes: int, *, norm: str, width: int):
        super().__init__()
        self.embedding_dim = width
        first = kaiming(nn.Linear(dim, width))
        second = kaiming(nn.Linear(width, width))
        self.layers = nn.ModuleList([first, second])
        self.norms = nn.ModuleList(VectorNorm(width, norm) for _ in range(2))
        self.head = kaiming(nn.Linear(width, n_classes))

    def forward(self, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits (n, n_classes) and the embedding (n, embedding_dim) of values, float (n, dim)."""
        x = values
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = functional.relu(norm(layer(x)))
        return self.head(x), x
