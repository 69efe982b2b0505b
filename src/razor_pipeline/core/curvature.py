"""Input covariances of linear layers: which directions of a weight matrix the retain set uses.

A change D of a weight matrix moves a layer's output on an input a by D a, so over the retain set by
``tr(D Sigma D^T)`` in mean square, with ``Sigma = E[a a^T]``. The step that gains most forgetting ``<G, D>`` for a
given movement on the retain set is ``D ~ G Sigma^-1`` (the input half of K-FAC, Martens & Grosse 2015, arXiv
1503.05671).

Shapes: O outputs, I inputs.
"""

from __future__ import annotations

import weakref
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor, nn

from razor_pipeline.core.components import ParameterSlice
from razor_pipeline.core.processes import added, one_of_several


@contextmanager
def recording_inputs(module: nn.Module, weights: Collection[str]) -> Iterator[dict[str, Tensor]]:
    """Sum the outer products of the inputs of linear layers over all forward passes inside the block.

    Args:
        module: the model.
        weights: names of parameters; those that are the weight of an ``nn.Linear`` are recorded.

    Yields:
        weight name -> [I, I] sum of ``a a^T``, over all processes of the pass; complete when the block ends. Layers
        that read one and the same input, as queries, keys and values do, share one sum.
    """
    recorder = _Recorder({})
    layers = linear_weights(module, weights)
    hooks = [
        layer.register_forward_pre_hook(partial(recorder.record, weight)) for weight, layer in layers.items()
    ]
    try:
        yield recorder.sums
    finally:
        for hook in hooks:
            hook.remove()
    if one_of_several():
        recorder.sums.update(_of_all_processes(recorder.sums, layers))


def linear_weights(module: nn.Module, names: Collection[str]) -> dict[str, nn.Linear]:
    """Those of the names that are the weight of a linear layer, with their layers."""
    return {
        f"{name}.weight": layer
        for name, layer in module.named_modules()
        if isinstance(layer, nn.Linear) and f"{name}.weight" in names
    }


def _of_all_processes(sums: Mapping[str, Tensor], layers: Mapping[str, nn.Linear]) -> dict[str, Tensor]:
    """The processes' sums added up; one whose share of the batches was empty has none, but takes part."""
    whole = {
        weight: sums[weight]
        if weight in sums
        else layer.weight.new_zeros(layer.in_features, layer.in_features)
        for weight, layer in layers.items()
    }
    return {weight: total for weight, total in added(whole).items() if total.any()}


@dataclass
class _Recorder:
    """Sums by weight; a layer that is handed the very tensor which the one before it had shares that one's sum.

    Attributes:
        sums: weight name -> sum.
        latest: the last input and the weight that it was recorded for.
        shared: weight name -> the weight whose sum it shares.
    """

    sums: dict[str, Tensor]
    latest: tuple[weakref.ref[Tensor], str] | None = None
    shared: dict[str, str] = field(default_factory=dict)

    def record(self, weight: str, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        """Add one forward pass of one layer."""
        states = inputs[0]
        before = self.latest[1] if self.latest is not None and self.latest[0]() is states else None
        if before is not None and weight not in self.sums:
            self.shared[weight], self.sums[weight] = before, self.sums[before]
        assert self.shared.get(weight) in (None, before), f"{weight} reads another input than it did"
        if weight in self.shared:
            return
        self.latest = weakref.ref(states), weight
        rows = states.detach().flatten(0, -2)
        if weight not in self.sums:
            self.sums[weight] = rows.new_zeros(rows.shape[1], rows.shape[1])
        self.sums[weight].addmm_(rows.T, rows)


class InputFactors:
    """Cholesky factors of input covariances; each is made when it is first asked for, and kept.

    Args:
        covariances: from :func:`recording_inputs`; weights that share one share its factor.
        damping: > 0, in units of the mean input power.
    """

    def __init__(self, covariances: Mapping[str, Tensor], damping: float) -> None:
        self.covariances, self.damping = covariances, damping
        self._made: dict[tuple[int, int, int], Tensor | None] = {}

    def of(self, part: ParameterSlice) -> Tensor | None:
        """[I, I] lower triangular L, float64: ``L L^T = Sigma / mean(diag Sigma) + damping * I``, of a slice.

        A slice of columns uses its own block of Sigma. None where there is no covariance, or no input.
        """
        covariance = self.covariances.get(part.parameter)
        if covariance is None:
            return None
        start, stop = (part.start, part.stop) if part.dim == 1 else (0, len(covariance))
        key = id(covariance), start, stop
        if key not in self._made:
            self._made[key] = _factor(covariance[start:stop, start:stop], self.damping)
        return self._made[key]


def _factor(covariance_II: Tensor, damping: float) -> Tensor | None:
    power = covariance_II.diagonal().mean()
    if power <= 0.0:
        return None
    ridge_II = covariance_II / power
    ridge_II.diagonal().add_(damping)
    factor: Tensor = torch.linalg.cholesky(ridge_II.double())
    return factor


def whiten(part: ParameterSlice, gradient: Tensor, factors: InputFactors) -> Tensor:
    """``G (Sigma + damping * mean(diag Sigma) * I)^-1``, up to a scale, for one slice of a weight matrix.

    Args:
        part: the slice that ``gradient`` belongs to.
        gradient: [O, I] gradient of the slice, or [O] of a bias.
        factors: of the input covariances.

    Returns:
        The whitened gradient. Where there is no covariance (a bias acts on every input alike): zeros.
    """
    factor = factors.of(part) if gradient.ndim == 2 else None
    if factor is None:
        return torch.zeros_like(gradient)
    whitened: Tensor = torch.cholesky_solve(gradient.double().T, factor).T
    return whitened.to(gradient.dtype)
