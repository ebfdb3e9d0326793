"""What a network of domain generalisation starts from.

Random weights, speakers told apart, ImageNet, or a file of one's own.
"""

import os

import torch
from torch import nn

from colab_utils.files import file_sha256, one_line
from colab_utils.learning.checkpoints import CheckpointError, read_tensors
from colab_utils.settings import SettingError


def identity(start: str, pretrained: str | os.PathLike | None = None) -> str:
    """What identifies the weights that `start` names, such as a file's name and hash.

    Args:
        start: see `load`.
        pretrained: the file that "speakers" means.

    Raises:
        SettingError: where there is no such file.
    """
    if start == "scratch":
        return start
    if start == "imagenet":
        return "imagenet: torchvision ResNet18_Weights.IMAGENET1K_V1"
    digits = file_sha256(_file_of(start, pretrained))[:12]
    return f"{os.path.basename(start)}: sha256 {digits}"


def load(start: str, network: nn.Module, pretrained: str | os.PathLike | None = None) -> None:
    """Put the weights that `start` names into `network`, all layers but the head.

    Args:
        start: "scratch" (nothing is done), "imagenet" (torchvision's ResNet18), "speakers", or a
            file of weights (`learning.checkpoints.read_tensors`).
        network: a ResNet18.
        pretrained: the file that "speakers" means, of `speaker_pretraining`.

    Raises:
        SettingError: where they cannot be had or do not fit; nothing is put in their place.
    """
    if start == "scratch":
        return
    if start == "imagenet":
        network.start_from(_imagenet())
        return
    file = _file_of(start, pretrained)
    try:
        network.start_from(read_tensors(file))
    except CheckpointError as error:
        raise SettingError(f"start = {start!r}: {error}") from error
    except (ValueError, IndexError) as error:
        raise SettingError(f"start = {start!r}: {file} cannot be used ({error})") from error


def _file_of(start: str, pretrained: str | os.PathLike | None) -> str | os.PathLike:
    """The file of weights. Raises SettingError where it is not there."""
    file = pretrained if start == "speakers" else start
    if file is None or not os.path.isfile(file):
        raise SettingError(
            f"start = {start!r}: no such file of weights; choose scratch, speakers or imagenet, or "
            "give a file of tensors (.safetensors, .npz, .pt)"
        )
    return file


def _imagenet() -> dict[str, torch.Tensor]:
    """Torchvision's weights, from its cache or its server."""
    from torchvision.models import ResNet18_Weights  # here, not above: most runs start otherwise

    try:
        return ResNet18_Weights.IMAGENET1K_V1.get_state_dict(progress=False, check_hash=True)
    except (OSError, RuntimeError) as error:
        raise SettingError(
            f"start = 'imagenet': torchvision's weights could not be fetched ({one_line(error)}); "
            "fetch them where there is a network, or choose scratch or speakers"
        ) from error
