"""AlexNet for spectrogram pictures: torchvision's network with a new head, and the small one with
global average pooling (method_facts §3.3).
"""

from __future__ import annotations

import os
import pathlib

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional
from torchvision.models import AlexNet_Weights
from torchvision.models import alexnet as torchvision_alexnet

from colab_utils import files
from colab_utils.settings import SettingError

SMALLEST = 63  # pixels a side that the convolutions leave something of
MODELS = ("alexnet", "alexnet_gap")
_DENSE = ("classifier.1.weight", "classifier.1.bias", "classifier.4.weight", "classifier.4.bias")
_TORN = (SafetensorError, ValueError, OSError, RuntimeError, EOFError, KeyError, AttributeError)


class AlexNet(nn.Module):
    """torchvision's AlexNet with a head for `n_classes`: 57 020 228 parameters at 4 classes."""

    def __init__(self, n_classes: int):
        super().__init__()
        whole = torchvision_alexnet(num_classes=n_classes)
        self.features = whole.features
        self.avgpool = whole.avgpool
        self.classifier = whole.classifier
        _fresh(self.classifier[6])

    def forward(self, images: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        """Logits of pictures.

        Args:
            images: float (n, 1 or 3, height, width).
            valid: the share of the width that is speech, from the left (n,). It is not used: three
                fully connected layers look at all of a picture, padding included (silence).

        Returns:
            float (n, n_classes).
        """
        maps = self.avgpool(convolved(self.features, images))
        return self.classifier(torch.flatten(maps, 1))


class AlexNetGap(nn.Module):
    """AlexNet's convolutions, one 1 x 1 convolution to the classes, and the mean over the picture
    (FCN+GAP): 2 470 724 parameters at 4 classes.

    The mean is over those columns of the last map that are centred on speech, so that padding does
    not count; at least one.
    """

    def __init__(self, n_classes: int):
        super().__init__()
        self.features = torchvision_alexnet(num_classes=1).features
        self.head = nn.Conv2d(256, n_classes, 1)
        _fresh(self.head)

    def forward(self, images: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        """As AlexNet's; logits are the mean of `activation_map` over the columns of speech."""
        maps = self.activation_map(images)
        weight = valid_columns(valid, maps.shape[3]).to(maps)
        return (maps.mean(dim=2) * weight[:, None]).sum(dim=2) / weight.sum(dim=1, keepdim=True)

    def activation_map(self, images: torch.Tensor) -> torch.Tensor:
        """What each place of the picture says for each class, float (n, n_classes, rows, columns):
        a class activation map (Zhou et al. 2016).
        """
        return self.head(convolved(self.features, images))


def valid_columns(valid: torch.Tensor, columns: int) -> torch.Tensor:
    """Which of `columns` are centred on the share `valid` (n,) from the left, bool (n, columns).

    The first always is.
    """
    centre = (torch.arange(columns, device=valid.device) + 0.5) / columns
    inside = centre[None] < valid[:, None]
    inside[:, 0] = True
    return inside


def spectrogram_net(name: str, n_classes: int) -> nn.Module:
    """Alexnet or alexnet_gap, with fresh weights from torch's global seed.

    Raises SettingError for another name.
    """
    if name not in MODELS:
        raise SettingError(f"ser_model = {name!r}: choose from {', '.join(MODELS)}")
    return {"alexnet": AlexNet, "alexnet_gap": AlexNetGap}[name](n_classes)


def start_from(model: nn.Module, source: str) -> str:
    """Put pretrained weights into all layers that they have, but the last.

    Args:
        model: changed in place.
        source: "scratch", "imagenet" (torchvision's, fetched), or a file with torchvision's names:
            .safetensors, .npz, .pth (tensors only). The five convolutions must be there with their
            shapes; fully connected layers (of alexnet) are taken if they are.

    Returns:
        In words what the network started from.

    Raises:
        SettingError: nothing is put in the place of weights that cannot be had.
    """
    if source == "scratch":
        return "scratch"
    weights = _imagenet() if source == "imagenet" else _read(_file(source))
    own = model.state_dict()
    taken = [name for name in own if name.startswith("features.")]
    for name in taken:
        wanted = tuple(own[name].shape)
        found = tuple(weights[name].shape) if name in weights else None
        if found != wanted:
            told = "is missing" if found is None else f"has shape {found}"
            raise SettingError(
                f"pretrained = {source!r}: {name} {told}, {wanted} is needed: give "
                "weights of torchvision's AlexNet"
            )
    dense = [name for name in _DENSE if name in own and name in weights]
    for name in [*taken, *dense]:
        own[name] = weights[name].to(own[name])
    model.load_state_dict(own)
    whose = "ImageNet (torchvision)" if source == "imagenet" else os.path.basename(source)
    what = "convolutions" + (" and two fully connected layers" if len(dense) == 4 else "")
    return f"{whose}: {what}; the rest is random"


def weights_mark(source: str) -> str:
    """What identifies the weights of `start_from`: the word, or the SHA-256 of the file.

    Raises SettingError for a file that is not there.
    """
    return source if source in ("scratch", "imagenet") else files.file_sha256(_file(source))


def convolved(features: nn.Sequential, images: torch.Tensor) -> torch.Tensor:
    """AlexNet's convolutions of pictures with one or three channels.

    One channel stands for all three colours, which is the first convolution with its colours added
    up: the same numbers and gradients as of three equal channels at a third of the work. The
    published system repeats the channels three times whatever there are, which makes nine of three
    and fails (method_facts §3.7).

    Raises SettingError for another number of channels.
    """
    if images.shape[1] == 3:
        return features(images)
    if images.shape[1] != 1:
        raise SettingError(f"pictures with {images.shape[1]} channels: 1 or 3 are needed")
    first = features[0]
    grey = first.weight.sum(1, keepdim=True)
    maps = functional.conv2d(images, grey, first.bias, first.stride, first.padding)
    return features[1:](maps)


def _fresh(layer: nn.Module) -> None:
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)


def _imagenet() -> dict[str, torch.Tensor]:
    try:
        return dict(AlexNet_Weights.IMAGENET1K_V1.get_state_dict(progress=False, check_hash=True))
    except (OSError, RuntimeError) as error:
        reason = str(error).splitlines()[0][:200]
        raise SettingError(
            "pretrained = 'imagenet': torchvision's weights could not be fetched "
            f"({reason}); give a file of them, or choose 'scratch'"
        ) from error


def _file(source: str) -> pathlib.Path:
    """The file of weights. Raises SettingError where there is none that can be read."""
    path = pathlib.Path(os.path.expanduser(source))
    if path.suffix not in _READERS or not path.is_file():
        raise SettingError(
            f"pretrained = '{path}': no such file, or none of "
            f"{', '.join(_READERS)}; choose 'imagenet', 'scratch' or a file of "
            "weights"
        )
    return path


def _read(path: pathlib.Path) -> dict[str, torch.Tensor]:
    """Tensors by name from a file; nothing is unpickled but tensors."""
    try:
        return dict(_READERS[path.suffix](path))
    except _TORN as error:
        reason = (str(error).splitlines() or ["empty"])[0][:200]
        raise SettingError(f"pretrained = '{path}': cannot be read ({reason})") from error
    except Exception as error:  # pickle's own errors, for a .pth that holds more
        raise SettingError(
            f"pretrained = '{path}': holds something else than tensors ({type(error).__name__})"
        ) from error


def _read_npz(path: pathlib.Path) -> dict[str, torch.Tensor]:
    with np.load(path, allow_pickle=False) as content:
        return {name: torch.from_numpy(content[name]) for name in content.files}


def _read_pth(path: pathlib.Path) -> dict[str, torch.Tensor]:
    return torch.load(path, map_location="cpu", weights_only=True)


_READERS = {".safetensors": load_file, ".npz": _read_npz, ".pth": _read_pth}
