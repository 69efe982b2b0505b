"""A device that is not the CPU, pretended by the CPU: tensors there can be computed with, but not mixed with others.

What torch refuses on a GPU (a tensor of the CPU beside one of the GPU, numpy from the GPU) is refused here likewise;
numbers are those of the CPU. The device is called ``lazy``, a name that torch keeps for one without a driver.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map

DEVICE = torch.device("lazy")
aten = torch.ops.aten
CROSSING = {aten._to_copy.default, aten.copy_.default}
INDEXING = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default}


class Elsewhere(Tensor):
    """A tensor of the pretended device; ``inner`` has its numbers."""

    inner: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor) -> Elsewhere:
        return Tensor._make_wrapper_subclass(
            cls,
            inner.shape,
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=DEVICE,
        )

    def __init__(self, inner: Tensor) -> None:
        self.inner = inner

    def __repr__(self, **_: Any) -> str:
        return f"Elsewhere({self.inner!r})"

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _computed(func, args, kwargs or {})


class _Mode(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _computed(func, args, kwargs or {})


class _Indices(TorchFunctionMode):
    """Lists as indices become tensors: torch would make them on the device, past the mode above."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is Tensor.__getitem__:
            args = args[0], _as_tensors(args[1])
        return func(*args, **(kwargs or {}))


def _as_tensors(index: Any) -> Any:
    if isinstance(index, tuple):
        return tuple(map(_as_tensors, index))
    return torch.tensor(index) if isinstance(index, list) else index


@contextmanager
def pretended() -> Iterator[torch.device]:
    """Let the device exist inside the block."""
    with _Mode(), _Indices():
        yield DEVICE


def is_there(value: Any) -> bool:
    """Whether a tensor is on the pretended device."""
    return isinstance(value, Elsewhere)


def _computed(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    leaves = tree_leaves((args, kwargs))
    there = any(map(is_there, leaves))
    # As on a GPU, a single number of the CPU may take part, and an index may be on the CPU.
    checked = tree_leaves((args[0], args[2:])) if func in INDEXING else leaves
    here = any(isinstance(leaf, Tensor) and not is_there(leaf) and leaf.ndim for leaf in checked)
    if there and here and func not in CROSSING:
        raise RuntimeError(
            f"{func}: expected all tensors to be on the same device, but found {DEVICE} and cpu"
        )
    asked = kwargs.get("device")
    if func is aten.copy_.default:
        stays = is_there(args[0])
    elif asked is not None:
        stays = torch.device(asked).type == DEVICE.type
        kwargs = {**kwargs, "device": torch.device("cpu")}
    else:
        stays = there
    found = func(*tree_map(_numbers, args), **tree_map(_numbers, kwargs))
    if not stays:
        return found
    moved = tree_map(lambda one: Elsewhere(one) if isinstance(one, Tensor) else one, found)
    return return_and_correct_aliasing(func, args, kwargs, moved) if there else moved


def _numbers(value: Any) -> Any:
    return value.inner if isinstance(value, Elsewhere) else value
