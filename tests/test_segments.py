"""Windows hold every frame, in order, and the mask tells speech from padding."""
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from colab_utils.features.segments import segment


@given(frames=st.integers(1, 60), length=st.integers(1, 20), data=st.data())
def test_windows_equal_a_naive_loop_and_lose_no_frame(frames, length, data):
    hop = data.draw(st.integers(1, length))
    values = np.arange(1, frames * 2 + 1, dtype=np.float32).reshape(frames, 2)
    windows, mask = segment(values, length, hop)
    starts = [0]
    while starts[-1] + length < frames:
        starts.append(starts[-1] + hop)
    assert windows.shape == (len(starts), length, 2) and mask.shape == (len(starts), length) and windows.dtype == np.float32
    for start, window, valid in zip(starts, windows, mask, strict=True):
        piece = values[start:start + length]
        assert valid.tolist() == [True] * len(piece) + [False] * (length - len(piece))
        assert np.array_equal(window[:len(piece)], piece) and not window[len(piece):].any()
    assert set(windows[mask][:, 0]) == set(values[:, 0])
    assert mask.any(axis=1).all(), "no window is padding alone"


def test_a_short_utterance_gives_one_masked_window():
    windows, mask = segment(np.ones((3, 4), np.float64), 5, 5)
    assert windows.shape == (1, 5, 4) and windows.dtype == np.float64 and mask.tolist() == [[True] * 3 + [False] * 2]


@pytest.mark.parametrize(("frames", "length", "hop"), [(0, 3, 1), (5, 0, 1), (5, 3, 0), (5, 3, 4)])
def test_refuses_what_would_lose_frames(frames, length, hop):
    with pytest.raises(ValueError, match=r"frames"):
        segment(np.zeros((frames, 2), np.float32), length, hop)
