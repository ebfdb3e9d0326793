"""The loss of an episode: cross-entropy, with a contrastive term of pytorch-metric-learning beside it on request."""
from __future__ import annotations

from collections.abc import Callable

import torch
from pytorch_metric_learning.losses import NTXentLoss, SupConLoss

from colab_utils.methods.tasks import Batch, cross_entropy

CONTRASTIVE = ("none", "nt-xent", "supervised")


def contrastive(kind: str, temperature: float) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """The term (embedding (n, dim), y (n,)) -> scalar on cosine similarities s, with utterances of one class as positives.

    "nt-xent": mean over positive pairs of -log(e^(s/t) / (e^(s/t) + sum over the anchor's negatives of e^(s/t))) (method_facts §1.4; the original
    took t = 0.07); "supervised": SupCon (Khosla et al. 2020). Without a positive pair (1-shot) it is 0. Not for vmap.
    """
    loss = NTXentLoss(temperature=temperature) if kind == "nt-xent" else SupConLoss(temperature=temperature)

    def term(embedding: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        if len(torch.unique(y)) == len(y):
            return embedding.sum() * 0.0
        return loss(embedding, y)
    return term


def episode_loss(kind: str, weight: float, temperature: float) -> Callable[[torch.Tensor, torch.Tensor, Batch], torch.Tensor]:
    """The loss (logits, embedding, batch) -> scalar: cross-entropy over the competing classes plus `weight` times the contrastive term."""
    if kind == "none":
        return cross_entropy
    term = contrastive(kind, temperature)

    def loss(logits: torch.Tensor, embedding: torch.Tensor, batch: Batch) -> torch.Tensor:
        return cross_entropy(logits, embedding, batch) + weight * term(embedding, batch.y)
    return loss
