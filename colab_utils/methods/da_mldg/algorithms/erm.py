"""ERM: the sum of all source domains, trained as if they were one ("Deep-All").

What every other algorithm has to beat.
"""

from __future__ import annotations

from typing import Any

import torch

from colab_utils.methods.da_mldg.algorithms.algorithm import (
    Algorithm,
    Joined,
    weighted_cross_entropy,
)


class Erm(Algorithm):
    """Mean over the source domains of their mean cross-entropy (Vapnik 1998; method_facts §4.1).

    Keeps `loss`.
    """

    def objective(self, batch: Joined) -> tuple[torch.Tensor, dict[str, Any]]:
        """The cross-entropy of all domains joined."""
        logits, _ = self.network(*batch.inputs)
        return weighted_cross_entropy(logits, batch), {}
