"""Code of the user's own: its name, and one sentence where it cannot be used."""

import contextlib
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from colab_utils.files import one_line
from colab_utils.learning.training import TrainingError
from colab_utils.settings import SettingError

_KNOWN = (SettingError, TrainingError, MemoryError, torch.OutOfMemoryError)


def name_of(own: Any) -> str:
    """What records call it: its name; of a partial what it holds, of an object its class."""
    while isinstance(own, functools.partial):
        own = own.func
    name = getattr(own, "__name__", type(own).__name__)
    return name.strip("<>")  # a lambda's


def named(own: Mapping[str, Any] | None) -> dict[str, Any]:
    """The user's own methods by name; none where there are none.

    Raises:
        SettingError: no mapping, or one of something that cannot be called.
    """
    if own is None:
        return {}
    if not isinstance(own, Mapping):
        raise SettingError(
            f"own = {name_of(own)}: give it a name of your choice, own={{'mine': {name_of(own)}}}"
        )
    for name, one in own.items():
        if not callable(one):
            raise SettingError(
                f"own: {name!r} is a {type(one).__name__}, which cannot be called: give the "
                "function or class itself"
            )
    return dict(own)


@contextlib.contextmanager
def in_one_sentence(what: str) -> Iterator[None]:
    """Say in one sentence what failed inside; a notebook shows where above it.

    Args:
        what: which code, how it is called and what it has to give.

    Raises:
        SettingError: whatever was raised inside, but for errors that say enough themselves.
    """
    try:
        yield
    except _KNOWN:
        raise
    except Exception as error:
        if "allocate memory" in str(error):  # torch's own, on a CPU
            raise
        kind = type(error).__name__
        raise SettingError(f"{what}: it failed with {kind}, {one_line(error)}") from error


def checked(
    what: str,
    value: Any,
    shape: Sequence[int],
    beside: torch.Tensor,
    *,
    learning: bool = False,
    finite: bool = True,
) -> torch.Tensor:
    """What the user's own code gave, where it can be used.

    Args:
        what: which code, how it is called and what it has to give.
        value: what it gave.
        shape: the one that is needed.
        beside: a tensor on the device where it is computed.
        learning: whether it needs a gradient.
        finite: whether NaN and infinity are refused; the training loop tells of them, too.

    Returns:
        The same, on that device.

    Raises:
        SettingError: it is no tensor, or one that cannot be used.
    """
    device = beside.device
    if not isinstance(value, torch.Tensor) or value.layout != torch.strided:
        found = f"a {type(value).__name__} and no dense tensor"
    elif value.shape != tuple(shape):
        found = f"a tensor of shape {tuple(value.shape)} where {tuple(shape)} is needed"
    elif value.is_complex():
        found = f"complex numbers ({value.dtype})"
    elif value.device.type not in (device.type, "cpu"):
        found = f"a tensor on the device {value.device}, and all else is on {device}"
    elif finite and not value.isfinite().all():
        found = "NaN or infinity: look for a division by 0, a root of 0, or a rate that is too high"
    elif learning and not value.requires_grad:
        found = (
            "a tensor without a gradient, from which nothing is learned: leave out detach(), "
            "item(), numpy() and no_grad()"
        )
    else:
        return value.to(device)
    raise SettingError(f"{what}: it gave {found}")
