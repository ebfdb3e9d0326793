"""The loss of an episode: its terms, which inner steps count, and the order of the gradient."""

from __future__ import annotations

from collections.abc import Callable

import torch
from pytorch_metric_learning.losses import NTXentLoss, SupConLoss
from pytorch_metric_learning.reducers import MeanReducer
from torch import nn
from torch.nn import functional

from colab_utils.learning.tasks import Batch, masked_cross_entropy
from colab_utils.models.normalisation import kaiming
from colab_utils.settings import SettingError

TERMS = {"nt-xent": NTXentLoss, "supervised": SupConLoss}

Term = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # (embedding, y) -> scalar
Loss = Callable[[torch.Tensor, torch.Tensor, Batch], torch.Tensor]  # (logits, embedding, batch)


# --- terms ----------------------------------------------------------------------------------------


def contrastive(kind: str, temperature: float = 0.07) -> Term:
    """The contrastive term on cosine similarities s, utterances of one class being positives.

    "nt-xent": mean over positive pairs of -log(e^(s/t) / (e^(s/t) + sum over the anchor's negatives
    of e^(s/t))) (method_facts §1.4; the original took t = 0.07). "supervised": SupCon (Khosla et
    al. 2020, L_out), mean over the anchors that have a positive. Without a positive pair (1-shot)
    or a negative one it is 0. Can be differentiated twice; not for vmap.

    Args:
        kind: "nt-xent" or "supervised".
        temperature: t.

    Returns:
        A function of an embedding, float (n, dim), and class ids, int64 (n,), to a scalar.

    Raises:
        SettingError: another kind.
    """
    if kind not in TERMS:
        raise SettingError(
            f"no contrastive term is called {kind!r}: choose from {', '.join(TERMS)}"
        )
    # The library's own mean leaves out every loss of exactly 0: anchors without a positive, but
    # also those that rounding puts there.
    loss = TERMS[kind](temperature=temperature, reducer=MeanReducer())

    def term(embedding: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        anchors = int((torch.bincount(y)[y] > 1).sum())
        if anchors == 0:
            return embedding.sum() * 0.0
        share = len(y) / anchors if kind == "supervised" else 1.0
        return loss(embedding, y) * share

    return term


def episode_loss(kind: str, weight: float, temperature: float) -> Loss:
    """Cross-entropy over the competing classes plus `weight` times the contrastive term.

    Args:
        kind: of the term; "none": plain cross-entropy.
        weight: of the term.
        temperature: of the term.

    Returns:
        A function of logits, float (n, classes), an embedding, float (n, dim), and the batch to a
        scalar.

    Raises:
        SettingError: another kind.
    """
    if kind == "none":
        return masked_cross_entropy
    term = contrastive(kind, temperature)

    def loss(logits: torch.Tensor, embedding: torch.Tensor, batch: Batch) -> torch.Tensor:
        return masked_cross_entropy(logits, embedding, batch) + weight * term(embedding, batch.y)

    return loss


class WithProjection(nn.Module):
    """A network whose embedding is seen by a metric loss through a projection, so that the head's
    features and the loss' features need not be the same; the logits stay (Khosla et al. 2020).

    Args:
        network: the network.
        dim: units of the projection, a linear layer.
    """

    def __init__(self, network: nn.Module, dim: int = 128):
        super().__init__()
        self.network = network
        self.embedding_dim = dim
        self.vmappable = getattr(network, "vmappable", True)
        self.projection = kaiming(nn.Linear(network.embedding_dim, dim))

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits (n, classes), and the projection of the embedding (n, dim), of length 1."""
        logits, embedding = self.network(*inputs)
        return logits, functional.normalize(self.projection(embedding), dim=1, eps=1e-6)


# --- over the course of training ------------------------------------------------------------------


def step_weights(kind: str, steps: int, progress: float) -> torch.Tensor:
    """Weights of the query losses after 0 ... `steps` inner steps, 0 before adaptation.

    Args:
        kind: "final": the last step alone (Finn et al. 2017). "ramp": w_k = 0.1 k (Few-Shot_SER,
            method_facts §1.4; normalised). "annealed": from equal weights at progress 0 to nearly
            the last alone at progress 1 (Antoniou et al. 2019; method_facts §6.2):
            v_i = max(1/N - p/N, 0.03/N), the last the rest; at 1 and beyond the last step alone.
        steps: inner steps.
        progress: of training, from 0 on.

    Returns:
        float64 (steps + 1,) of sum 1.
    """
    weights = torch.zeros(steps + 1, dtype=torch.float64)
    if kind == "ramp":
        weights[:] = torch.arange(steps + 1)
        return weights / weights.sum()
    if kind == "annealed" and progress < 1:
        weights[1:] = max((1 - progress) / steps, 0.03 / steps)
        weights[-1] = 1 - weights[1:-1].sum()
        return weights
    weights[-1] = 1
    return weights


def first_order_at(progress: float, order: str, share: float) -> bool:
    """Whether a meta-update at `progress` in [0, 1] is first order.

    Always, never, or during the first `share` of training ("annealed").
    """
    return order == "first" or (order == "annealed" and progress < share)
