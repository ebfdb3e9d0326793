"""Conv4: the small convolutional network of few-shot learning, on spectrograms of any length."""

import torch
from torch import nn
from torch.nn import functional

from colab_utils.models.normalisation import MaskedNorm, kaiming


class Conv4(nn.Module):
    """Four convolutions 3x3 of stride 2 and padding 1, each with normalisation and ReLU.

    The network of matching networks (Vinyals et al. 2016) as Few-Shot_SER has it. A padded frame is
    0 before every convolution, as the convolution's own padding is, statistics are those of valid
    frames, and the embedding is the mean over them: a clip's output does not depend on how far it
    was padded. The rows left of the frequency axis are kept apart in the embedding, not averaged,
    since a formant that lies higher is another thing than the same formant.

    norm: "group" (a clip's output does not depend on its batch either), "batch" (statistics of the
    whole batch: transductive), or "paper-batch": as published, batch statistics after the ReLU, and
    the maps of clips padded to `frames` flattened instead of averaged. Parameters for 80 columns,
    width 64 and 5 classes: 113 541; published form with 200 frames: 132 741.

    Raises:
        SettingError: a width that "group" cannot divide.
    """

    def __init__(self, dim: int, n_classes: int, *, norm: str, width: int, frames: int):
        super().__init__()
        self.frames = frames if norm == "paper-batch" else None
        self.convs = nn.ModuleList(
            kaiming(nn.Conv2d(before, width, 3, stride=2, padding=1))
            for before in (1, width, width, width)
        )
        over = "group" if norm == "group" else "batch"
        self.norms = nn.ModuleList(MaskedNorm(width, over) for _ in self.convs)
        rows = -(-dim // 16)
        steps = -(-frames // 16) if self.frames else 1
        self.embedding_dim = width * rows * steps
        self.head = kaiming(nn.Linear(self.embedding_dim, n_classes))

    def forward(
        self, values: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits and embedding of some clips.

        Args:
            values: float (n, frames, dim).
            mask: bool (n, frames), True for a clip's frames, which come first.

        Returns:
            Logits (n, n_classes) and the embedding (n, embedding_dim).

        Raises:
            ValueError: clips longer than `frames` in the published form.
        """
        if self.frames:
            values, mask = self._fixed(values, mask)
        valid = mask.to(values.dtype)
        x = (values * valid.unsqueeze(-1)).unsqueeze(1)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = conv(x)
            # of ceil(frames / 2) frames, number j is centred on number 2 j
            valid = valid[:, ::2]
            if self.frames:
                x = norm(functional.relu(x, inplace=True), valid)
            else:
                x = functional.relu(norm(x, valid), inplace=True)
        if not self.frames:
            x = x.sum(2) / valid.sum(1).clamp(min=1.0)[:, None, None]
        embedding = x.flatten(1)
        return self.head(embedding), embedding

    def _fixed(self, values: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Padded to the number of frames that the published form was made for."""
        missing = self.frames - mask.shape[1]
        if missing < 0:
            raise ValueError(
                f"clips of {mask.shape[1]} frames: the published conv4 was made for {self.frames}; "
                f"set max_frames = {self.frames}, or norm = 'group' for any length"
            )
        return functional.pad(values, (0, 0, 0, missing)), functional.pad(mask, (0, missing))
