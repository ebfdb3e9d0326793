"""CORAL: embeddings whose mean and covariance are the same in every source domain."""

import itertools
from collections.abc import Sequence
from typing import Any

import torch

from colab_utils.methods.da_mldg.algorithms.algorithm import (
    Algorithm,
    Joined,
    weighted_cross_entropy,
)


class Coral(Algorithm):
    """Cross-entropy plus `coral_weight` times the distance of the domains' statistics.

    Sun & Saenko 2016, Deep CORAL, arXiv 1607.01719; as in DomainBed (Gulrajani & Lopez-Paz 2021):
    for several domains, the mean over all pairs; means count beside the covariances; and both are
    mean squares where Sun & Saenko sum the squares and divide by 4 d^2. Keeps `loss` (all of it),
    `cross_entropy` and `penalty`.
    """

    least_domains = 2
    least_utterances = 2  # one has no covariance

    def objective(self, batch: Joined) -> tuple[torch.Tensor, dict[str, Any]]:
        """Cross-entropy and weighted penalty of all domains joined."""
        logits, embedding = self.network(*batch.inputs)
        fit = weighted_cross_entropy(logits, batch)
        penalty = coral_penalty(embedding.split(batch.sizes))
        values = {"cross_entropy": fit.detach(), "penalty": penalty.detach()}
        return fit + self.config.coral_weight * penalty, values


def coral_penalty(embeddings: Sequence[torch.Tensor]) -> torch.Tensor:
    """How far apart the statistics of the domains are: a scalar.

    The mean over pairs of domains of the mean squared differences of their means and of their
    covariances, which divide by n - 1.

    Args:
        embeddings: (n, d) of each domain, n of 2 or more.
    """
    means, covariances = [], []
    for one in embeddings:
        mean = one.mean(0)
        centred = one - mean
        means.append(mean)
        covariances.append(centred.T @ centred / (len(one) - 1))
    apart = []
    for i, j in itertools.combinations(range(len(embeddings)), 2):
        of_means = (means[i] - means[j]).square().mean()
        of_covariances = (covariances[i] - covariances[j]).square().mean()
        apart.append(of_means + of_covariances)
    return sum(apart) / len(apart)
