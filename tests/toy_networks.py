"""Small networks and padded noise for them, in float64."""

import torch

from colab_utils.models import network

SMALL = {"mlp": {"width": 8}, "conv4": {"width": 8}, "lstm": {"width": 3}}
VARIANTS = [
    ("mlp", "group"),
    ("mlp", "batch"),
    ("conv4", "group"),
    ("conv4", "batch"),
    ("conv4", "paper-batch"),
    ("lstm", "group"),
]


def noise_clips(lengths, dim=19, dtype=torch.float64, frames=None):
    """Noise clips with level and trend, one below the other, padded with 0: (values, mask)."""
    mask = torch.arange(frames or max(lengths)) < torch.tensor(lengths)[:, None]
    rows = torch.randn(*mask.shape, dim, dtype=dtype) + torch.linspace(-2, 3, dim, dtype=dtype)
    return rows * mask[..., None], mask


def small(name, norm="group", dim=19, frames=32, dtype=torch.float64):
    """A network of three classes."""
    return network(name, dim, 3, norm=norm, frames=frames, **SMALL[name]).to(dtype)


def batch_for(name):
    """The inputs of six clips."""
    if name == "mlp":
        return (torch.randn(6, 19, dtype=torch.float64),)
    return noise_clips([21 - 3 * i for i in range(6)])
