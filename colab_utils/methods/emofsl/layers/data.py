"""The utterances of a transfer as stored frames below the layers of an encoder that learn."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from colab_utils.features.encoders.embeddings import SpeechEncoder, load_upper_layers
from colab_utils.features.store.features import Held
from colab_utils.learning.clips import Clips
from colab_utils.methods.emofsl.data import Output, TransferData
from colab_utils.methods.emofsl.layers.network import over_time

_AT_ONCE = 32  # clips that go through the layers together, where nothing is learned


class FrameData(TransferData):
    """Stored frames by row number, brought to the device when asked for.

    Those of a large corpus fill no memory. Vectors are what the encoder gives as it comes.

    Args:
        *arguments: of `TransferData`; the store holds frames of `encoder.below(n_layers)`.
        encoder: a speech encoder of one layer.
        n_layers: how many of its last layers learn.

    Raises:
        EncoderError: an encoder that cannot be had.
    """

    def __init__(self, *arguments: Any, encoder: SpeechEncoder, n_layers: int):
        super().__init__(*arguments)
        self.pooling = encoder.pooling
        # As the encoder comes; what learns is a new one.
        self.upper = load_upper_layers(encoder, n_layers, self.device)

    def inputs(self, numbers: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Values float32 (n, longest, dim) and mask (n, longest) of row numbers (n,)."""
        values, mask = self.store.padded(self._ids(numbers))
        return torch.from_numpy(values).to(self.device), torch.from_numpy(mask).to(self.device)

    @torch.no_grad()
    def through(self, function: Callable[..., Output], numbers: np.ndarray) -> Output:
        """What `function(values, mask)` makes of each row, in the order of `numbers`.

        Clips of like length go together.
        """
        lengths = self.store.lengths(self._ids(numbers))
        order = np.argsort(lengths, kind="stable")
        parts = []
        for first in range(0, len(order), _AT_ONCE):
            chosen = order[first : first + _AT_ONCE]
            parts.append(function(*self.inputs(numbers[chosen])))
        back = np.argsort(order)
        together = [torch.cat(one) for one in zip(*parts, strict=True)]
        return tuple(one[back] for one in together)

    def _ids(self, numbers: np.ndarray) -> list[str]:
        return self.rows["utt_id"].iloc[numbers].to_list()

    def read(self, numbers: np.ndarray) -> Clips:
        """What the encoder gives as it comes, of the stored frames below its last layers."""

        def pooled(values: torch.Tensor, mask: torch.Tensor) -> Output:
            frames = self.upper(values, mask)
            return (over_time(frames, mask, self.pooling),)

        rows = self.rows.iloc[numbers]
        ids = self._ids(numbers)
        (vectors,) = self.through(pooled, numbers)
        held = Held(ids, vectors.cpu().numpy(), self.store.spec, self.store.key)
        return Clips(held, rows, self.labels, device=self.device)
