"""EMOFSL with layers of the encoder that learn: its stage 2 on stored frames.

The frozen part of the encoder is computed once and cached. A draw's layers are as large as the
encoder's, so draws are fine-tuned one after the other, each from the source's weights. The paper
(Yue et al. 2023, Fig. 2) has wav2vec 2.0 as extractor and does not say which of its layers learn.
"""

import copy

import torch

from colab_utils.learning.training import TrainingError
from colab_utils.methods.emofsl.emofsl import check_finite, check_settings, loss_of
from colab_utils.methods.emofsl.layers.network import EncoderNet
from colab_utils.methods.emofsl.settings import EmofslConfig
from colab_utils.methods.emofsl.source import Metric


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
        y: class ids, int64 (n,).
        config: the settings.
        metric: of `metric_loss`, or one's own of that form.

    Returns:
        A copy of `module` after config.epochs updates.

    Raises:
        SettingError: for settings that cannot work.
        TrainingError: where it diverges, or memory does not suffice.
    """
    check_settings(config, module.net)
    module = copy.deepcopy(module)
    if config.centre:
        with torch.no_grad():
            module.net.mean.lerp_(module.pooled(*support).mean(dim=0), config.centre)
    optimiser = torch.optim.Adam(module.groups(config.learning_rate, config.layers_rate))
    decay = torch.optim.lr_scheduler.ExponentialLR(optimiser, config.decay)
    try:
        for _ in range(config.epochs):
            logits, embedding = module(*support)
            loss = loss_of(logits[None], embedding[None], y, config, metric)
            optimiser.zero_grad()
            loss.sum().backward()
            optimiser.step()
            decay.step()
    except torch.OutOfMemoryError as error:
        raise TrainingError(
            f"out of memory with {len(y)} support clips of up to {support[0].shape[1]} frames: "
            "fewer shots, a smaller tune_layers, or a front end with fewer max_seconds"
        ) from error
    check_finite(module.parameters())
    return module
