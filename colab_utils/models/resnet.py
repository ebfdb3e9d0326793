"""ResNet18 for spectrograms: torchvision's network for one channel, blind to padding."""

from collections.abc import Callable, Mapping

import torch
from torch import nn
from torch.nn import functional
from torchvision.models.resnet import BasicBlock

from colab_utils.models.normalisation import MaskedNorm


class _Group(MaskedNorm):
    """Group normalisation over valid frames; without padding (valid is None) torch's, faster."""

    def forward(self, x: torch.Tensor, valid: torch.Tensor | None) -> torch.Tensor:
        if valid is None:
            return functional.group_norm(x, self.groups, self.weight, self.bias)
        return super().forward(x, valid)


class _Batch(nn.BatchNorm2d):
    """nn.BatchNorm2d, running statistics included, as if padded frames did not exist.

    Those (valid (n, frames) 0) come out as 0.
    """

    def forward(self, x: torch.Tensor, valid: torch.Tensor | None) -> torch.Tensor:
        if valid is None:
            return super().forward(x)
        valid = valid.bool()
        by_frame = x.transpose(1, 2)
        # (valid frames, channels, 1, rows)
        frames = super().forward(by_frame[valid].unsqueeze(2)).squeeze(2)
        return x.new_zeros(by_frame.shape).index_put((valid,), frames).transpose(1, 2)


class _Block(BasicBlock):
    """torchvision's block, whose norms are told which frames of its output are valid.

    In others its output is 0.
    """

    def forward(self, x: torch.Tensor, valid: torch.Tensor | None) -> torch.Tensor:
        inner = functional.relu(self.bn1(self.conv1(x), valid), inplace=True)
        inner = self.bn2(self.conv2(inner), valid)
        if self.downsample is not None:
            conv, norm = self.downsample
            x = norm(conv(x), valid)
        return functional.relu(inner + x, inplace=True)


def _layer(before: int, width: int, norm: Callable[[int], nn.Module]) -> nn.Sequential:
    """Two blocks; where the width changes, the first one halves the resolution."""
    if before == width:
        first = _Block(width, width, norm_layer=norm)
    else:
        conv = nn.Conv2d(before, width, 1, 2, bias=False)
        shortcut = nn.Sequential(conv, norm(width))
        first = _Block(before, width, 2, shortcut, norm_layer=norm)
    return nn.Sequential(first, _Block(width, width, norm_layer=norm))


class ResNet18(nn.Module):
    """ResNet18 (He et al. 2016) on spectrograms of any length and any number of columns.

    The network of DA-MLDG. The names of the layers are torchvision's, so its weights fit
    (`start_from`). 348 frames of 64 columns become a last feature map of 11 x 2 with 8 `width`
    channels, whose mean over valid frames and all rows is the embedding. A padded frame is 0 before
    every convolution, as the convolution's own padding is, and no statistic or mean sees it: a clip
    gives the same padded and alone.

    norm: "group" (a clip's output does not depend on its batch) or "batch", as published:
    statistics of the batch while training, and running ones, of the training domains, in eval mode,
    so that testing stays inductive. Parameters for width 64 and 5 classes: 11 172 805 with either
    norm.

    Raises:
        SettingError: a width that "group" cannot divide.
    """

    def __init__(self, n_classes: int, *, norm: str = "group", width: int = 64):
        super().__init__()
        layer = _Group if norm == "group" else _Batch
        self.conv1 = nn.Conv2d(1, width, 7, 2, 3, bias=False)
        self.bn1 = layer(width)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = _layer(width, width, layer)
        self.layer2 = _layer(width, 2 * width, layer)
        self.layer3 = _layer(2 * width, 4 * width, layer)
        self.layer4 = _layer(4 * width, 8 * width, layer)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        self.embedding_dim = 8 * width
        self.head = nn.Linear(self.embedding_dim, n_classes)

    def forward(
        self, values: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits and embedding of some clips.

        Args:
            values: float (n, frames, columns).
            mask: bool (n, frames), True for a clip's frames, which come first.

        Returns:
            Logits (n, n_classes) and the embedding (n, 8 width).
        """
        embedding = self.pool(*self.feature_map(values, mask))
        return self.head(embedding), embedding

    def feature_map(
        self, values: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The last feature map of some clips, for what `forward` takes.

        Returns:
            float (n, 8 width, ceil(frames / 32), ceil(columns / 32)), and its valid frames, of the
            same dtype, 1 or 0.
        """
        valid = mask.to(values.dtype)
        whole = bool(mask.all())
        if not whole:
            values = values * valid.unsqueeze(-1)
        x = self.conv1(values.unsqueeze(1))
        valid = valid[:, ::2]
        x = functional.relu(self.bn1(x, None if whole else valid), inplace=True)
        # nothing is below 0: a padded 0 never wins over a valid frame
        x = self.maxpool(x)
        valid = valid[:, ::2]
        if not whole:
            # but a valid frame does win in the first window behind the clip
            x = x * valid[:, None, :, None]
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            for block in layer:
                # of ceil(frames / 2) frames, number j is centred on number 2 j
                valid = valid[:, :: block.stride]
                x = block(x, None if whole else valid)
        return x, valid

    @staticmethod
    def pool(x: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        """The mean of a feature map over its valid frames and all rows, (n, 8 width)."""
        total = (x * valid[:, None, :, None]).sum((2, 3))
        count = valid.sum(1, keepdim=True) * x.shape[3]
        return total / count.clamp(min=1.0)

    def start_from(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Start with the weights of another ResNet18 in all layers but the head.

        The three colours of a first convolution are added up, which is what it gives for a grey
        picture.

        Args:
            weights: torchvision's for ImageNet, or of one trained on speakers. Running statistics
                are not needed under "group".

        Raises:
            ValueError: a layer is missing or has another shape; nothing is changed then.
        """
        own, given = self.state_dict(), dict(weights)
        if "conv1.weight" in given:
            given["conv1.weight"] = given["conv1.weight"].sum(1, keepdim=True)
        for name in own:
            if name.startswith("head."):
                continue
            if name not in given or given[name].shape != own[name].shape:
                found = f"has shape {tuple(given[name].shape)}" if name in given else "is missing"
                raise ValueError(
                    f"{name} {found} in these weights, {tuple(own[name].shape)} is needed: give"
                    " those of a ResNet18 of this width"
                )
            own[name] = given[name]
        self.load_state_dict(own)
