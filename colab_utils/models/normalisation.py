"""What the networks share: how weights start, and normalisation that sees valid frames only."""

from typing import Any

import torch
from torch import nn

from colab_utils.settings import SettingError

GROUP_CHANNELS = 8  # channels of a group: 8 groups at the published width of 64
_EPS = 1e-5  # torch's


def kaiming(layer: nn.Module) -> Any:
    """The same layer with Kaiming-normal weights and zero bias (He et al. 2015).

    Fan-in and the gain of ReLU, as Few-Shot_SER's learner.py has it.
    """
    nn.init.kaiming_normal_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


class _RowMoments(torch.autograd.Function):
    """Mean and mean square over the last dimension, both (...) of (..., n).

    Autograd alone would write the squares and two gradients of the input's size; here nothing is
    written forward and one tensor backward. First derivatives of conv4 then take 1.3 times as long
    as with torch's unmasked GroupNorm, second ones as long (CPU); plainly masked sums take twice as
    long. `backward` is made of differentiable operations, so it can be differentiated again.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x.mean(-1), torch.linalg.vector_norm(x, dim=-1).square() / x.shape[-1]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: tuple) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, of_mean: torch.Tensor, of_square: torch.Tensor) -> torch.Tensor:
        (x,) = ctx.saved_tensors
        n = x.shape[-1]
        start = (of_mean / n).unsqueeze(-1)
        slope = (of_square * (2 / n)).unsqueeze(-1)
        return torch.addcmul(start, x, slope)


class MaskedNorm(nn.Module):
    """Group or batch normalisation of feature maps whose statistics are those of valid frames.

    over="group": mean and variance of each clip and group of GROUP_CHANNELS channels (Wu & He
    2018), so that a clip does not see its batch. over="batch": of each channel over all clips of
    the batch, always, also at test (Ioffe & Szegedy 2015 in training mode): transductive. Without
    padding they are `nn.GroupNorm(channels // GROUP_CHANNELS, channels)` and
    `nn.BatchNorm2d(channels, track_running_stats=False)`. 2 `channels` parameters.

    Raises:
        SettingError: the channels do not divide into the groups.
    """

    def __init__(self, channels: int, over: str = "group"):
        super().__init__()
        self.groups = channels
        self.dims: tuple[int, ...] = (0, 2, 3)
        if over == "group":
            if channels % GROUP_CHANNELS:
                raise SettingError(
                    f"width = {channels}: group normalisation needs a multiple of {GROUP_CHANNELS}"
                )
            self.groups = channels // GROUP_CHANNELS
            self.dims = (2, 3)
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Normalised feature maps.

        Args:
            x: (n, channels, frames, rows).
            mask: (n, frames) of x's dtype, 1 where a frame is valid.

        Returns:
            The same shape; 0 in other frames.
        """
        mean, square = _RowMoments.apply(x)
        # (n, groups, members, frames)
        mean = mean.unflatten(1, (self.groups, -1))
        square = square.unflatten(1, (self.groups, -1))
        weight = self.weight.view(self.groups, -1, 1)
        bias = self.bias.view(self.groups, -1, 1)
        valid = mask[:, None, None]

        def total(moment: torch.Tensor) -> torch.Tensor:
            return (moment * valid).sum(self.dims, keepdim=True)

        count = valid.sum(self.dims, keepdim=True) * mean.shape[2]
        count = count.clamp(min=1.0)
        centre = total(mean) / count
        # of a row; rounding can put a constant one below 0
        spread = (square - mean.square()).clamp(min=0.0)
        apart = (mean - centre).square()
        variance = total(spread + apart) / count
        scale = weight * torch.rsqrt(variance + _EPS)
        shift = bias - centre * scale
        # the mask goes into scale and shift, which are small: masking the frames then costs nothing
        scale = (scale * valid).flatten(1, 2)
        shift = (shift * valid).flatten(1, 2)
        return torch.addcmul(shift.unsqueeze(-1), x, scale.unsqueeze(-1))


class VectorNorm(nn.Module):
    """Normalisation of vectors (n, channels).

    over="group": each by its own mean and variance (layer normalisation, Ba et al. 2016);
    over="batch": each channel over the batch, always, also at test (transductive). 2 `channels`
    parameters. Written out because torch 2.11's LayerNorm and BatchNorm1d give wrong second-order
    gradients under vmap, without a warning.
    """

    def __init__(self, channels: int, over: str):
        super().__init__()
        self.dim = -1 if over == "group" else 0
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalised vectors of x (n, channels); of a batch there must be at least 2."""
        centred = x - x.mean(self.dim, keepdim=True)
        variance = centred.square().mean(self.dim, keepdim=True)
        return centred * torch.rsqrt(variance + _EPS) * self.weight + self.bias
