"""The last layers of a speech encoder under the network of EMOFSL, so that they learn together."""

from __future__ import annotations

import torch
from torch import nn

from colab_utils.methods.emofsl.network import EmofslNet

# The root of 0, which a clip of one frame has, would have no gradient.
_LEAST_VARIANCE = 1e-10


class EncoderNet(nn.Module):
    """Stored frames of a layer, the layers above it, statistics over time, EmofslNet.

    (values (n, frames, dim), mask (n, frames)) -> (logits, F).

    Args:
        upper: of `features.embeddings.load_upper_layers`.
        net: EmofslNet for what `over_time` makes of their output.
        pooling: "mean", or "mean-std" with the standard deviation (of the population) behind it,
            over the frames where the mask is True.
    """

    def __init__(self, upper: nn.Module, net: EmofslNet, pooling: str):
        super().__init__()
        self.upper, self.net, self.pooling = upper, net, pooling
        # WavLM's positions belong to the first layer, which stays as it is.
        for name, parameter in upper.named_parameters():
            parameter.requires_grad_("rel_attn_embed" not in name)

    def forward(
        self, values: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits (n, classes) and the projection F (n, width), not normalised."""
        return self.net(over_time(self.upper(values, mask), mask, self.pooling))


def over_time(frames: torch.Tensor, mask: torch.Tensor, pooling: str) -> torch.Tensor:
    """Statistics over time of clips, (n, dim or 2 dim): what `Encoder.compute` stores.

    Args:
        frames: float (n, frames, dim).
        mask: bool (n, frames), True where there is speech.
        pooling: "mean" or "mean-std".
    """
    there, counts = mask[..., None], mask.sum(dim=1, keepdim=True)
    mean = (frames * there).sum(dim=1) / counts
    if pooling == "mean":
        return mean
    variance = ((frames - mean[:, None]).square() * there).sum(dim=1) / counts
    return torch.cat([mean, variance.clamp(min=_LEAST_VARIANCE).sqrt()], dim=1)
