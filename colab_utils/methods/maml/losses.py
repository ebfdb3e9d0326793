"""The loss of an episode: its terms, which inner steps count, and the order of the gradient."""

from collections.abc import Callable

import torch
from pytorch_metric_learning.losses import NTXentLoss, SupConLoss
from pytorch_metric_learning.reducers import MeanReducer
from torch import nn
from torch.nn import functional

from colab_utils.learning.tasks import Batch, masked_cross_entropy
from colab_utils.methods.maml.inner_loop import Loss
from colab_utils.models.normalisation import kaiming
from colab_utils.settings import SettingError

TERMS = {"nt-xent": NTXentLoss, "supervised": SupConLoss}

Term = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # (embedding, y) -> scalar


# --- terms ----------------------------------------------------------------------------------------


def contrastive_term(kind: str, temperature: float) -> Term:
    """How far utterances of one class are from each other, against those of other classes.

    s_ij is the cosine of the embeddings of utterances i and j, t the temperature; P(i) are the
    other utterances of i's class, N(i) those of other classes.

    "nt-xent", as in Few-Shot_SER (github.com/lucashueda/Few-Shot_SER, t = 0.07): the mean over all
    i and all j in P(i) of

        -log [ e^(s_ij/t) / (e^(s_ij/t) + sum over k in N(i) of e^(s_ik/t)) ]

    "supervised" (Khosla et al. 2020, equation 2): the mean over all i with a P(i) of the mean over
    j in P(i) of

        -log [ e^(s_ij/t) / sum over k != i of e^(s_ik/t) ]

    Both are losses of pytorch-metric-learning; the tests hold them against double loops. They can
    be differentiated twice, as second-order MAML does. vmap cannot run them: tasks with this term
    are computed one by one.

    Args:
        kind: "nt-xent" or "supervised".
        temperature: t, above 0.

    Returns:
        A function of an embedding, float (n, dim), and class ids, int64 (n,), to a scalar: 0
        without a positive pair (1-shot).

    Raises:
        SettingError: another kind.

    Example:
        value = contrastive_term("nt-xent", 0.07)(embedding, batch.y)
    """
    if kind not in TERMS:
        raise SettingError(
            f"no contrastive term is called {kind!r}: choose from {', '.join(TERMS)}"
        )
    # MeanReducer divides by all utterances. The library's default leaves out each loss that is
    # exactly 0, and so also those that rounding brings there.
    loss = TERMS[kind](temperature=temperature, reducer=MeanReducer())

    def term(embedding: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        class_size = torch.bincount(y)[y]
        with_positive = int((class_size > 1).sum())
        if with_positive == 0:
            return embedding.sum() * 0.0  # 0 with a gradient, 0 everywhere
        if kind == "supervised":
            # from the mean over all utterances to that over those with a P(i); others count 0
            return loss(embedding, y) * (len(y) / with_positive)
        return loss(embedding, y)

    return term


def episode_loss(kind: str, weight: float, temperature: float) -> Loss:
    """Cross-entropy over the classes of the episode, plus `weight` times a contrastive term.

    Args:
        kind: of the term (`contrastive_term`); "none": plain cross-entropy.
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
    term = contrastive_term(kind, temperature)

    def loss(logits: torch.Tensor, embedding: torch.Tensor, batch: Batch) -> torch.Tensor:
        cross_entropy = masked_cross_entropy(logits, embedding, batch)
        return cross_entropy + weight * term(embedding, batch.y)

    loss.one_by_one = True  # pytorch-metric-learning is not for vmap
    return loss


class WithProjection(nn.Module):
    """A network whose embedding the contrastive term sees through a linear projection.

    What serves the head need not serve the term (Khosla et al. 2020, section 3.1). The logits stay.

    Args:
        network: the network.
        dim: units of the projection.
    """

    def __init__(self, network: nn.Module, dim: int):
        super().__init__()
        self.network = network
        self.embedding_dim = dim
        self.projection = kaiming(nn.Linear(network.embedding_dim, dim))

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits (n, classes), and the projection of the embedding (n, dim), of length 1."""
        logits, embedding = self.network(*inputs)
        return logits, functional.normalize(self.projection(embedding), dim=1, eps=1e-6)


# --- over the course of training ------------------------------------------------------------------


def step_weights(kind: str, steps: int, progress: float) -> torch.Tensor:
    """Weights w_0, w_1, ... w_N of the query losses after 0, 1, ... N inner steps; w_0 is 0.

    "final": w_N = 1 alone (Finn et al. 2017). "ramp": w_k = k / (1 + ... + N) (Few-Shot_SER).
    "annealed": w_k = max((1 - p) / N, 0.03 / N) for 0 < k < N, and w_N what is left of 1; from
    p = 1 on as "final" (Antoniou et al. 2019, section 4, and its published code).

    Args:
        kind: "final", "ramp" or "annealed".
        steps: N, 1 or more.
        progress: p, meta-updates done over those in which all steps shall count.

    Returns:
        float64 (N + 1,), of sum 1.
    """
    weights = torch.zeros(steps + 1, dtype=torch.float64)
    if kind == "ramp":
        weights[:] = torch.arange(steps + 1)
        weights /= weights.sum()
    elif kind == "annealed" and progress < 1:
        weights[1:] = max((1 - progress) / steps, 0.03 / steps)
        weights[-1] = 1 - weights[1:-1].sum()
    else:  # final, and annealed at its end
        weights[-1] = 1
    return weights


def first_order_at(progress: float, order: str, share: float) -> bool:
    """Whether a meta-update is of first order.

    Args:
        progress: of the training, from 0 to 1.
        order: "first", "second", or "annealed": first order during the first `share` of training
            (Antoniou et al. 2019, section 4).
        share: in [0, 1].
    """
    return order == "first" or (order == "annealed" and progress < share)
