"""The loss of an episode: cross-entropy, with a contrastive term of pytorch-metric-learning beside it on request."""
from __future__ import annotations

from collections.abc import Callable

import torch
from pytorch_metric_learning.losses import NTXentLoss, SupConLoss
from pytorch_metric_learning.reducers import MeanReducer

from colab_utils.learning.tasks import Batch, cross_entropy
from colab_utils.settings import SettingError

_TERMS = {"nt-xent": NTXentLoss, "supervised": SupConLoss}
CONTRASTIVE = ("none", *_TERMS)


def contrastive(kind: str, temperature: float = 0.07) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """The term (embedding (n, dim), y (n,)) -> scalar on cosine similarities s, with utterances of one class as positives.

    "nt-xent": mean over positive pairs of -log(e^(s/t) / (e^(s/t) + sum over the anchor's negatives of e^(s/t))) (method_facts §1.4; the original
    took t = 0.07); "supervised": SupCon (Khosla et al. 2020, L_out), mean over the anchors that have a positive. Without a positive pair (1-shot)
    or a negative one it is 0. Can be differentiated twice; not for vmap. Raises SettingError for another kind.
    """
    if kind not in _TERMS:
        raise SettingError(f"no contrastive term is called {kind!r}: choose from {', '.join(_TERMS)}")
    # the library's own mean leaves out every loss of exactly 0: anchors without a positive, but also those that rounding puts there
    loss = _TERMS[kind](temperature=temperature, reducer=MeanReducer())

    def term(embedding: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        anchors = int((torch.bincount(y)[y] > 1).sum())
        if anchors == 0:
            return embedding.sum() * 0.0
        return loss(embedding, y) * (len(y) / anchors if kind == "supervised" else 1.0)
    return term


def episode_loss(kind: str, weight: float, temperature: float) -> Callable[[torch.Tensor, torch.Tensor, Batch], torch.Tensor]:
    """The loss (logits, embedding, batch) -> scalar: cross-entropy over the competing classes plus `weight` times the contrastive term.

    kind: one of CONTRASTIVE; with "none" it is plain cross-entropy. Raises SettingError for another one.
    """
    if kind == "none":
        return cross_entropy
    term = contrastive(kind, temperature)

    def loss(logits: torch.Tensor, embedding: torch.Tensor, batch: Batch) -> torch.Tensor:
        return cross_entropy(logits, embedding, batch) + weight * term(embedding, batch.y)
    return loss
