"""The recipe where no utterance of the target has a label: one linear head on all sources.

And temperatures, from speech that has labels: of sources that a classifier was not fitted on.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import softmax

from colab_utils.corpora.manifest import speaker_keys
from colab_utils.learning import recipe
from colab_utils.learning.clips import Clips
from colab_utils.learning.heads import LinearHead, balanced, source_head, source_temperature
from colab_utils.methods.da_mldg.batches import predict_table
from colab_utils.methods.da_mldg.learner import DomainLearner
from colab_utils.results.calibration import temperature


class SourceHead(NamedTuple):
    """A linear head and what its logits are divided by."""

    head: LinearHead
    temperature: float

    def predict(self, clips: Clips) -> np.ndarray:
        """Probabilities softmax(logits / temperature), float64 (n, classes)."""
        return softmax(self.head.logits(_vectors(clips)) / self.temperature, axis=1)


def fitted(source: Clips) -> SourceHead:
    """Fit the head to all utterances of the sources; see `learning.heads`.

    The temperature is that of heads which have not heard the corpus they are asked about: each
    corpus is left out in turn. Of one corpus groups of speakers are, and that is not as far.

    Args:
        source: their vectors, standardised.
    """
    x, y, classes = _vectors(source), source.y.cpu().numpy(), len(source.labels)
    groups = source.corpus
    if len(source.corpora) == 1:
        groups = speaker_keys(source.rows).to_numpy()
    strength = recipe.SOURCE_STRENGTH
    t = source_temperature(x, y, groups, classes, strength)
    if len(source.corpora) == 1:
        t *= recipe.SHIFT
    return SourceHead(source_head(x, y, classes, strength), t)


def held_out_temperature(learner: DomainLearner, window_frames: int = 0) -> float:
    """The temperature of a trained algorithm on its validation utterances.

    They are of the sources, from speakers that it was not trained on; every emotion counts alike.

    Args:
        learner: the trained one.
        window_frames: see `predict_table`.
    """
    scores = predict_table(learner.algorithm.predict, learner.valid, window_frames)
    # an algorithm of one's own may give 0 to the truth
    logits = np.log(np.maximum(scores, np.finfo(float).tiny))
    y = learner.valid.y.cpu().numpy()
    return temperature(logits, y, balanced(y, scores.shape[1]))


def _vectors(clips: Clips) -> np.ndarray:
    """One vector an utterance, float64 (n, dim)."""
    return clips.values.cpu().double().numpy()
