"""The encoder of Whisper as a torch module: each clip as if it were alone."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence

from colab_utils.features.encoders.module import SAMPLE_RATE, cut, hidden, mask_of, precision
from colab_utils.features.front_end import check_waveforms

_WINDOWS = 8  # at a time


class WhisperModule(nn.Module):
    """Waveforms of any lengths to frames of Whisper's encoder (Radford et al. 2023) and a mask.

    The encoder knows nothing but windows of 30 s. A clip is heard in as many as it fills; the last
    one is filled with zeros, as in training, and the frames of the filling are left out. A frame
    stands for 20 ms. For `layer` and `half` see `module.EncoderModule`: here, too, the convolutions
    are frozen.
    """

    def __init__(self, model: Any, extractor: Any, layer: int | str, half: bool):
        super().__init__()
        self.extractor, self.layer, self.half = extractor, layer, half
        self.encoder = model.encoder
        self.encoder.conv1.requires_grad_(False)
        self.encoder.conv2.requires_grad_(False)
        # the second convolution takes every other frame of the spectrogram
        self.step = 2 * extractor.hop_length
        if isinstance(layer, int):
            cut(self.encoder, layer, model.config)
        self.eval()

    def forward(self, waveforms: Sequence[np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
        """Frames and mask of some waveforms.

        Args:
            waveforms: float32 (samples,) each, at 16 kHz.

        Returns:
            Frames, float32 (n, longest, dim), or (n, longest, layers, dim) with `layer` "all"; 0
            where the mask, bool (n, longest), is False: there is no speech.

        Raises:
            ValueError: an empty waveform.
        """
        check_waveforms(waveforms)
        size = self.extractor.n_samples
        windows: list[np.ndarray] = []
        starts = []  # of the clips, in windows
        for wave in waveforms:
            starts.append(len(windows))
            windows += np.split(wave, range(size, len(wave), size))
        frames: list[torch.Tensor] = []
        for first in range(0, len(windows), _WINDOWS):
            frames += self._frames(windows[first : first + _WINDOWS])
        clips = []
        for start, stop in zip(starts, [*starts[1:], len(frames)], strict=True):
            clips.append(torch.cat(frames[start:stop]))
        return pad_sequence(clips, batch_first=True), mask_of(clips)

    def _frames(self, windows: list[np.ndarray]) -> list[torch.Tensor]:
        """Frames of each window of at most 30 s, float32 (frames, ..., dim), less the filling."""
        log_mel = self.extractor(windows, sampling_rate=SAMPLE_RATE, return_tensors="pt")
        values = log_mel.input_features.to(self.encoder.conv1.weight.device)
        with precision(values.device, self.half):
            found = hidden(self.encoder, values, None, self.layer).float()
        kept = []
        for frames, window in zip(found, windows, strict=True):
            kept.append(frames[: -(-len(window) // self.step)])
        return kept
