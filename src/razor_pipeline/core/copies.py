"""Copies of a model that do not copy first what they are about to replace: its weights, once rounded or narrowed."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

Module = TypeVar("Module", bound=nn.Module)


def copied_but_for_weights(module: Module, layers: Sequence[nn.Linear]) -> Module:
    """A copy that shares the weights of the given layers, which the caller is to replace; all else is its own.

    A weight that another kind of layer has too, e.g. an embedding that the output is tied to, is copied.
    """
    chosen = set(layers)
    others = {
        id(own) for part in module.modules() if part not in chosen for own in part.parameters(recurse=False)
    }
    memo: dict[int, Any] = {
        id(layer.weight): layer.weight for layer in layers if id(layer.weight) not in others
    }
    return copy.deepcopy(module, memo)


def in_dtype(module: Module, dtype: torch.dtype) -> Module:
    """A copy whose floating weights and buffers are in ``dtype``; the model itself where they are already."""
    floating = [*_floating(module.parameters()), *_floating(module.buffers())]
    if all(tensor.dtype == dtype for tensor in floating):
        return module
    return copy.deepcopy(module, {id(tensor): _converted(tensor, dtype) for tensor in floating})


def _floating(tensors: Iterable[Tensor]) -> list[Tensor]:
    return [tensor for tensor in tensors if tensor.is_floating_point()]


def _converted(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    converted = tensor.detach().to(dtype)
    return nn.Parameter(converted, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else converted
