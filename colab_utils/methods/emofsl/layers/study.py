"""Few-shot transfer whose speech encoder learns, too.

Its last layers are trained on the source and fine-tuned on each support draw.
"""

import dataclasses
import os
import pathlib
from typing import Any

import numpy as np
import torch

from colab_utils.features.encoders.embeddings import SpeechEncoder, load_upper_layers, save_encoder
from colab_utils.features.front_end import identity
from colab_utils.features.store.features import Features, Held
from colab_utils.files import short_hash
from colab_utils.learning.heads import LINEAR
from colab_utils.learning.kept import ModelError
from colab_utils.learning.kept.predictor import Predictor
from colab_utils.learning.study import Tested
from colab_utils.methods.emofsl import emofsl
from colab_utils.methods.emofsl.data import TransferData
from colab_utils.methods.emofsl.layers.data import FrameData
from colab_utils.methods.emofsl.layers.network import EncoderNet
from colab_utils.methods.emofsl.layers.tuning import fine_tune_layers
from colab_utils.methods.emofsl.settings import EmofslConfig
from colab_utils.methods.emofsl.source import Metric, SourceLearner
from colab_utils.methods.emofsl.study import BASELINES, TransferStudy
from colab_utils.progress import bar as progress_bar
from colab_utils.settings import SettingError


class LayersStudy(TransferStudy):
    """A TransferStudy whose config.tune_layers is `n_layers`, not 0.

    The baselines see what the encoder gives as it comes (frozen), but "source only" is the source's
    model with its layers. A part of a run, the draws of a fold, takes about as long as
    config.epochs updates and one pass over the tested clips for each draw.

    Args:
        *arguments: of `TransferStudy`; the store holds frames of `encoder.below(n_layers)`.
        encoder: a speech encoder of one layer.
        n_layers: how many of its last layers learn.
        **others: of `TransferStudy`.

    Raises:
        SettingError: an encoder that gives frames.
        EncoderError: an encoder that cannot be had.
    """

    small = False  # these layers are large enough for several threads

    def __init__(self, *arguments: Any, encoder: SpeechEncoder, n_layers: int, **others: Any):
        super().__init__(*arguments, **others)
        if not encoder.pooled:
            raise SettingError(
                f"pooling = {encoder.pooling!r}: EMOFSL wants one vector an utterance; choose mean "
                "or mean-std"
            )
        self.encoder = encoder
        self.n_layers = n_layers
        self.front = f"{self.front}-{n_layers}tuned"
        # The frames that are stored do not say what is made of them.
        self._spec = identity(encoder)
        self._spec["name"] = self.front
        self._key = short_hash([self.store.key, self._spec])

    # --- the contract -----------------------------------------------------------------------------

    def check(self, tested: Tested) -> None:
        """Raise SettingError for another number of layers than the cache was made for."""
        if tested.kind not in LINEAR and tested.config.tune_layers != self.n_layers:
            raise SettingError(
                f"tune_layers = {tested.config.tune_layers}, but this study has cached what "
                f"{self.n_layers} layers need: make another by Transfers.study(..., "
                "tune_layers=...)"
            )

    def features_of(self, tested: Tested) -> tuple[str, dict]:
        """The encoder whose layers learn, above the stored frames."""
        return self._key, self._spec

    def notes(self, tested: Tested) -> list[str]:
        """Also whether the layers of the encoder learned."""
        told = f"the encoder's last layers learn, too: {self.n_layers}"
        if self.single(tested):
            told = "the encoder as it comes"
        return [*super().notes(tested), told]

    def single(self, tested: Tested) -> bool:
        """One thread for a baseline, of which no layers learn."""
        return tested.kind in BASELINES and tested.kind != "source only"

    # --- what a notebook asks for -----------------------------------------------------------------

    def save_encoder(self, config: EmofslConfig, folder: str | os.PathLike) -> pathlib.Path:
        """Write the encoder as the source's training left it, in the Hub's format.

        Args:
            config: whose source model.
            folder: where to write.

        Returns:
            The folder; it serves as a front end anywhere.

        Raises:
            SettingError: for another number of layers than this study has.
        """
        self.check(Tested("source", config))
        return save_encoder(self.encoder, self.source_of(config).module.upper, folder)

    def kept(self, learner: Any, tested: Tested, fold: str) -> tuple[Predictor, Features]:
        """As of the contract, of methods that take the encoder as it comes."""
        if tested.config.normalisation == "none":
            raise ModelError(
                f"{tested.label}: the folder would have to hold the encoder, too: keep "
                "recommended, or what was tuned in a study with tune_layers = 0"
            )
        return super().kept(learner, tested, fold)

    # --- the three stages on frames ---------------------------------------------------------------

    def _data_of(self, tested: Tested) -> TransferData:
        """Stored frames; vectors of the encoder as it comes, where they are normalised."""
        if tested.config.normalisation != "none":
            plain = dataclasses.replace(tested.config, normalisation="none")
            vectors = self.data(plain).read(np.arange(len(self.rows))).values
            values, store = vectors.cpu().numpy(), self.store
            held = Held(self.rows["utt_id"], values, store.spec, store.key)
            held.front_end = self.encoder
            found = self.normalised(held, tested)
            return TransferData(self.rows, self.sides(tested), found, self.labels, self.device)
        return FrameData(
            self.rows,
            self.sides(tested),
            self.store,
            self.labels,
            self.device,
            encoder=self.encoder,
            n_layers=self.n_layers,
        )

    def _network(self, train: np.ndarray, config: EmofslConfig) -> EncoderNet:
        net = super()._network(train, config)
        upper = load_upper_layers(self.encoder, self.n_layers, self.device)
        return EncoderNet(upper, net, self.encoder.pooling)

    def _decided(
        self, learner: SourceLearner, config: EmofslConfig, fold: str, own: Metric | None
    ) -> dict[str, torch.Tensor]:
        """Stages 2 and 3, draw by draw."""
        data = self.data(config)
        draws = data.draws(config, fold)
        tested = data.numbers(fold, "test")
        metric = self.metric(config, fold, own)
        logits, found, known = [], [], []
        title = f"{config.method}, draws"
        for draw in progress_bar(draws, desc=title, disable=not self.progress, leave=False):
            tuned = self._tuned(learner, draw, config, metric)
            draw_logits, draw_found = data.through(tuned, tested)
            logits.append(draw_logits)
            found.append(draw_found)
            known.append(data.through(tuned, draw.ravel())[1])
        y = data.y[draws[0].ravel()]
        return emofsl.scores_of(
            torch.stack(logits), torch.stack(found), torch.stack(known), y, config
        )

    def projected(
        self, learner: SourceLearner, config: EmofslConfig, fold: str, numbers: np.ndarray
    ) -> torch.Tensor:
        """Projections (n, width) of target rows after the fine-tuning on the first draw."""
        draw = self.data(config).draws(config, fold)[0]
        tuned = self._tuned(learner, draw, config, self.metric(config, fold))
        return self.data(config).through(tuned, numbers)[1]

    def _tuned(
        self, learner: SourceLearner, draw: np.ndarray, config: EmofslConfig, metric: Metric | None
    ) -> EncoderNet:
        """The network after the fine-tuning on one draw (classes, shots)."""
        numbers = draw.ravel()
        data = self.data(config)
        support, y = data.inputs(numbers), data.y[numbers]
        return fine_tune_layers(learner.module, support, y, config, metric)
