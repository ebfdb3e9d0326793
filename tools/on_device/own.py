"""Code of one's own, as the last cells of the notebooks have it, to be run on another device."""

import torch
from pytorch_metric_learning.losses import TripletMarginLoss
from pytorch_metric_learning.miners import MultiSimilarityMiner
from torch import nn

from colab_utils.learning.heads import vectors
from colab_utils.learning.tasks import Tasks
from colab_utils.methods.da_mldg.algorithms.algorithm import Algorithm, Joined


def attention(tasks: Tasks) -> torch.Tensor:
    """Probabilities of the query: each support clip votes by how near it is."""
    support, query = (nn.functional.normalize(vectors(side), dim=-1) for side in tasks)
    weight = torch.softmax(query @ support.transpose(1, 2), dim=-1)
    known = nn.functional.one_hot(tasks.support.y, tasks.support.active.shape[1])
    return weight @ known.to(weight)


def mined_triplets(embedding: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Pairs that a miner of pytorch-metric-learning picks, one loss a draw."""
    losses = []
    for one, labels in zip(embedding, y, strict=True):
        pairs = MultiSimilarityMiner()(one, labels)
        losses.append(TripletMarginLoss()(one, labels, pairs))
    return torch.stack(losses)


class WorstDomain(Algorithm):
    """The loss of the domain where it is largest."""

    def objective(self, batch: Joined) -> tuple[torch.Tensor, dict[str, float]]:
        """A scalar, and nothing besides."""
        logits, _ = self.network(*batch.inputs)
        losses = nn.functional.cross_entropy(logits, batch.y, reduction="none")
        return torch.stack([one.mean() for one in losses.split(batch.sizes)]).max(), {}


class Lazy(nn.Sequential):
    """A network that learns its sizes from the first picture."""

    def __init__(self, n_classes: int):
        super().__init__(
            nn.LazyConv2d(8, 7, 3),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.LazyLinear(n_classes),
        )

    def forward(self, images: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        """Logits of pictures."""
        return super().forward(images)
