"""The recipe where no utterance of the target has a label: one linear head on all sources.

And temperatures, from speech that has labels: of sources that a classifier was not fitted on.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import softmax

from colab_utils.corpora.manifest import speaker_keys
from colab_utils.learning import recipe
from colab_utils.learning.clips import Clips, predict_table
from colab_utils.learning.heads import source_temperature
from colab_utils.methods.da_mldg.learner import DomainLearner
from colab_utils.models.linear import LinearHead, balanced, linear_head
from colab_utils.results.calibration import temperature


class SourceHead(NamedTuple):
    """A linear head and what its logits are divided by."""

    head: LinearHead
    temperature: float

    def predict(self, clips: Clips) -> np.ndarray:
        """Probabilities softmax(logits / temperature), float64 (n, classes)."""
        return softmax(self.head.logits(_vectors(clips)) / self.temperature, axis=1)


def fitted(source: Clips) -> SourceHead:
    """Fit the head to all utterances of the sources; see `models.linear`.

    Its temperature is found on speakers that are left out in turn. Of one corpus it is SHIFT times
    that: another corpus is further away than other speakers.

    Args:
        source: their vectors, standardised.
    """
    x, y = _vectors(source), source.y.cpu().numpy()
    classes = len(source.labels)
    speakers = speaker_keys(source.rows).to_numpy()
    t = source_temperature(x, y, speakers, classes)
    if len(source.corpora) == 1:
        t *= recipe.SHIFT
    return SourceHead(linear_head(x, y, classes, recipe.SOURCE_STRENGTH), t)


def held_out_temperature(learner: DomainLearner, window_frames: int = 0) -> float:
    """The temperature of a trained algorithm: SHIFT times that of its validation utterances.

    They are of the sources, from speakers that it was not trained on; every emotion counts alike.

    Args:
        learner: the trained one.
        window_frames: see `predict_table`.
    """
    valid = learner.valid
    y, classes = valid.y.cpu().numpy(), len(valid.labels)
    scores = predict_table(learner.algorithm.predict, valid, window_frames)
    # an algorithm of one's own may give 0 to the truth
    least = np.finfo(float).tiny
    logits = np.log(np.maximum(scores, least))
    mass = balanced(y, classes)
    return recipe.SHIFT * temperature(logits, y, mass)


def _vectors(clips: Clips) -> np.ndarray:
    """One vector an utterance, float64 (n, dim)."""
    return clips.values.cpu().double().numpy()
