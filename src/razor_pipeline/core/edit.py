"""The fused update: one direction from several gradients, one relative step per component.

RAZOR, arXiv 2603.14819::

    d_c = lambda_f rho g_f - lambda_r g_r - lambda_m g_m,    theta_c += s ||theta_c|| / ||d_c|| d_c

At the base weights g_m is exactly zero, and no pass is spent on it: the mismatch loss enters with the corrective steps
(:mod:`razor_pipeline.core.correction`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from razor_pipeline.core.components import Component, dot, norm, write
from razor_pipeline.core.curvature import InputFactors, whiten
from razor_pipeline.core.gradients import assert_finite

Pieces = dict[str, Tensor]


def snapshot(parameters: Mapping[str, Tensor], components: Sequence[Component]) -> Pieces:
    """Copies of the components' weights: slice key -> tensor."""
    return {p.key: p.view(parameters[p.parameter]).detach().clone() for c in components for p in c.slices}


def fused_direction(
    components: Sequence[Component],
    parameters: Mapping[str, Tensor],
    ascend: Mapping[str, Tensor] | None,
    descend: Sequence[tuple[float, Mapping[str, Tensor]]],
    weight: float = 1.0,
    project: bool = False,
    factors: InputFactors | None = None,
) -> Pieces:
    """The relative edit direction of every component.

    Args:
        components: the components to edit.
        parameters: name -> weights theta.
        ascend: gradient of the loss to raise (forget); None leaves it out.
        descend: (weight, gradient) of the losses to lower: the retain loss, or none.
        weight: ``lambda_f * rho``, the weight of ``ascend``.
        project: take the part of ``ascend`` along the first of ``descend`` out, so that to first order the
            forget term leaves the retain loss where it is.
        factors: of the input covariances of the retain set; ``ascend`` is whitened by them first, which
            spends the step where the retain set has little (:mod:`razor_pipeline.core.curvature`). None: no
            whitening.

    Returns:
        Slice key -> ``||theta_c|| / ||d_c|| d_c``; adding ``s`` times it moves each component by the share
        ``s`` of its own norm. Components whose gradients vanish get zeros.

    Raises:
        NonFiniteError: a direction is NaN or infinite; names the slice.
    """
    direction: Pieces = {}
    for c in components:
        pieces = [torch.zeros_like(view) for view in c.views(parameters)]
        if ascend is not None:
            forget = list(c.views(ascend))
            if factors is not None:
                forget = [whiten(part, f, factors) for part, f in zip(c.slices, forget, strict=True)]
            if project and descend:
                forget = _without(forget, list(c.views(descend[0][1])))
            pieces = [d + weight * f for d, f in zip(pieces, forget, strict=True)]
        for factor, gradient in descend:
            pieces = [d - factor * g for d, g in zip(pieces, c.views(gradient), strict=True)]
        length = norm(pieces)
        scale = norm(c.views(parameters)) / length if length > 0.0 else 0.0
        direction |= {part.key: d * scale for part, d in zip(c.slices, pieces, strict=True)}
    assert_finite(direction, "the edit direction")
    return direction


def _without(forget: list[Tensor], retain: list[Tensor]) -> list[Tensor]:
    square = dot(retain, retain)
    share = dot(forget, retain) / square if square > 0.0 else 0.0
    return [f - share * r for f, r in zip(forget, retain, strict=True)]


@torch.no_grad()
def move(
    parameters: Mapping[str, Tensor],
    components: Sequence[Component],
    origin: Pieces,
    direction: Pieces,
    step: float,
) -> None:
    """Set the components to ``origin + step * direction``; ``step`` is a share of each component's norm."""
    for c in components:
        for part in c.slices:
            moved = origin[part.key] if step == 0.0 else origin[part.key] + step * direction[part.key]
            part.view(parameters[part.parameter]).copy_(moved)


@torch.no_grad()
def add(parameters: Mapping[str, Tensor], components: Sequence[Component], change: Pieces) -> None:
    """Add a change to the components' weights, in place."""
    for c in components:
        for part in c.slices:
            part.view(parameters[part.parameter]).add_(change[part.key])


def restore(parameters: Mapping[str, Tensor], components: Sequence[Component], pieces: Pieces) -> None:
    """Write saved pieces back."""
    write(parameters, (part for c in components for part in c.slices), pieces)
