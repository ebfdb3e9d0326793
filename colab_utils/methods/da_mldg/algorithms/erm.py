"""ERM: the sum of all source domains, trained as if they were one ("Deep-All").

What every other algorithm has to beat.
"""

from typing import Any

import torch

from colab_utils.methods.da_mldg.algorithms.algorithm import (
    Algorithm,
    Joined,
    weighted_cross_entropy,
)


class Erm(Algorithm):
    """Empirical risk minimisation (Vapnik 1998): the mean over domains of their mean cross-entropy.

    "Deep-All" of the DA-MLDG paper (King Gandhi et al. 2023). Keeps `loss`.
    """

    def objective(self, batch: Joined) -> tuple[torch.Tensor, dict[str, Any]]:
        """The cross-entropy of all domains joined."""
        logits, _ = self.network(*batch.inputs)
        return weighted_cross_entropy(logits, batch), {}
