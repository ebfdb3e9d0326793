"""Domain generalisation: train on several corpora, test on one never seen.

One contract (`algorithm.Algorithm`): `ALGORITHMS[name](network, config)` has
`update({domain: (inputs, y)})`, one training step, `predict(inputs)`, probabilities, and `state()`
and `load(state)` to go on exactly where a training stopped. One file an algorithm; the weight gamma
of DA-MLDG is in `gamma`.
"""

from colab_utils.methods.da_mldg.algorithms.algorithm import Algorithm
from colab_utils.methods.da_mldg.algorithms.coral import Coral
from colab_utils.methods.da_mldg.algorithms.erm import Erm
from colab_utils.methods.da_mldg.algorithms.mldg import Mldg
from colab_utils.methods.da_mldg.algorithms.rsc import Rsc

ALGORITHMS: dict[str, type[Algorithm]] = {
    "erm": Erm,
    "mldg": Mldg,
    "da-mldg": Mldg,  # with another weight
    "rsc": Rsc,
    "coral": Coral,
}
