"""Networks and nothing else: `network(name, dim, n_classes)` makes one.

Every network is called with the inputs of a batch and returns (logits, embedding); its last linear
layer is `head`, its attribute `embedding_dim` the width of the embedding. None drops units and none
of NETWORKS keeps running statistics, so these are functions of their parameters and inputs alone:
under torch.func, under vmap over tasks with their own parameters (`vmappable`), and differentiated
twice. resnet18 is the large one, of domain generalisation: no vmap, and running statistics under
norm="batch".
"""

from __future__ import annotations

from torch import nn

from colab_utils.models.conv4 import Conv4
from colab_utils.models.lstm import Lstm
from colab_utils.models.mlp import Mlp
from colab_utils.settings import SettingError

NETWORKS = ("mlp", "conv4", "lstm")


def network(
    name: str, dim: int, n_classes: int, *, norm: str = "group", width: int = 64, frames: int = 200
) -> nn.Module:
    """A fresh network for features of `dim` columns; its weights follow from torch's global seed.

    mlp is called with (values (n, dim),), the others with (values (n, frames, dim), mask (n,
    frames)). width: units of the mlp, channels of conv4 and of resnet18's first layers, half the
    units of the lstm, so that 64 gives the published sizes. norm: "group" (each utterance alone),
    "batch" (statistics of the batch) or "paper-batch" (conv4 as published, for clips of up to
    `frames` frames). Raises SettingError for a name or a norm that does not exist, or does not for
    that network.
    """
    if name == "conv4":
        return Conv4(dim, n_classes, norm=norm, width=width, frames=frames)
    if name == "lstm":
        return Lstm(dim, n_classes, norm=norm, width=width)
    if name == "mlp":
        return Mlp(dim, n_classes, norm=norm, width=width)
    if name == "resnet18":
        # imported here, because torchvision takes most of a second
        from colab_utils.models.resnet import ResNet18

        return ResNet18(n_classes, norm=norm, width=width)
    raise SettingError(
        f"no network is called {name!r}: choose from {', '.join(NETWORKS)}, resnet18"
    )
