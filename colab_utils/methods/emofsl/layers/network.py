"""The last layers of a speech encoder under the network of EMOFSL, so that they learn together."""

import torch
from torch import nn

from colab_utils.methods.emofsl.network import EmofslNet

# The root of 0, which a clip of one frame has, would have no gradient.
_LEAST_VARIANCE = 1e-10


class EncoderNet(nn.Module):
    """Stored frames of a layer, the layers above it, statistics over time, EmofslNet.

    (values (n, frames, dim), mask (n, frames)) -> (logits, F).

    Args:
        upper: of `features.encoders.embeddings.load_upper_layers`.
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
        return self.net(self.pooled(values, mask))

    def pooled(self, values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """What the layers make of the frames, one vector a clip: float (n, dim or 2 dim)."""
        return over_time(self.upper(values, mask), mask, self.pooling)

    def groups(self, rate: float, layers_rate: float) -> list[dict]:
        """What learns, for an optimiser: the layers at `layers_rate`, the rest at `rate`."""
        layers = [one for one in self.upper.parameters() if one.requires_grad]
        return [{"params": layers, "lr": layers_rate}, *self.net.groups(rate, layers_rate)]


def over_time(frames: torch.Tensor, mask: torch.Tensor, pooling: str) -> torch.Tensor:
    """Statistics over time of clips, (n, dim or 2 dim): what `Encoder.compute` stores.

    Args:
        frames: float (n, frames, dim).
        mask: bool (n, frames), True where there is speech.
        pooling: "mean" or "mean-std".
    """
    there = mask.unsqueeze(-1)
    counts = mask.sum(dim=1, keepdim=True)
    mean = (frames * there).sum(dim=1) / counts
    if pooling == "mean":
        return mean
    squares = (frames - mean.unsqueeze(1)).square()
    variance = (squares * there).sum(dim=1) / counts
    deviation = variance.clamp(min=_LEAST_VARIANCE).sqrt()
    return torch.cat([mean, deviation], dim=1)
