"""Weight-only quantization behind one function, and whether an edit survives it."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchao.quantization import IntxWeightOnlyConfig, quantize_
from torchao.quantization.granularity import Granularity, PerAxis, PerGroup
from torchao.quantization.quantize_.workflows.nf4.nf4_tensor import to_nf4

from razor_pipeline.core.copies import copied_but_for_weights
from razor_pipeline.core.weight_edit import WeightEdit

Scheme = Literal["int8", "int4", "nf4"]
Module = TypeVar("Module", bound=nn.Module)
INT4_GROUP = 32  # weights that share a scale, along a row
CODES = "qdata"  # torchao's name for the integers of a quantized weight
NF4_BLOCK, NF4_SCALERS = 64, 256  # weights that share a scale; scales that share a scale of their own


def quantized(module: Module, scheme: Scheme) -> Module:
    """A copy of the model with its linear layers' weights quantized; biases, norms and embeddings stay.

    ``int8``: symmetric, one scale a row. ``int4``: symmetric, one scale per 32 weights of a row (a whole row where
    its length is no multiple of 32). ``nf4``: 4-bit normal float with doubly quantized scales (QLoRA,
    arXiv 2305.14314); a layer whose number of weights is no multiple of 64 stays as it is.
    """
    layers = {name: layer for name, layer in _linear_layers(module) if _fits(layer, scheme)}
    copied = copied_but_for_weights(module, list(layers.values()))
    for name in layers:
        layer: Any = copied.get_submodule(name)
        if scheme == "nf4":
            scalers = layer.weight.numel() // NF4_BLOCK
            weight = to_nf4(layer.weight.detach(), NF4_BLOCK, math.gcd(scalers, NF4_SCALERS))
            layer.weight = nn.Parameter(weight, requires_grad=False)
        else:
            quantize_(layer, IntxWeightOnlyConfig(_dtype(scheme), _granularity(layer, scheme)))
    return copied


def _fits(layer: nn.Linear, scheme: Scheme) -> bool:
    return scheme != "nf4" or layer.weight.numel() % NF4_BLOCK == 0


def _dtype(scheme: Scheme) -> torch.dtype:
    dtype: torch.dtype = getattr(torch, scheme)
    return dtype


def _granularity(layer: nn.Linear, scheme: Scheme) -> Granularity:
    if scheme == "int4" and layer.in_features % INT4_GROUP == 0:
        return PerGroup(INT4_GROUP)
    return PerAxis(0)


def _linear_layers(module: nn.Module) -> Iterator[tuple[str, nn.Linear]]:
    return ((name, layer) for name, layer in list(module.named_modules()) if isinstance(layer, nn.Linear))


def packed(module: nn.Module) -> dict[str, Tensor]:
    """The state of a quantized model as plain tensors: ``<name>`` or ``<name>/<part>`` for each part of a code.

    Codes of 4 bits, which torchao computes with as bytes, are two in a byte, the first one in its low half.
    """
    return {key: _in_halves(part) if halves else part for key, part, halves in _parts(module)}


def unpacked(module: Module, state: Mapping[str, Tensor], scheme: Scheme) -> Module:
    """A quantized copy of ``module`` that holds a packed state, bit for bit.

    Raises:
        ValueError: the state is of another scheme or architecture; names the tensor.
    """
    filled = quantized(module, scheme)
    own = {key: (part, halves) for key, part, halves in _parts(filled)}
    if unlike := sorted(own.keys() ^ state.keys()):
        raise ValueError(
            f"the packed weights do not fit this model in {scheme}: '{unlike[0]}' is in one of them only"
        )
    with torch.no_grad():
        for key, (part, halves) in own.items():
            if (room := -(-part.numel() // 2) if halves else part.numel()) != state[key].numel():
                raise ValueError(
                    f"the packed weights do not fit this model in {scheme}: '{key}' has {state[key].numel()} numbers "
                    f"instead of {room}"
                )
            part.copy_(_whole(state[key], part.numel()).view(part.shape) if halves else state[key])
    return filled


def _parts(module: nn.Module) -> Iterator[tuple[str, Tensor, bool]]:
    """Key, tensor, and whether it holds codes of 4 bits, of all that a quantized model's state consists of."""
    for name, tensor in module.state_dict().items():
        if not hasattr(tensor, "__tensor_flatten__"):
            yield name, tensor, False
            continue
        for part in tensor.__tensor_flatten__()[0]:
            halves = part == CODES and tensor.target_dtype == _dtype("int4")
            yield f"{name}/{part}", getattr(tensor, part), halves


def _in_halves(codes: Tensor) -> Tensor:
    """[ceil(n / 2)] bytes of n codes of -8 to 7."""
    low, high = functional.pad(codes.flatten(), (0, codes.numel() % 2)).view(-1, 2).unbind(1)
    return (low & 15 | high << 4).view(torch.uint8)


def _whole(halves: Tensor, count: int) -> Tensor:
    """The first ``count`` codes of :func:`_in_halves`."""
    both = halves.view(torch.int8)
    return torch.stack([both << 4 >> 4, both >> 4], dim=1).flatten()[:count]


def changed_bin_share(base: nn.Module, edited: nn.Module, edit: WeightEdit) -> float:
    """Share of the edited weights that rounding leaves more than half a bin of the base from the base's.

    The others are rounded back to the base's value, or next to it. Codes alone would not say so: an edit that moves the
    largest weight of a row or group gives all of it another scale.

    Args:
        base: the base model in ``int8`` or ``int4``, as :func:`quantized` makes it.
        edited: the edited model in the same scheme.
        edit: what was edited; biases and other weights that stay in full precision are left out.
    """
    layers = {f"{name}.weight": layer for name, layer in _linear_layers(base)}
    slices = defaultdict(list)
    for part in edit.slices:
        if part.parameter in layers:
            slices[part.parameter].append(part)
    changed = total = 0
    for parameter, parts in slices.items():  # one matrix at a time, in full precision
        before: Any = layers[parameter].weight
        after: Any = edited.get_parameter(parameter)
        bins = before.scale.repeat_interleave(before.shape[1] // before.scale.shape[1], dim=1)
        differs = (after.dequantize() - before.dequantize()).abs() > 0.5 * bins
        changed += sum(int(part.view(differs).sum()) for part in parts)
        total += sum(part.view(differs).numel() for part in parts)
    return changed / total if total else 0.0
