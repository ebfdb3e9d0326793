"""EMOFSL with layers of the encoder that learn: the three stages of `emofsl` on stored frames of the layer below them (method_facts §2.2, §2.7).

The frozen part of the encoder is computed once and cached. A draw's layers are as large as the encoder's, so draws are fine-tuned one after
the other, each from the source's weights.
"""
from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import numpy as np
import torch

from colab_utils.features.store.store import FeatureStore
from colab_utils.learning.tasks import Batch
from colab_utils.learning.training import TrainingError
from colab_utils.methods.emofsl.emofsl import Metric, SourceLearner, check_trained, loss_of
from colab_utils.methods.emofsl.layers.network import EncoderNet, pooled
from colab_utils.methods.emofsl.settings import EmofslConfig, check
from colab_utils.results.rates import confusion, uar

_AT_ONCE = 32                # clips that go through the layers together, where nothing is learned


class Frames:
    """Stored frames of utterances `ids`, by row number, brought to the device when asked for: those of a large corpus fill no memory."""

    def __init__(self, store: FeatureStore, ids: Sequence[str], device: str | torch.device = "cpu"):
        self.store, self.ids, self.device = store, np.asarray(ids, dtype=object), torch.device(device)

    def inputs(self, numbers: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """values float32 (n, longest, dim) and mask (n, longest) of row numbers (n,)."""
        values, mask = self.store.padded(list(self.ids[numbers]))
        return torch.from_numpy(values).to(self.device), torch.from_numpy(mask).to(self.device)

    @torch.no_grad()
    def through(self, function: Callable[..., tuple[torch.Tensor, ...]], numbers: np.ndarray) -> tuple[torch.Tensor, ...]:
        """What `function(values, mask)` makes of each row, in the order of `numbers`; clips of like length go together."""
        order = np.argsort(self.store.lengths(list(self.ids[numbers])), kind="stable")
        parts = [function(*self.inputs(numbers[order[first:first + _AT_ONCE]])) for first in range(0, len(order), _AT_ONCE)]
        back = torch.as_tensor(np.argsort(order), device=self.device)
        return tuple(torch.cat(one)[back] for one in zip(*parts, strict=True))


class LayersLearner(SourceLearner):
    """Stage 1 on frames: a `SourceLearner` of an EncoderNet, whose layers learn at config.layers_rate; score: the UAR of whole clips.

    train, valid: row numbers of `frames`; y: label indices of all its rows.
    """

    def __init__(self, module: EncoderNet, frames: Frames, y: np.ndarray, train: np.ndarray, valid: np.ndarray, config: EmofslConfig,
                 metric: Metric | None = None):
        check(config)
        self.frames, self.held, self.held_y, self.n_labels = frames, valid, y[valid], module.net.head.out_features
        labels = torch.as_tensor(y[train], device=frames.device)
        super().__init__(module, lambda rows: frames.inputs(train[rows]), labels, Batch((), labels[:0], labels[:0].bool()), self.n_labels, config,
                         metric)
        self.optimiser = adam(module, config, config.source_rate)

    def validate(self) -> float:
        """UAR of the validation utterances, in [0, 1]."""
        logits = self.frames.through(self.module, self.held)[0]
        return float(uar(confusion(self.held_y, logits.argmax(dim=1).cpu().numpy(), list(range(self.n_labels)))))


def adam(module: EncoderNet, config: EmofslConfig, rate: float) -> torch.optim.Adam:
    """Adam of layers (at config.layers_rate), projection and head (at `rate`)."""
    return torch.optim.Adam([{"params": [one for one in part.parameters() if one.requires_grad], "lr": each}
                             for part, each in ((module.upper, config.layers_rate), (module.net, rate))])


def fine_tune_layers(module: EncoderNet, support: tuple[torch.Tensor, torch.Tensor], y: torch.Tensor, config: EmofslConfig,
                     metric: Metric | None) -> EncoderNet:
    """Stage 2 for one draw: a copy of `module` after config.epochs updates on its support, with the loss of `emofsl.fine_tune`.

    support: values (n, frames, dim) and mask (n, frames); y: class ids (n,); metric: of `metric_loss`, or one's own of that form.
    Raises SettingError, and TrainingError where it diverges.
    """
    check(config)
    check_trained(config, module.net)
    module = copy.deepcopy(module)
    if config.centre:
        with torch.no_grad():
            centre = pooled(module.upper(*support), support[1], module.pooling).mean(dim=0)
            module.net.mean.lerp_(centre, config.centre)
    optimiser = adam(module, config, config.learning_rate)
    decay = torch.optim.lr_scheduler.ExponentialLR(optimiser, config.decay)
    try:
        for _ in range(config.epochs):
            logits, embedding = module(*support)
            loss = loss_of(logits[None], embedding[None], y, config, metric).sum()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            decay.step()
    except torch.OutOfMemoryError as error:
        raise TrainingError(f"out of memory with {len(y)} support clips of up to {support[0].shape[1]} frames: fewer shots, a smaller "
                            "tune_layers, or a front end with fewer max_seconds") from error
    if not all(bool(torch.isfinite(value).all()) for value in module.parameters()):
        raise TrainingError("fine-tuning ended in numbers that are not finite: lower learning_rate or layers_rate, or look for broken features")
    return module
