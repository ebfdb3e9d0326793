"""The recurrent network of Few-Shot_SER, written out so that it can be differentiated twice."""

import torch
from torch import nn

from colab_utils.models.normalisation import kaiming


class _LstmLayer(nn.Module):
    """One layer of LSTM cells (Hochreiter & Schmidhuber 1997; forget gate: Gers et al. 2000).

    Not `nn.LSTM`, because that cannot be batched over tasks by vmap nor, by cuDNN, differentiated
    twice. Gates in the order input, forget, output, candidate; one bias instead of nn.LSTM's two,
    which only ever add up, 1 at the start for the forget gate; weights start uniform within
    1 / sqrt(width), as there.
    """

    def __init__(self, dim: int, width: int):
        super().__init__()
        self.width = width
        self.input = nn.Linear(dim, 4 * width)
        self.recurrent = nn.Linear(width, 4 * width, bias=False)
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
    """Two LSTM layers of 2 `width` units (128 at width 64), a linear layer, and the head.

    The linear layer takes the state after the last valid frame; there is no non-linearity between
    it and the head, as in Few-Shot_SER. Information flows forward in time only, so what comes after
    a clip's last frame cannot reach its output. Parameters for 20 columns, width 64 and 5 classes:
    225 029.
    """

    def __init__(self, dim: int, n_classes: int, *, width: int):
        super().__init__()
        units = self.embedding_dim = 2 * width
        self.layers = nn.Sequential(_LstmLayer(dim, units), _LstmLayer(units, units))
        self.embed = kaiming(nn.Linear(units, units))
        self.head = kaiming(nn.Linear(units, n_classes))

    def forward(
        self, values: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits and embedding of some clips.

        Args:
            values: float (n, frames, dim).
            mask: bool (n, frames), True for a clip's frames, which come first.

        Returns:
            Logits (n, n_classes) and the embedding (n, embedding_dim).
        """
        states = self.layers(values)
        last = (mask.sum(1) - 1).clamp(min=0)
        position = last[:, None, None].expand(-1, 1, states.shape[2])
        final = states.gather(1, position).squeeze(1)
        embedding = self.embed(final)
        return self.head(embedding), embedding
