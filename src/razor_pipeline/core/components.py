"""Editable components of a model: attention heads and weight matrices, as named slices of its parameters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Granularity = Literal["matrix", "head", "mixed"]


@dataclass(frozen=True)
class ParameterSlice:
    """Rows ``start:stop`` (``dim`` 0) or columns (``dim`` 1) of a parameter; all of it if ``dim`` is None."""

    parameter: str
    dim: int | None = None
    start: int = 0
    stop: int = 0

    def view(self, tensor: Tensor) -> Tensor:
        """The slice of ``tensor`` as a view that shares its memory."""
        return tensor if self.dim is None else tensor.narrow(self.dim, self.start, self.stop - self.start)

    @property
    def key(self) -> str:
        """A unique, file-safe name: ``parameter`` or ``parameter[dim:start:stop]``."""
        return (
            self.parameter if self.dim is None else f"{self.parameter}[{self.dim}:{self.start}:{self.stop}]"
        )


@dataclass(frozen=True)
class Component:
    """One unit that is scored and edited as a whole.

    Attributes:
        name: unique, readable: ``vision.3.attention.head2``, ``text.0.mlp.fc1``.
        kind: ``head`` (rows of W_q, W_k, W_v with biases and columns of W_o) or ``matrix`` (weight and bias).
        tower: the sub-model it belongs to, e.g. ``vision`` or ``text``.
        layer: index of its layer within the tower; projections behind the last layer count on.
        slices: the parameter slices that make it up.
    """

    name: str
    kind: Literal["matrix", "head"]
    tower: str
    layer: int
    slices: tuple[ParameterSlice, ...]

    def views(self, tensors: Mapping[str, Tensor]) -> Iterator[Tensor]:
        """The component's slices of ``tensors`` (parameter name -> tensor), as views."""
        return (part.view(tensors[part.parameter]) for part in self.slices)

    def numel(self, tensors: Mapping[str, Tensor]) -> int:
        """Number of weights in the component."""
        return sum(view.numel() for view in self.views(tensors))


def matrix_component(name: str, tower: str, layer: int, parameters: Sequence[str]) -> Component:
    """A component of whole parameters, e.g. a linear layer's weight and bias."""
    return Component(name, "matrix", tower, layer, tuple(ParameterSlice(p) for p in parameters))


def head_components(
    prefix: str, tower: str, layer: int, heads: int, width: int, attention: Mapping[str, Sequence[str]]
) -> list[Component]:
    """The heads of one attention layer.

    Args:
        prefix: name of the layer, e.g. ``vision.3.attention``.
        tower: the sub-model.
        layer: index of the layer.
        heads: number of heads H; head h owns rows ``h*width/H : (h+1)*width/H``.
        width: rows of W_q, W_k and W_v (all heads together); columns of W_o.
        attention: ``rows`` -> parameter names cut by rows (W_q, W_k, W_v and their biases), ``columns`` ->
            names cut by columns (W_o). The output bias belongs to no head and stays out.

    Raises:
        ValueError: the width is not a multiple of the number of heads.
    """
    if width % heads:
        raise ValueError(f"{prefix}: the width {width} is not a multiple of its {heads} heads")
    size = width // heads
    return [
        Component(
            f"{prefix}.head{h}",
            "head",
            tower,
            layer,
            tuple(ParameterSlice(p, 0, h * size, (h + 1) * size) for p in attention["rows"])
            + tuple(ParameterSlice(p, 1, h * size, (h + 1) * size) for p in attention["columns"]),
        )
        for h in range(heads)
    ]


def parameter_names(components: Sequence[Component]) -> tuple[str, ...]:
    """The distinct parameters that the components touch, in order of first appearance."""
    return tuple(dict.fromkeys(part.parameter for c in components for part in c.slices))


@torch.no_grad()
def write(
    parameters: Mapping[str, Tensor], slices: Iterable[ParameterSlice], pieces: Mapping[str, Tensor]
) -> None:
    """Write pieces (slice key -> tensor) where the slices lie."""
    for part in slices:
        part.view(parameters[part.parameter]).copy_(pieces[part.key])


def dot(a: Iterable[Tensor], b: Iterable[Tensor]) -> float:
    """Inner product over matching pieces, accumulated in float64."""
    return float(sum(torch.sum(x.double() * y.double()) for x, y in zip(a, b, strict=True)))


def norm(pieces: Iterable[Tensor]) -> float:
    """Norm of all pieces together, accumulated in float64."""
    lengths = [torch.linalg.vector_norm(piece, dtype=torch.float64) for piece in pieces]
    return float(torch.stack(lengths).norm()) if lengths else 0.0
