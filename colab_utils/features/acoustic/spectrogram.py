"""What the front ends share whose frames torch computes, one waveform after the other."""

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from colab_utils.features.front_end import FrontEnd, check_waveforms

_one_at_a_time = threading.Lock()


@dataclass(frozen=True)
class Spectrogram(FrontEnd):
    """A front end with frames by torch. A subclass adds `feature_names` and `_frames`."""

    @torch.inference_mode()
    def compute(self, waveforms: list[np.ndarray], device: str = "cpu") -> list[np.ndarray]:
        """Frames of each waveform: a list of float32 (frames, dim).

        Raises:
            ValueError: a waveform without samples.
        """
        check_waveforms(waveforms)
        if not waveforms:
            return []
        waves = [wave.astype(np.float32, copy=False) for wave in waveforms]
        with _one_thread():
            return self._frames_of_all(waves, device)

    def _frames_of_all(self, waves: list[np.ndarray], device: str) -> list[np.ndarray]:
        """Frames of each waveform; a subclass may compute them together."""
        return [self._frames(wave, device) for wave in waves]

    def _frames(self, wave: np.ndarray, device: str) -> np.ndarray:
        """Frames of one waveform, float32 (samples,): float32 (frames, dim)."""
        raise TypeError(f"{type(self).__name__} has neither _frames nor _frames_of_all: write one")


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Let torch compute with one thread meanwhile.

    One clip fits a core's cache and gains nothing from a second thread, and torch's waiting threads
    would take the cores from those that decode: extraction is 3 times faster so (2 cores). The
    numbers then do not depend on how many cores there are, either.
    """
    with _one_at_a_time:
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(before)
