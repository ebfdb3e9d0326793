"""AlexNet for spectrogram pictures: torchvision's network with a new head, and the small one with global average pooling (method_facts §3.3)."""
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

from colab_utils.settings import SettingError

SMALLEST = 63                # pixels a side that the convolutions leave something of
MODELS = ("alexnet", "alexnet_gap")
_DENSE = ("classifier.1.weight", "classifier.1.bias", "classifier.4.weight", "classifier.4.bias")


class AlexNet(nn.Module):
    """torchvision's AlexNet with a head for `n_classes`: 57 020 228 parameters at 4 classes."""

    def __init__(self, n_classes: int):
        super().__init__()
        whole = torchvision_alexnet(num_classes=n_classes)
        self.features, self.avgpool, self.classifier = whole.features, whole.avgpool, whole.classifier
        _fresh(self.classifier[6])

    def forward(self, images: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        """images: float (n, 1 or 3, height, width), of which the share `valid` (n,) from the left is speech. Returns logits (n, n_classes).

        Three fully connected layers look at all of a picture, padding included (it is silence); `valid` is not used.
        """
        return self.classifier(torch.flatten(self.avgpool(convolved(self.features, images)), 1))


class AlexNetGap(nn.Module):
    """AlexNet's convolutions, one 1 x 1 convolution to the classes, and the mean over the picture (FCN+GAP): 2 470 724 parameters at 4 classes.

    The mean is over those columns of the last map that are centred on speech, so that padding does not count; at least one.
    """

    def __init__(self, n_classes: int):
        super().__init__()
        self.features = torchvision_alexnet(num_classes=1).features
        self.head = nn.Conv2d(256, n_classes, 1)
        _fresh(self.head)

    def forward(self, images: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        """As AlexNet's; logits are the mean of `activation_map` over the columns that are speech."""
        maps = self.activation_map(images)
        weight = valid_columns(valid, maps.shape[3]).to(maps)
        return (maps.mean(dim=2) * weight[:, None]).sum(dim=2) / weight.sum(dim=1, keepdim=True)

    def activation_map(self, images: torch.Tensor) -> torch.Tensor:
        """What each place of the picture says for each class, float (n, n_classes, rows, columns): a class activation map (Zhou et al. 2016)."""
        return self.head(convolved(self.features, images))


def valid_columns(valid: torch.Tensor, columns: int) -> torch.Tensor:
    """Which of `columns` are centred on the share `valid` (n,) from the left, bool (n, columns); the first always is."""
    centre = (torch.arange(columns, device=valid.device) + 0.5) / columns
    inside = centre[None] < valid[:, None]
    inside[:, 0] = True
    return inside


def spectrogram_net(name: str, n_classes: int) -> nn.Module:
    """alexnet or alexnet_gap, with fresh weights from torch's global seed. Raises SettingError."""
    if name not in MODELS:
        raise SettingError(f"ser_model = {name!r}: choose from {', '.join(MODELS)}")
    return {"alexnet": AlexNet, "alexnet_gap": AlexNetGap}[name](n_classes)


def start_from(model: nn.Module, source: str) -> str:
    """Put pretrained weights into all layers that they have, but the last; returns in words what the network started from.

    source: "scratch", "imagenet" (torchvision's, fetched), or a file with torchvision's names: .safetensors, .npz, .pth (tensors only). The five
    convolutions must be there with their shapes; fully connected layers (of alexnet) are taken if they are. Raises SettingError: nothing is put
    in the place of weights that cannot be had.
    """
    if source == "scratch":
        return "scratch"
    weights = _imagenet() if source == "imagenet" else _read(pathlib.Path(os.path.expanduser(source)))
    own = model.state_dict()
    convolutions = [name for name in own if name.startswith("features.")]
    for name in convolutions:
        if name not in weights or weights[name].shape != own[name].shape:
            found = f"has shape {tuple(weights[name].shape)}" if name in weights else "is missing"
            raise SettingError(f"pretrained = {source!r}: {name} {found}, {tuple(own[name].shape)} is needed: give weights of torchvision's AlexNet")
    dense = [name for name in _DENSE if name in own and name in weights]
    model.load_state_dict({**own, **{name: weights[name].to(own[name]) for name in (*convolutions, *dense)}})
    what = "convolutions" + (" and two fully connected layers" if len(dense) == 4 else "")
    return f"{'ImageNet (torchvision)' if source == 'imagenet' else os.path.basename(source)}: {what}; the rest is random"


def convolved(features: nn.Sequential, images: torch.Tensor) -> torch.Tensor:
    """AlexNet's convolutions of pictures with one or three channels. Raises SettingError for another number.

    One channel stands for all three colours, which is the first convolution with its colours added up: the same numbers and gradients as of three
    equal channels at a third of the work. The published system repeats the channels three times whatever there are, which makes nine of three
    and fails (method_facts §3.7).
    """
    if images.shape[1] == 3:
        return features(images)
    if images.shape[1] != 1:
        raise SettingError(f"pictures with {images.shape[1]} channels: 1 or 3 are needed")
    first = features[0]
    return features[1:](functional.conv2d(images, first.weight.sum(1, keepdim=True), first.bias, first.stride, first.padding))


def _fresh(layer: nn.Module) -> None:
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)


def _imagenet() -> dict[str, torch.Tensor]:
    try:
        return dict(AlexNet_Weights.IMAGENET1K_V1.get_state_dict(progress=False, check_hash=True))
    except (OSError, RuntimeError) as error:
        raise SettingError(f"pretrained = 'imagenet': torchvision's weights could not be fetched ({str(error).splitlines()[0][:200]}); "
                           "give a file of them, or choose 'scratch'") from error


def _read(path: pathlib.Path) -> dict[str, torch.Tensor]:
    """Tensors by name from a file; nothing is unpickled but tensors."""
    readers = {".safetensors": load_file, ".npz": _read_npz, ".pth": lambda file: torch.load(file, map_location="cpu", weights_only=True)}
    if path.suffix not in readers or not path.is_file():
        raise SettingError(f"pretrained = '{path}': no such file, or none of {', '.join(readers)}; choose 'imagenet', 'scratch' or a file of weights")
    try:
        return dict(readers[path.suffix](path))
    except (SafetensorError, ValueError, OSError, RuntimeError, EOFError, KeyError, AttributeError) as error:
        raise SettingError(f"pretrained = '{path}': cannot be read ({(str(error).splitlines() or ['empty'])[0][:200]})") from error
    except Exception as error:          # pickle's own errors, for a .pth that holds more than tensors
        raise SettingError(f"pretrained = '{path}': holds something else than tensors ({type(error).__name__})") from error


def _read_npz(path: pathlib.Path) -> dict[str, torch.Tensor]:
    with np.load(path, allow_pickle=False) as content:
        return {name: torch.from_numpy(content[name]) for name in content.files}
