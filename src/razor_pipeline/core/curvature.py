"""Input covariances of linear layers: which directions of a weight matrix the retain set uses.

A change D of a weight matrix moves a layer's output on an input a by D a, so over the retain set by
``tr(D C D^T)`` in mean square, with ``C = E[a a^T]``. The step that gains most forgetting ``<G, D>`` for a
given movement on the retain set is ``D ~ G C^-1`` (the input half of K-FAC, Martens & Grosse 2015, arXiv
1503.05671).

Shapes: O outputs, I inputs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from razor_pipeline.core.components import ParameterSlice
from razor_pipeline.core.processes import added


@contextmanager
def recording_inputs(module: nn.Module, weights: Collection[str]) -> Iterator[dict[str, Tensor]]:
    """Sum the outer products of the inputs of linear layers over all forward passes inside the block.

    Args:
        module: the model.
        weights: names of parameters; those that are the weight of an ``nn.Linear`` are recorded.

    Yields:
        weight name -> [I, I] sum of ``a a^T``, over all processes of the pass; complete when the block ends.
    """
    sums: dict[str, Tensor] = {}
    hooks = []
    for name, layer in module.named_modules():
        weight = f"{name}.weight"
        if isinstance(layer, nn.Linear) and weight in weights:
            sums[weight] = layer.weight.new_zeros(layer.in_features, layer.in_features)
            hooks.append(layer.register_forward_pre_hook(_adder(sums[weight])))
    try:
        yield sums
    finally:
        for hook in hooks:
            hook.remove()
    sums.update(added(sums))


def _adder(total: Tensor) -> Any:
    def add(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        rows = inputs[0].detach().flatten(0, -2)
        total.addmm_(rows.T, rows)

    return add


def whiten(
    part: ParameterSlice, gradient: Tensor, covariances: Mapping[str, Tensor], damping: float
) -> Tensor:
    """``G (C + damping * mean(diag C) * I)^-1`` for one slice of a weight matrix.

    Args:
        part: the slice that ``gradient`` belongs to; a slice of columns uses its own block of C.
        gradient: [O, I] gradient of the slice, or [O] of a bias.
        covariances: from :func:`recording_inputs`.
        damping: > 0, in units of the mean input power.

    Returns:
        The whitened gradient. Where there is no covariance (a bias acts on every input alike): zeros.
    """
    covariance = covariances.get(part.parameter)
    if covariance is None or gradient.ndim != 2:
        return torch.zeros_like(gradient)
    if part.dim == 1:
        covariance = covariance[part.start : part.stop, part.start : part.stop]
    power = covariance.diagonal().mean()
    if power <= 0.0:
        return torch.zeros_like(gradient)
    ridge = covariance / power + damping * torch.eye(len(covariance), device=covariance.device)
    factor = torch.linalg.cholesky(ridge.double())
    whitened: Tensor = torch.cholesky_solve(gradient.double().T, factor).T
    return whitened.to(gradient.dtype)
