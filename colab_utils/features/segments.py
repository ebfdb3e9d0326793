"""Cutting frames into windows of one length, with masks: what was padded is never taken for speech."""
from __future__ import annotations

import numpy as np


def segment(values: np.ndarray, length: int, hop: int) -> tuple[np.ndarray, np.ndarray]:
    """Cut `values` (frames, dim) into windows of `length` frames, one every `hop` frames, so that each frame is in at least one.

    Returns the windows (n, length, dim) in the dtype of `values` and a mask (n, length), True where there is speech. The last window may
    reach beyond the end: it is kept, and there the windows hold 0 and the mask False. n = 1 + ceil(max(0, frames - length) / hop).
    Raises ValueError for no frames, for a length or hop under 1, and for a hop above the length, which would leave frames out.
    """
    if values.ndim != 2 or len(values) == 0:
        raise ValueError(f"values have shape {values.shape}: (frames, dim) with at least one frame is needed")
    if not 1 <= hop <= length:
        raise ValueError(f"length = {length}, hop = {hop}: 1 <= hop <= length is needed, or frames would be left out")
    n = 1 + -(-max(0, len(values) - length) // hop)
    index = np.arange(n)[:, None] * hop + np.arange(length)
    mask = index < len(values)
    windows = np.zeros((n, length, values.shape[1]), dtype=values.dtype)
    windows[mask] = values[index[mask]]
    return windows, mask
