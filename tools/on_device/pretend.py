"""A GPU that is not there: tensors that say they lie on "meta" and have their numbers on the CPU.

A tensor of torch's own meta device has no numbers, so whatever looks at one (`.item()`, a boolean
mask, `if`) ends there, and its matrix products and convolutions take a tensor of the CPU without a
word. Here both are as on a GPU: numbers can be asked for, and every operation on tensors of two
devices is refused but for those that CUDA allows (copies, numbers without dimensions, indices).
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

DEVICE = "meta"
_aten = torch.ops.aten
# What moves numbers between devices, and what looks up by numbers of the CPU.
_MOVES = {_aten._to_copy.default, _aten.copy_.default}
_LOOKS_UP = {
    _aten.index.Tensor,
    _aten.index_put.default,
    _aten.index_put_.default,
    _aten._index_put_impl_.default,
}


class _OnGpu(torch.Tensor):
    """A tensor that says it lies on DEVICE; `numbers` are on the CPU."""

    @staticmethod
    def __new__(cls, numbers: torch.Tensor) -> "_OnGpu":
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            numbers.shape,
            strides=numbers.stride(),
            storage_offset=numbers.storage_offset(),
            dtype=numbers.dtype,
            device=DEVICE,
        )
        made.numbers = numbers
        return made

    @classmethod
    def __torch_dispatch__(
        cls, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        return _computed(func, args, kwargs or {})

    def __repr__(self) -> str:
        return f"on {DEVICE}: {self.numbers!r}"


class _Catching(TorchDispatchMode):
    """Also operations without such a tensor: `torch.zeros(..., device=DEVICE)` makes one."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        return _computed(func, args, kwargs or {})


def _computed(func: Any, args: tuple, kwargs: dict) -> Any:
    """One operation: refused for tensors of two devices, else computed on the CPU.

    Raises:
        RuntimeError: a tensor, or a random generator, was left on the CPU.
    """
    if torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), "CompositeImplicitAutograd"):
        # in inference mode: made of other operations, which are looked at one by one
        with _Catching():
            return func.decompose(*args, **kwargs)
    given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
    here = [one for one in given if isinstance(one, _OnGpu)]
    wanted = kwargs.get("device")
    on_gpu = bool(here)
    if wanted is not None:
        on_gpu = torch.device(wanted).type == DEVICE
        kwargs = kwargs | {"device": torch.device("cpu")}
    elif func is _aten.copy_.default:
        on_gpu = isinstance(args[0], _OnGpu)
    if func not in _MOVES:
        _refuse_two_devices(func, args, kwargs, here, on_gpu)
    owners = {id(one.numbers): one for one in here}
    args, kwargs = tree_map_only(_OnGpu, lambda one: one.numbers, (args, kwargs))
    found = func(*args, **kwargs)
    if not on_gpu:
        return found

    def outside(one: torch.Tensor) -> _OnGpu:
        # an operation in place gives its argument back
        return owners[id(one)] if id(one) in owners else _OnGpu(one)

    return tree_map_only(torch.Tensor, outside, found)


def _refuse_two_devices(func: Any, args: tuple, kwargs: dict, here: list, on_gpu: bool) -> None:
    """Raise RuntimeError where CUDA would."""
    if on_gpu and kwargs.get("generator") is not None:
        raise RuntimeError(f"{func}: the random generator lies on cpu, the numbers on {DEVICE}")
    looked_at = args
    if func in _LOOKS_UP:
        # indices may lie on the CPU, but those on the GPU cannot look up on the CPU
        table, indices, *values = args
        looked_at = (table, values) if isinstance(table, _OnGpu) else args
    for leaf in tree_leaves((looked_at, kwargs)):
        left = isinstance(leaf, torch.Tensor) and not isinstance(leaf, _OnGpu) and leaf.dim()
        if here and left:
            raise RuntimeError(
                f"{func}: a tensor of shape {tuple(leaf.shape)} is on device cpu, not on {DEVICE}"
            )


def _moved(make: Callable) -> Callable:
    """`torch.tensor` and `torch.as_tensor`, which throw the numbers away where DEVICE is asked."""

    def made(*args: Any, device: Any = None, **kwargs: Any) -> torch.Tensor:
        tensor = make(*args, **kwargs)
        return tensor if device is None else tensor.to(device)

    return made


def _fused_on() -> list[str]:
    """Where Adam may be fused."""
    return [DEVICE, "cpu", "cuda"]


def _uncast(*_: Any, **__: Any) -> contextlib.AbstractContextManager:
    """`torch.autocast`, which does not know DEVICE."""
    return contextlib.nullcontext()


@contextlib.contextmanager
def pretended(device: str) -> Iterator[None]:
    """With the pretended GPU meanwhile, where `device` is its name."""
    if device != DEVICE:
        yield
        return
    with contextlib.ExitStack() as stack:
        for name in ("tensor", "as_tensor"):
            stack.enter_context(mock.patch.object(torch, name, _moved(getattr(torch, name))))
        stack.enter_context(mock.patch.object(torch, "autocast", _uncast))
        where = "torch.optim.optimizer._get_fused_kernels_supported_devices"
        stack.enter_context(mock.patch(where, _fused_on))
        stack.enter_context(_Catching())
        yield
