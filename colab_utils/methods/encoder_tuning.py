"""Tuning the last layers of a speech encoder on the source: the frames below them are computed once, the layers above go on learning.

The result is a checkpoint in the Hub's format, which `features.embeddings.SpeechEncoder(checkpoint=<folder>)` reads like any other
(EMOFSL's extractor is wav2vec 2.0 with its convolutions frozen, method_facts §2.2).
"""
from __future__ import annotations

import dataclasses
import os
import pathlib
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.nn import functional

from colab_utils import settings
from colab_utils.features.embeddings import SpeechEncoder, load_upper_layers
from colab_utils.features.encoders_checkpoints import find
from colab_utils.features.encoders_module import load_model
from colab_utils.methods.domain_data import DomainData, predict_table
from colab_utils.results.rates import confusion, uar


@dataclasses.dataclass(frozen=True)
class TuningConfig:
    """Settings of the tuning."""
    layers: int = settings.setting(2, "last transformer layers that learn", low=1, high=24, step=1)
    steps: int = settings.setting(300, "updates", low=1, high=100000, step=1)
    batch: int = settings.setting(16, "utterances in a batch, every emotion equally often", low=2, high=256, step=1)
    learning_rate: float = settings.setting(1e-4, "learning rate of AdamW", low=1e-7, high=1e-1)
    most_frames: int = settings.setting(500, "frames of a training crop (500: 10 s)", low=10, high=3000, step=1)
    seed: int = settings.setting(0, "seed of the head, batches and crops", low=0, high=100000, step=1)


class TuningLearner:
    """The last layers and a linear head on the mean of their frames, as a learner for `training.train`; the score is the UAR of other speakers.

    spec: the encoder whose `layer` is "last"; store: frames of `spec.below(config.layers)`, so that everything under the tuned layers stays as it
    is; train, valid: rows of source speakers. Raises SettingError for another layer, EncoderError.
    """

    def __init__(self, spec: SpeechEncoder, store: Any, train: pd.DataFrame, valid: pd.DataFrame, labels: list[str], config: TuningConfig,
                 device: str = "cpu"):
        settings.check(config)
        if spec.layer != "last":
            raise settings.SettingError(f"layer = {spec.layer!r}: the layers that are tuned are the last ones; choose 'last'")
        self.spec, self.config, self.labels = spec, config, labels
        self.train_data, self.valid = (DomainData(store, rows.assign(corpus="source"), labels, device=device, crop_frames=config.most_frames)
                                       for rows in (train, valid))
        torch.manual_seed(config.seed)
        upper = load_upper_layers(spec, config.layers, device)
        for name, parameter in upper.named_parameters():        # WavLM's positions belong to the first layer, which stays as it is
            parameter.requires_grad_("rel_attn_embed" not in name)
        self.module = nn.ModuleDict({"upper": upper, "head": nn.Linear(self.train_data.dim, len(labels))}).to(device)
        self.optimiser = torch.optim.AdamW([p for p in self.module.parameters() if p.requires_grad], lr=config.learning_rate)

    def logits(self, inputs: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """Logits (n, classes) of frames (n, frames, dim) and their mask."""
        values, mask = inputs
        frames = self.module["upper"](values, mask)
        return self.module["head"]((frames * mask[..., None]).sum(dim=1) / mask.sum(dim=1, keepdim=True))

    def step(self, i: int) -> dict[str, float]:
        """One update; the loss."""
        inputs, y = self.train_data.batches(self.config.seed, i, self.config.batch, balance="class")["source"]
        loss = functional.cross_entropy(self.logits(inputs), y)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return {"loss": loss.item()}

    @torch.no_grad()
    def validate(self) -> float:
        """UAR of the validation speakers, whole clips."""
        found = predict_table(self.logits, self.valid).argmax(axis=1)
        return float(uar(confusion(self.valid.classes, found, list(np.arange(len(self.labels))))))

    def state(self) -> dict[str, Any]:
        """All that the next step depends on."""
        return {"module": self.module.state_dict(), "optimiser": self.optimiser.state_dict()}

    def load(self, state: dict[str, Any]) -> None:
        """Put back what `state` gave."""
        self.module.load_state_dict(state["module"])
        self.optimiser.load_state_dict(state["optimiser"])

    def save(self, folder: str | os.PathLike) -> pathlib.Path:
        """Write the whole encoder with its tuned layers to `folder`, in the Hub's format; returns it."""
        from transformers import AutoFeatureExtractor
        source, folder = find(self.spec.checkpoint, self.spec.revision), pathlib.Path(folder)
        model, _ = load_model(source)
        for mine, tuned in zip(model.encoder.layers[-self.config.layers:], self.module["upper"].encoder.layers, strict=True):
            mine.load_state_dict({name: value.cpu() for name, value in tuned.state_dict().items()}, strict=False)     # WavLM's first holds more
        if getattr(model.config, "do_stable_layer_norm", False):        # stands behind the last layer
            model.encoder.layer_norm.load_state_dict(self.module["upper"].encoder.layer_norm.state_dict())
        model.save_pretrained(folder)
        AutoFeatureExtractor.from_pretrained(source.folder).save_pretrained(folder)
        return folder
