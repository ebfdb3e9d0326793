"""Few-shot transfer whose speech encoder learns, too: its last layers are trained on the source and fine-tuned on each support draw."""
from __future__ import annotations

import contextlib
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch

from colab_utils import settings
from colab_utils.features.encoders.embeddings import SpeechEncoder, load_upper_layers, save_encoder
from colab_utils.features.front_end import identity
from colab_utils.features.store.store import FeatureStore
from colab_utils.files import short_hash
from colab_utils.methods.emofsl import emofsl
from colab_utils.methods.emofsl.emofsl import Metric, SourceLearner, scale_of
from colab_utils.methods.emofsl.layers.network import EncoderNet, pooled
from colab_utils.methods.emofsl.layers.tuning import Frames, LayersLearner, fine_tune_layers
from colab_utils.methods.emofsl.network import EmofslNet
from colab_utils.methods.emofsl.settings import EmofslConfig, check
from colab_utils.methods.emofsl.study import Tested, TransferStudy
from colab_utils.progress import bar as progress_bar


class LayersStudy(TransferStudy):
    """A TransferStudy whose config.tune_layers is `n_layers`, not 0.

    encoder: a SpeechEncoder of one layer; store: frames of `encoder.below(n_layers)`; the rest as there. The baselines see what the encoder
    gives as it comes (frozen), but "source only" is the source's model with its layers. A part of a run, the draws of a fold, takes about as
    long as config.epochs updates and one pass over the tested clips for each draw. Raises EncoderError, SettingError.
    """

    def __init__(self, name: str, rows: pd.DataFrame, split: pd.DataFrame, store: FeatureStore, labels: Sequence[str], root: str | os.PathLike, *,
                 encoder: SpeechEncoder, n_layers: int, **others: Any):
        super().__init__(name, rows, split, store, labels, root, **others)
        if not encoder.pooled:
            raise settings.SettingError(f"pooling = {encoder.pooling!r}: EMOFSL wants one vector an utterance; choose mean or mean-std")
        self.encoder, self.n_layers, self.front = encoder, n_layers, f"{self.front}-{n_layers}tuned"
        self.feature_spec = identity(encoder)              # the frames that are stored do not say what is made of them
        self.feature_key = short_hash([store.key, self.feature_spec])
        self.frames = Frames(store, self.rows["utt_id"], self.device)
        self.upper = load_upper_layers(encoder, n_layers, self.device)          # as it comes; what learns is a new one

    def _check(self, config: EmofslConfig) -> None:
        check(config)
        if config.tune_layers != self.n_layers:
            raise settings.SettingError(f"tune_layers = {config.tune_layers}, but this study has cached what {self.n_layers} layers need: "
                                        "make another by Transfers.study(..., tune_layers=...)")

    def _threads(self) -> contextlib.AbstractContextManager:
        return contextlib.nullcontext()                   # these layers are large enough to share

    def _vectors(self, numbers: np.ndarray) -> tuple[np.ndarray, str]:
        found, = self.frames.through(lambda values, mask: (pooled(self.upper(values, mask), mask, self.encoder.pooling),), numbers)
        return found.cpu().numpy(), ""

    def _notes(self, tested: Tested) -> list[str]:
        learns = tested.kind in ("tuned", "source only")
        return [*super()._notes(tested), f"the encoder's last layers learn, too: {self.n_layers}" if learns else "the encoder as it comes"]

    def _learner(self, train: np.ndarray, valid: np.ndarray, config: EmofslConfig, metric: Metric | None) -> SourceLearner:
        mean, factor = scale_of(self._features("source", train).cpu().numpy())
        torch.manual_seed(config.seed)
        net = EmofslNet(mean, factor, len(self.labels), width=config.width, activation=config.activation)
        upper = load_upper_layers(self.encoder, self.n_layers, self.device)
        module = EncoderNet(upper, net, self.encoder.pooling).to(self.device)
        return LayersLearner(module, self.frames, self.y, train, valid, config, metric)

    def _frozen(self, learner: SourceLearner) -> EmofslNet:
        return learner.module.net

    def _through(self, module: torch.nn.Module, numbers: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        return self.frames.through(module, numbers)

    def _decided(self, learner: SourceLearner, draws: np.ndarray, numbers: np.ndarray, config: EmofslConfig,
                 metric: Metric | None) -> dict[str, torch.Tensor]:
        y = torch.arange(draws.shape[1], device=self.device).repeat_interleave(draws.shape[2])
        found = []
        for draw in progress_bar(draws, desc=f"{config.method}, draws", disable=not self.progress, leave=False):
            tuned = fine_tune_layers(learner.module, self.frames.inputs(draw.ravel()), y, config, metric)
            known = self._through(tuned, draw.ravel())[1]
            logits, asked = self._through(tuned, numbers)
            found.append(emofsl.scores_of(logits[None], asked[None], known[None], y, config))
        return {decision: torch.cat([one[decision] for one in found]) for decision in found[0]}

    def _projected(self, learner: SourceLearner, draw: np.ndarray, numbers: np.ndarray, config: EmofslConfig, metric: Metric | None) -> torch.Tensor:
        y = torch.arange(draw.shape[1], device=self.device).repeat_interleave(draw.shape[2])
        return self._through(fine_tune_layers(learner.module, self.frames.inputs(draw.ravel()), y, config, metric), numbers)[1]

    def save_encoder(self, config: EmofslConfig, folder: str | os.PathLike) -> pathlib.Path:
        """Write the encoder as the source's training left it to `folder`, in the Hub's format; returns it. It serves as a front end anywhere."""
        self._check(config)
        return save_encoder(self.encoder, self._source(config, self.folds[0])[0].module.upper, folder)
