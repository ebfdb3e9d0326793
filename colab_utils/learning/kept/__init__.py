"""Trained models as folders: kept by a study, opened without its corpus, labelling new clips."""

from colab_utils.learning.kept.model import Kept, ModelError
from colab_utils.learning.kept.opening import open_model

__all__ = ["Kept", "ModelError", "open_model"]
