"""AlexNet in a kept model: pictures of an utterance's segments, answered by the network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch

from colab_utils.features.store.features import Features
from colab_utils.methods.alexnet.network import network
from colab_utils.methods.alexnet.pictures import Range, make_images, utterance_probabilities
from colab_utils.methods.alexnet.settings import AlexnetConfig
from colab_utils.methods.alexnet.training import probabilities
from colab_utils.settings import as_dict

_LOW, _HIGH = "range.low", "range.high"


class PicturePredictor:
    """What `learning.kept.predictor.Predictor` is for vectors and frames.

    Args:
        labels: the emotions, in the order of the class ids.
        config: the settings of network and test.
        limits: of the bins, of the training.
        module: the trained network.
    """

    kind: ClassVar[str] = "pictures"

    def __init__(
        self, labels: list[str], config: AlexnetConfig, limits: Range, module: torch.nn.Module
    ):
        self.labels, self.config = list(labels), config
        self.limits, self.module = limits, module

    def scores(self, features: Features, rows: pd.DataFrame, device: str = "cpu") -> np.ndarray:
        """Probabilities of clips, float64 (n, labels).

        Args:
            features: spectrograms of at least these clips, normalised as those of the training.
            rows: their utt_id.
            device: where to compute.
        """
        module = self.module.to(device)
        config = self.config
        images = make_images(
            features, list(rows["utt_id"]), config, self.limits, hop=config.test_hop, device=device
        )
        return utterance_probabilities(probabilities(module, images), images, config.decision)

    def described(self) -> dict[str, Any]:
        """The settings, plain JSON values."""
        return {"settings": as_dict(self.config)}

    def tensors(self) -> dict[str, torch.Tensor]:
        """The weights by name, and the range of the bins."""
        return {**self.module.state_dict(), _LOW: self.limits.low, _HIGH: self.limits.high}

    @classmethod
    def made(
        cls,
        labels: list[str],
        description: Mapping[str, Any],
        tensors: Mapping[str, torch.Tensor],
    ) -> PicturePredictor:
        """The same again from `described` and `tensors`. Raises KeyError, TypeError, ..."""
        config = AlexnetConfig(**description["settings"])
        weights = dict(tensors)
        limits = Range(weights.pop(_LOW), weights.pop(_HIGH))
        module = network(config.ser_model, len(labels), config.pooling)
        module.load_state_dict(weights)
        return cls(labels, config, limits, module)
