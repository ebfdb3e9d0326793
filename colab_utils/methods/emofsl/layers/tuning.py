"""EMOFSL with layers of the encoder that learn: its three stages on stored frames.

The frozen part of the encoder is computed once and cached (method_facts §2.2, §2.7). A draw's
layers are as large as the encoder's, so draws are fine-tuned one after the other, each from the
source's weights.
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
from colab_utils.methods.emofsl.layers.network import EncoderNet, over_time
from colab_utils.methods.emofsl.settings import EmofslConfig
from colab_utils.results.rates import confusion, uar
from colab_utils.settings import check

_AT_ONCE = 32  # clips that go through the layers together, where nothing is learned


class Frames:
    """Stored frames of utterances, by row number, brought to the device when asked for.

    Those of a large corpus fill no memory.

    Args:
        store: frames of at least these utterances.
        ids: the utterances.
        device: where the frames are needed.
    """

    def __init__(self, store: FeatureStore, ids: Sequence[str], device: str | torch.device = "cpu"):
        self.store, self.ids = store, np.asarray(ids, dtype=object)
        self.device = torch.device(device)

    def inputs(self, numbers: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Values float32 (n, longest, dim) and mask (n, longest) of row numbers (n,)."""
        values, mask = self.store.padded(list(self.ids[numbers]))
        return torch.from_numpy(values).to(self.device), torch.from_numpy(mask).to(self.device)

    @torch.no_grad()
    def through(
        self, function: Callable[..., tuple[torch.Tensor, ...]], numbers: np.ndarray
    ) -> tuple[torch.Tensor, ...]:
        """What `function(values, mask)` makes of each row, in the order of `numbers`.

        Clips of like length go together.
        """
        order = np.argsort(self.store.lengths(list(self.ids[numbers])), kind="stable")
        parts = []
        for first in range(0, len(order), _AT_ONCE):
            chosen = numbers[order[first : first + _AT_ONCE]]
            parts.append(function(*self.inputs(chosen)))
        back = torch.as_tensor(np.argsort(order), device=self.device)
        return tuple(torch.cat(one)[back] for one in zip(*parts, strict=True))


class LayersLearner(SourceLearner):
    """Stage 1 on frames: a `SourceLearner` of an EncoderNet, scored by the UAR of whole clips.

    The layers learn at config.layers_rate.

    Args:
        module: the network.
        frames: of all utterances.
        y: label indices of all rows of `frames`, int64 (n,).
        train, valid: row numbers.
        config: the settings.
        metric: of `metric_loss`, or None.

    Raises:
        SettingError: for settings that cannot work.
    """

    def __init__(
        self,
        module: EncoderNet,
        frames: Frames,
        y: np.ndarray,
        train: np.ndarray,
        valid: np.ndarray,
        config: EmofslConfig,
        metric: Metric | None = None,
    ):
        check(config)
        self.frames, self._valid_rows, self._valid_y = frames, valid, y[valid]
        self._classes = list(range(module.net.head.out_features))
        labels = torch.as_tensor(y[train], device=frames.device)

        def inputs(rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
            return frames.inputs(train[rows])

        nobody = Batch((), labels[:0], labels[:0].bool())  # `validate` reads frames of its own
        super().__init__(module, inputs, labels, nobody, len(self._classes), config, metric)
        self.optimiser = adam(module, config, config.source_rate)

    def validate(self) -> float:
        """UAR of the validation utterances, in [0, 1]."""
        logits = self.frames.through(self.module, self._valid_rows)[0]
        chosen = logits.argmax(dim=1).cpu().numpy()
        return float(uar(confusion(self._valid_y, chosen, self._classes)))


def adam(module: EncoderNet, config: EmofslConfig, rate: float) -> torch.optim.Adam:
    """Adam of layers (at config.layers_rate), projection and head (at `rate`)."""
    layers = [one for one in module.upper.parameters() if one.requires_grad]
    above = [one for one in module.net.parameters() if one.requires_grad]
    return torch.optim.Adam(
        [{"params": layers, "lr": config.layers_rate}, {"params": above, "lr": rate}]
    )


def fine_tune_layers(
    module: EncoderNet,
    support: tuple[torch.Tensor, torch.Tensor],
    y: torch.Tensor,
    config: EmofslConfig,
    metric: Metric | None,
) -> EncoderNet:
    """Stage 2 for one draw, with the loss of `emofsl.fine_tune`.

    Args:
        module: the source's network; it stays as it is.
        support: values (n, frames, dim) and mask (n, frames).
        y: class ids (n,).
        config: the settings.
        metric: of `metric_loss`, or one's own of that form.

    Returns:
        A copy of `module` after config.epochs updates.

    Raises:
        SettingError: for settings that cannot work.
        TrainingError: where it diverges, or memory does not suffice.
    """
    check(config)
    check_trained(config, module.net)
    module = copy.deepcopy(module)
    if config.centre:
        with torch.no_grad():
            frames = module.upper(*support)
            centre = over_time(frames, support[1], module.pooling).mean(dim=0)
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
        raise TrainingError(
            f"out of memory with {len(y)} support clips of up to {support[0].shape[1]} frames: "
            "fewer shots, a smaller tune_layers, or a front end with fewer max_seconds"
        ) from error
    if not all(bool(torch.isfinite(value).all()) for value in module.parameters()):
        raise TrainingError(
            "fine-tuning ended in numbers that are not finite: lower "
            "learning_rate or layers_rate, or look for broken features"
        )
    return module
