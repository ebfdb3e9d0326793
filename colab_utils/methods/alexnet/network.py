"""AlexNet for spectrogram pictures, and the small one with global average pooling.

The networks of the published system (samsudinng/speech_emo_recognition, model.py), on torchvision's
AlexNet (Krizhevsky 2014).
"""

import os
import pathlib
from typing import NoReturn

import torch
import torchvision.models
from torch import nn
from torch.nn import functional

from colab_utils import files
from colab_utils.learning.checkpoints import CheckpointError, read_tensors
from colab_utils.settings import SettingError

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SMALLEST = 63  # pixels a side that the convolutions leave something of
_SUFFIXES = (".safetensors", ".npz", ".pth", ".pt")
_INSTEAD = "choose 'imagenet', 'scratch', or a file with the weights of torchvision's AlexNet"
_DENSE = ("classifier.1.weight", "classifier.1.bias", "classifier.4.weight", "classifier.4.bias")


class AlexNet(torchvision.models.AlexNet):
    """torchvision's AlexNet with a head for `n_classes`: 57 020 228 parameters at 4 classes."""

    def __init__(self, n_classes: int):
        super().__init__(n_classes)
        _fresh(self)

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
    """AlexNet's convolutions, one 1 x 1 convolution to the classes, and the mean over the picture.

    FCN+GAP: 2 470 724 parameters at 4 classes.

    Args:
        n_classes: how many.
        pooling: "speech", the mean is over those columns of the last map that are centred on
            speech, so that padding does not count; at least one. "all", as in model.py: the map is
            brought to 6 x 6 places (each the mean of those it covers), and all of them count.
    """

    def __init__(self, n_classes: int, pooling: str = "speech"):
        super().__init__()
        self.pooling = pooling
        # the numbers of these layers are those in torchvision's AlexNet
        self.features = nn.Sequential(
            nn.Conv2d(3, 64, 11, stride=4, padding=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2),
            nn.Conv2d(64, 192, 5, padding=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2),
            nn.Conv2d(192, 384, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(384, 256, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(256, 256, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2),
        )
        self.head = nn.Conv2d(256, n_classes, 1)
        _fresh(self)

    def forward(self, images: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        """As AlexNet's; logits are the mean of `activation_map`."""
        return self._mean(self.activation_map(images), valid)

    def pooled(self, images: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        """The mean of the last map, float (n, 256): the last layer makes logits of it, too."""
        return self._mean(convolved(self.features, images), valid)

    def _mean(self, maps: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        """The mean over the places that count of maps (n, channels, rows, columns)."""
        if self.pooling == "all":
            places = functional.adaptive_avg_pool2d(maps, 6)
            return places.mean(dim=(2, 3))
        columns = maps.mean(dim=2)
        inside = valid_columns(valid, columns.shape[2])
        weight = inside.to(columns)[:, None]
        total = (columns * weight).sum(dim=2)
        return total / weight.sum(dim=2)

    def activation_map(self, images: torch.Tensor) -> torch.Tensor:
        """What each place of the picture says for each class (Zhou et al. 2016).

        Args:
            images: as of `forward`.

        Returns:
            Class activation maps, float (n, n_classes, rows, columns).
        """
        return self.head(convolved(self.features, images))


MODELS = ("alexnet", "alexnet_gap")
POOLINGS = ("speech", "all")


def network(ser_model: str, n_classes: int, pooling: str) -> AlexNet | AlexNetGap:
    """One of `MODELS` with the published start of all layers; `pooling` is of alexnet_gap alone."""
    return AlexNet(n_classes) if ser_model == "alexnet" else AlexNetGap(n_classes, pooling)


def _fresh(module: nn.Module) -> None:
    """The published start from scratch (model.py): Xavier in all layers, no bias."""
    for layer in module.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)


def valid_columns(valid: torch.Tensor, columns: int) -> torch.Tensor:
    """Which of `columns` are centred on the share `valid` (n,) from the left, bool (n, columns).

    The first always is.
    """
    centre = (torch.arange(columns, device=valid.device) + 0.5) / columns
    inside = centre < valid[:, None]
    inside[:, 0] = True
    return inside


def convolved(features: nn.Sequential, images: torch.Tensor) -> torch.Tensor:
    """AlexNet's convolutions of pictures with one or three channels.

    One channel, normalised by the mean of the colours' statistics, stands for a grey picture whose
    colours are normalised each by its own, as in the published system (data_utils.py). With

        x_c = scale_c x + shift_c,    sum_c w_c * x_c = (sum_c scale_c w_c) * x
                                                        + (sum_c shift_c w_c) * 1

    two channels, x and 1, are convolved in the place of three: the same numbers and gradients. The
    published system repeats the channels three times whatever there are, which makes nine of three
    and fails.

    Raises:
        SettingError: for another number of channels.
    """
    if images.shape[1] == 3:
        return features(images)
    if images.shape[1] != 1:
        raise SettingError(f"pictures with {images.shape[1]} channels: 1 or 3 are needed")
    mean = torch.tensor(IMAGENET_MEAN).to(images)
    std = torch.tensor(IMAGENET_STD).to(images)
    scale = std.mean() / std
    shift = (mean.mean() - mean) / std
    first = features[0]
    of_x = torch.einsum("ocij,c->oij", first.weight, scale)
    of_one = torch.einsum("ocij,c->oij", first.weight, shift)
    weight = torch.stack([of_x, of_one], dim=1)
    pair = torch.cat([images, torch.ones_like(images)], dim=1)
    maps = functional.conv2d(pair, weight, first.bias, first.stride, first.padding)
    return features[1:](maps)


def start_from(model: nn.Module, source: str) -> str:
    """Put pretrained weights into all layers that they have, but the last.

    Args:
        model: changed in place.
        source: "scratch", "imagenet" (torchvision's, fetched), or a file with torchvision's names:
            .safetensors, .npz, .pth or .pt (tensors only). The five convolutions must be there with
            their shapes; fully connected layers (of alexnet) are taken if they are.

    Returns:
        In words what the network started from.

    Raises:
        SettingError: nothing is put in the place of weights that cannot be had.
    """
    if source == "scratch":
        return "scratch"
    if source == "imagenet":
        weights = _imagenet()
    else:
        try:
            weights = read_tensors(_file(source))
        except CheckpointError as error:
            raise SettingError(f"pretrained: {error}; {_INSTEAD}") from error
    own = model.state_dict()
    taken = [name for name in own if name.startswith("features.")]
    for name in taken:
        wanted = tuple(own[name].shape)
        if name not in weights:
            _refuse(source, f"{name} is missing, {wanted} is needed")
        if weights[name].shape != wanted:
            _refuse(source, f"{name} has shape {tuple(weights[name].shape)}, {wanted} is needed")
    dense = [name for name in _DENSE if name in own and name in weights]
    model.load_state_dict({name: weights[name] for name in taken + dense}, strict=False)
    whose = "ImageNet (torchvision)" if source == "imagenet" else os.path.basename(source)
    more = " and two fully connected layers" if len(dense) == 4 else ""
    return f"{whose}: convolutions{more}; the rest is random"


def weights_mark(source: str) -> str:
    """What identifies the weights of `start_from`: the word, or the SHA-256 of the file.

    Raises:
        SettingError: for a file that is not there.
    """
    return source if source in ("scratch", "imagenet") else files.file_sha256(_file(source))


def _refuse(source: object, why: str) -> NoReturn:
    """Raise SettingError for weights that cannot be used."""
    raise SettingError(f"pretrained = '{source}': {why}; {_INSTEAD}")


def _imagenet() -> dict[str, torch.Tensor]:
    """ImageNet weights of torchvision. Raises SettingError where they cannot be."""
    weights = torchvision.models.AlexNet_Weights.IMAGENET1K_V1
    try:
        return weights.get_state_dict(progress=False, check_hash=True)
    except (OSError, RuntimeError) as error:
        _refuse("imagenet", f"torchvision's weights could not be fetched ({files.one_line(error)})")


def _file(source: str) -> pathlib.Path:
    """The file of weights. Raises SettingError where there is none that can be read."""
    path = pathlib.Path(source).expanduser()
    if path.suffix not in _SUFFIXES or not path.is_file():
        _refuse(path, f"no such file, or none of {', '.join(_SUFFIXES)}")
    return path
