"""How many processor threads torch may use for a piece of work."""
from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def single_thread(wanted: bool = True) -> Iterator[None]:
    """Let torch compute with one thread meanwhile, where `wanted`.

    The tensors of a small perceptron are too small to share: a second thread gains nothing alone, and beside other work the waiting
    threads make it several times slower. The numbers then do not depend on how many cores there are, either.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1 if wanted else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
