"""Networks and nothing else: `network(name, dim, n_classes)` makes one.

Every network is called with the inputs of a batch and returns (logits, embedding); its last linear
layer is `head`, its attribute `embedding_dim` the width of the embedding. None drops units and none
of NETWORKS keeps running statistics, so these are functions of their parameters and inputs alone:
under torch.func, under vmap over tasks with their own parameters, and differentiated twice.
resnet18 is the large one, of domain generalisation: no vmap, and running statistics under
norm="batch".
"""

from torch import nn

from colab_utils.models.conv4 import Conv4
from colab_utils.models.lstm import Lstm
from colab_utils.models.mlp import Mlp
from colab_utils.settings import SettingError

NETWORKS = ("mlp", "conv4", "lstm")
# the normalisations that each network has; the lstm has no such layers, every clip stands alone
_NORMS = {
    "mlp": ("group", "batch"),
    "conv4": ("group", "batch", "paper-batch"),
    "lstm": ("group",),
    "resnet18": ("group", "batch"),
}


def network(
    name: str, dim: int, n_classes: int, *, norm: str = "group", width: int = 64, frames: int = 200
) -> nn.Module:
    """A fresh network; its weights follow from torch's global seed.

    Args:
        name: mlp, which is called with values (n, dim); conv4, lstm or resnet18, called with
            values (n, frames, dim) and mask (n, frames).
        dim: columns of the features.
        n_classes: of the head.
        norm: "group" (each utterance alone), "batch" (statistics of the batch) or "paper-batch"
            (conv4 as published).
        width: units of the mlp, channels of conv4 and of resnet18's first layers, half the units
            of the lstm, so that 64 gives the published sizes.
        frames: the longest clip under "paper-batch".

    Raises:
        SettingError: a name or a norm that does not exist, or does not for that network; a width
            that "group" cannot divide into groups of 8 channels.

    Example:
        >>> logits, embedding = network("mlp", 768, 5)(torch.randn(2, 768))
        >>> logits.shape, embedding.shape
        (torch.Size([2, 5]), torch.Size([2, 64]))
    """
    if name not in _NORMS:
        raise SettingError(f"no network is called {name!r}: choose from {', '.join(_NORMS)}")
    if norm not in _NORMS[name]:
        raise SettingError(f"norm = {norm!r}: {name} knows {', '.join(map(repr, _NORMS[name]))}")
    if name == "conv4":
        return Conv4(dim, n_classes, norm=norm, width=width, frames=frames)
    if name == "lstm":
        return Lstm(dim, n_classes, width=width)
    if name == "mlp":
        return Mlp(dim, n_classes, norm=norm, width=width)
    # imported here, because torchvision takes most of a second
    from colab_utils.models.resnet import ResNet18

    return ResNet18(n_classes, norm=norm, width=width)
