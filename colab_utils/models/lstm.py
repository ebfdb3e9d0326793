"""The recurrent network of Few-Shot_SER, written out so that it can be differentiated twice and
batched over tasks.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import nn

from colab_utils.models.normalisation import kaiming
from colab_utils.settings import SettingError

NORMS = ("group",)


class _LstmLayer(nn.Module):
    """One layer of LSTM cells (Hochreiter & Schmidhuber 1997; Gers et al. 2000 for the forget gate,
    whose bias starts at 1).

    Not `nn.LSTM`, because that cannot be batched over tasks by vmap nor, by cuDNN, differentiated
    twice. Gates in the order input, forget, output, candidate; one bias instead of nn.LSTM's two,
    which only ever add up; weights start uniform within 1 / sqrt(width), as there.
    """

    def __init__(self, dim: int, width: int):
        super().__init__()
        self.width = width
        self.input, self.recurrent = (
            nn.Linear(dim, 4 * width),
            nn.Linear(width, 4 * width, bias=False),
        )
        for weight in (self.input.weight, self.recurrent.weight):
            nn.init.uniform_(weight, -(width**-0.5), width**-0.5)
        nn.init.zeros_(self.input.bias)
        nn.init.ones_(self.input.bias[width : 2 * width])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Hidden states after each frame, (n, frames, width), of x (n, frames, dim)."""
        state = cell = x.new_zeros(len(x), self.width)
        states = []
        for given in self.input(x).unbind(1):
            gates = given + self.recurrent(state)
            enter, keep, leave = torch.sigmoid(gates[:, : 3 * self.width]).chunk(3, dim=1)
            cell = keep * cell + enter * torch.tanh(gates[:, 3 * self.width :])
            state = leave * torch.tanh(cell)
            states.append(state)
        return torch.stack(states, dim=1)


class Lstm(nn.Module):
    """Two LSTM layers of 2 `width` units (128 at width 64), the state after the last valid frame, a
    linear layer, and the head, with no non-linearity between these two (method_facts §1.3).

    Information flows forward in time only, so what comes after a clip's last frame cannot reach its
    output. There is nothing to
    normalise: "group" is the one norm, every clip stands alone. Raises SettingError for another
    one. Parameters for 20 columns, width 64 and 5 classes: 225 029.
    """

    vmappable: ClassVar[bool] = True

    def __init__(self, dim: int, n_classes: int, *, norm: str = "group", width: int = 64):
        super().__init__()
        if norm not in NORMS:
            raise SettingError(
                f"norm = {norm!r}: the lstm has no normalisation layers; set norm = 'group'"
            )
        units = self.embedding_dim = 2 * width
        self.layers = nn.Sequential(_LstmLayer(dim, units), _LstmLayer(units, units))
        self.embed = kaiming(nn.Linear(units, units))
        self.head = kaiming(nn.Linear(units, n_classes))

    def forward(
        self, values: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """values: float (n, frames, dim); mask: bool (n, frames), True for a clip's frames, which
        come first, False for padding.

        Returns logits (n, n_classes) and the embedding (n, embedding_dim).
        """
        states = self.layers(values)
        last = (mask.sum(1) - 1).clamp(min=0)[:, None, None].expand(-1, 1, states.shape[2])
        embedding = self.embed(states.gather(1, last).squeeze(1))
        return self.head(embedding), embedding
