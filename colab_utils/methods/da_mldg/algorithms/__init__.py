"""Domain generalisation: train on several corpora, test on one never seen (method_facts §4).

One contract (`algorithm.Algorithm`): `ALGORITHMS[name](network, optimiser, seed=..., ...)` has
`update({domain: (inputs, y)})`, one training step, `predict(inputs)`, probabilities, and `state()`
and `load(state)` to go on exactly where a training stopped. One file an algorithm; the weight gamma
of DA-MLDG is in `mldg`.
"""

from __future__ import annotations

from colab_utils.methods.da_mldg.algorithms.algorithm import (
    LOSSES,
    Algorithm,
    Batches,
    Joined,
    weighted_cross_entropy,
)
from colab_utils.methods.da_mldg.algorithms.coral import Coral
from colab_utils.methods.da_mldg.algorithms.erm import Erm
from colab_utils.methods.da_mldg.algorithms.gamma import GAMMA_RULES
from colab_utils.methods.da_mldg.algorithms.mldg import ORDERS, DaMldg, Mldg
from colab_utils.methods.da_mldg.algorithms.rsc import Rsc

ALGORITHMS: dict[str, type[Algorithm]] = {
    "erm": Erm,
    "mldg": Mldg,
    "da-mldg": DaMldg,
    "rsc": Rsc,
    "coral": Coral,
}

__all__ = [
    "ALGORITHMS",
    "GAMMA_RULES",
    "LOSSES",
    "ORDERS",
    "Algorithm",
    "Batches",
    "Coral",
    "DaMldg",
    "Erm",
    "Joined",
    "Mldg",
    "Rsc",
    "weighted_cross_entropy",
]
