"""Few-shot transfer whose speech encoder learns, too.

Its last layers are trained on the source and fine-tuned on each support draw.
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch

from colab_utils.features.encoders.embeddings import SpeechEncoder, load_upper_layers, save_encoder
from colab_utils.features.front_end import identity
from colab_utils.features.store.store import FeatureStore
from colab_utils.files import short_hash
from colab_utils.learning.clips import Clips
from colab_utils.learning.study import Tested
from colab_utils.methods.emofsl import emofsl
from colab_utils.methods.emofsl.emofsl import Metric, SourceLearner, scale_of
from colab_utils.methods.emofsl.layers.network import EncoderNet, over_time
from colab_utils.methods.emofsl.layers.tuning import Frames, LayersLearner, fine_tune_layers
from colab_utils.methods.emofsl.network import EmofslNet
from colab_utils.methods.emofsl.settings import EmofslConfig
from colab_utils.methods.emofsl.study import BASELINES, TransferStudy
from colab_utils.progress import bar as progress_bar
from colab_utils.settings import SettingError


class LayersStudy(TransferStudy):
    """A TransferStudy whose config.tune_layers is `n_layers`, not 0.

    The baselines see what the encoder gives as it comes (frozen), but "source only" is the source's
    model with its layers. A part of a run, the draws of a fold, takes about as long as
    config.epochs updates and one pass over the tested clips for each draw.

    Args:
        name, rows, split, labels, root: as there.
        store: frames of `encoder.below(n_layers)`.
        encoder: a speech encoder of one layer.
        n_layers: how many of its last layers learn.
        **others: of `TransferStudy`.

    Raises:
        SettingError: an encoder that gives frames.
        EncoderError: an encoder that cannot be had.
    """

    small = False  # these layers are large enough for several threads

    def __init__(
        self,
        name: str,
        rows: pd.DataFrame,
        split: pd.DataFrame,
        store: FeatureStore,
        labels: Sequence[str],
        root: str | os.PathLike,
        *,
        encoder: SpeechEncoder,
        n_layers: int,
        **others: Any,
    ):
        super().__init__(name, rows, split, store, labels, root, **others)
        if not encoder.pooled:
            raise SettingError(
                f"pooling = {encoder.pooling!r}: EMOFSL wants one vector an "
                "utterance; choose mean or mean-std"
            )
        self.encoder, self.n_layers = encoder, n_layers
        self.front = f"{self.front}-{n_layers}tuned"
        # The frames that are stored do not say what is made of them.
        self._spec = identity(encoder)
        self._spec["name"] = self.front
        self._key = short_hash([store.key, self._spec])
        self.frames = Frames(store, self.rows["utt_id"], self.device)
        # As the encoder comes; what learns is a new one.
        self.upper = load_upper_layers(encoder, n_layers, self.device)

    # --- the contract -----------------------------------------------------------------------------

    def check(self, tested: Tested) -> None:
        """Raise SettingError for another number of layers than the cache was made for."""
        if tested.config.tune_layers != self.n_layers:
            raise SettingError(
                f"tune_layers = {tested.config.tune_layers}, but this study has cached what "
                f"{self.n_layers} layers need: make another by "
                "Transfers.study(..., tune_layers=...)"
            )

    def features_of(self, tested: Tested) -> tuple[str, dict]:
        """The encoder whose layers learn, above the stored frames."""
        return self._key, self._spec

    def notes(self, tested: Tested) -> list[str]:
        """Also whether the layers of the encoder learned."""
        frozen = tested.kind in BASELINES and tested.kind != "source only"
        learns = f"the encoder's last layers learn, too: {self.n_layers}"
        return [*super().notes(tested), "the encoder as it comes" if frozen else learns]

    # --- what a notebook asks for -----------------------------------------------------------------

    def save_encoder(self, config: EmofslConfig, folder: str | os.PathLike) -> pathlib.Path:
        """Write the encoder as the source's training left it, in the Hub's format.

        Returns the folder; it serves as a front end anywhere.
        """
        self.check(Tested("source", config))
        return save_encoder(self.encoder, self.source_of(config).module.upper, folder)

    # --- the three stages on frames ---------------------------------------------------------------

    def through(
        self, module: torch.nn.Module, numbers: np.ndarray
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits (n, classes) and projections (n, width) of `rows[numbers]`."""
        return self.frames.through(module, numbers)

    def projected(
        self,
        learner: SourceLearner,
        draw: np.ndarray,
        numbers: np.ndarray,
        config: EmofslConfig,
        metric: Metric | None,
    ) -> torch.Tensor:
        """Projections (n, width) of `rows[numbers]` after one draw (1, classes, shots)."""
        return self.through(self._tuned(learner, draw[0], config, metric), numbers)[1]

    def _source_learner(
        self, train: np.ndarray, valid: np.ndarray, config: EmofslConfig, metric: Metric | None
    ) -> SourceLearner:
        mean, factor = scale_of(self._features("source", train).cpu().numpy())
        torch.manual_seed(config.seed)
        net = EmofslNet(
            mean, factor, len(self.labels), width=config.width, activation=config.activation
        )
        upper = load_upper_layers(self.encoder, self.n_layers, self.device)
        module = EncoderNet(upper, net, self.encoder.pooling).to(self.device)
        return LayersLearner(module, self.frames, self.y, train, valid, config, metric)

    def _decided(
        self,
        learner: SourceLearner,
        draws: np.ndarray,
        numbers: np.ndarray,
        config: EmofslConfig,
        metric: Metric | None,
    ) -> dict[str, torch.Tensor]:
        """Stages 2 and 3, draw by draw."""
        y, found = self._support_classes(draws), []
        hidden = not self.progress
        for draw in progress_bar(
            draws, desc=f"{config.method}, draws", disable=hidden, leave=False
        ):
            tuned = self._tuned(learner, draw, config, metric)
            known = self.through(tuned, draw.ravel())[1]
            logits, asked = self.through(tuned, numbers)
            found.append(emofsl.scores_of(logits[None], asked[None], known[None], y, config))
        scores = {}
        for decision in found[0]:
            scores[decision] = torch.cat([one[decision] for one in found])
        return scores

    def _tuned(
        self, learner: SourceLearner, draw: np.ndarray, config: EmofslConfig, metric: Metric | None
    ) -> EncoderNet:
        """The network after the fine-tuning on one draw (classes, shots)."""
        support, y = self.frames.inputs(draw.ravel()), self._support_classes(draw[None])
        return fine_tune_layers(learner.module, support, y, config, metric)

    def _frozen(self, learner: SourceLearner) -> EmofslNet:
        return learner.module.net

    def _read(self, numbers: np.ndarray) -> Clips:
        """What the encoder gives as it comes, of the stored frames below its last layers."""

        def vectors_of(values: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor]:
            return (over_time(self.upper(values, mask), mask, self.encoder.pooling),)

        (found,) = self.frames.through(vectors_of, numbers)
        return Clips(
            self.store,
            self.rows.iloc[numbers],
            self.labels,
            device=self.device,
            vectors=found.cpu().numpy(),
        )
