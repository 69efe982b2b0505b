"""The corrective step: keep better what is kept, and close the gaps that are left, in one fused change.

At the current weights theta, with ``g_k`` the gradient of the retentive loss, ``f_i`` the gaps (means of squared
differences: to never-seen samples; of what was forgotten earlier to where it was), ``g_i`` their gradients and
``Sigma`` the input covariances of the retain set::

    w_k = g_k Sigma^-1,   w_i = g_i Sigma^-1
    r_c = -s ||theta_c|| / ||w_k,c|| w_k,c                    one relative step per component c
    D   = r - sum_i l_i w_i   with   sum_j <g_i, w_j> l_j = 2 k f_i + <g_i, r>

A mean of squares whose residuals are linearised and move in proportion is 0 where ``<g_i, D> = -2 f_i``; k is the
share of that which a step closes (``razor.repair.calibrate``). Of all changes that get there, D is the nearest to r in
the metric of Sigma, so the gaps are closed at the least movement on the retain set, and none swings around its goal, as
a step of fixed length does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import Tensor

from razor_pipeline.core.components import Component, ParameterSlice, dot, norm
from razor_pipeline.core.curvature import InputFactors, whiten
from razor_pipeline.core.edit import Pieces, restore, snapshot
from razor_pipeline.core.gradients import Gradients, assert_finite

ALIKE = 0.9  # cosine; parting two such gaps takes a change more than twice as long as closing one


def whitened(
    components: Sequence[Component],
    gradient: Mapping[str, Tensor],
    factors: InputFactors | None,
) -> Pieces:
    """``g Sigma^-1`` of every slice (:func:`razor_pipeline.core.curvature.whiten`); g itself where nothing whitens."""
    return {
        part.key: part.view(gradient[part.parameter])
        if factors is None
        else whiten(part, part.view(gradient[part.parameter]), factors)
        for c in components
        for part in c.slices
    }


def relative_descent(
    components: Sequence[Component], parameters: Mapping[str, Tensor], direction: Pieces, step: float
) -> Pieces:
    """The change r: ``-step ||theta_c|| / ||d_c|| d_c`` for every component; zeros where d_c vanishes."""
    change: Pieces = {}
    for c in components:
        own = [direction[part.key] for part in c.slices]
        length = norm(own)
        scale = step * norm(c.views(parameters)) / length if length > 0.0 else 0.0
        change |= {part.key: -scale * d for part, d in zip(c.slices, own, strict=True)}
    assert_finite(change, "the corrective change")
    return change


@dataclass(frozen=True)
class Gap:
    """A mean of squared differences that is to be closed.

    Attributes:
        value: k f >= 0, how much of it.
        gradient: parameter name -> its gradient g.
        direction: slice key -> the whitened gradient w.
    """

    value: float
    gradient: Mapping[str, Tensor]
    direction: Pieces


def closing(components: Sequence[Component], change: Pieces, gaps: Sequence[Gap]) -> Pieces:
    """The change D, which closes the linearised gaps.

    Args:
        components: the components that move.
        change: r, the retentive part.
        gaps: what is closed. Where two gradients have a cosine of ``ALIKE`` or more in the metric of Sigma, with either
            sign, both are closed in part, along what they have in common: to part them would take a change much
            longer than the linearisation holds for.

    Returns:
        Slice key -> change; ``change`` as it is where all gradients vanish.

    Raises:
        NonFiniteError: a change is NaN or infinite; names the slice.
    """
    parts = [part for c in components for part in c.slices]

    def along(gap: Gap, pieces: Pieces) -> float:
        return dot(
            (part.view(gap.gradient[part.parameter]) for part in parts), (pieces[part.key] for part in parts)
        )

    gaps = [gap for gap in gaps if along(gap, gap.direction) > 0.0]
    if not gaps:
        return change
    slopes = torch.tensor(
        [[along(one, other.direction) for other in gaps] for one in gaps], dtype=torch.float64
    )
    norms = slopes.diagonal().sqrt()
    wanted = torch.tensor([2.0 * gap.value + along(gap, change) for gap in gaps], dtype=torch.float64) / norms
    cosines = slopes / norms[:, None] / norms
    lengths = torch.linalg.pinv(cosines, atol=1.0 - ALIKE, rtol=0.0, hermitian=True) @ wanted / norms
    closed = {
        part.key: change[part.key]
        - sum(length * gap.direction[part.key] for length, gap in zip(lengths.tolist(), gaps, strict=True))
        for part in parts
    }
    assert_finite(closed, "the corrective change")
    return closed


class _EnoughError(Exception):
    """The loss is as low as it was to become."""


def fused_descent(
    components: Sequence[Component],
    parameters: Mapping[str, Tensor],
    fused: Callable[[], Gradients],
    evaluations: int,
    factors: InputFactors | None = None,
    enough: float = 0.0,
) -> Pieces:
    """The change by which L-BFGS lowers a fused loss over the components' weights.

    Where the goal is known sample by sample, the fused loss (distance to the goal, drift of what is kept) is a sum of
    squares over few prompts; second-order steps close it, one direction at a time does not. For a linear layer the
    Hessian of the drift is the covariance Sigma of its inputs, so the search is over U in ``theta + U L^-1`` with
    ``Sigma = L L^T``: there all directions are alike from the start, and L-BFGS need not find out. Nor how long a step
    is: the first one goes where the loss f would be 0 if it fell as steeply all the way, by f / ||g||^2 along -g.

    Args:
        components: the components that move.
        parameters: name -> weights; as they were on exit.
        fused: loss and gradients of the model as it is, for all parameters of the components.
        evaluations: of ``fused``, at most (the line search may add a few).
        factors: L, of the retain set's inputs (:mod:`razor_pipeline.core.curvature`); None: U is the change.
        enough: share of the loss at the start at which the search is over.

    Raises:
        NonFiniteError: a change is NaN or infinite; names the slice.
    """
    parts = [part for c in components for part in c.slices]
    if not parts:
        return {}
    losses: list[float] = []
    start = snapshot(parameters, components)
    inverse = {part.key: _inverse(part, start[part.key], factors) for part in parts}
    leaves = [torch.zeros_like(start[part.key]) for part in parts]
    unit = 1.0

    def changed() -> Pieces:
        change = {part.key: unit * leaf for part, leaf in zip(parts, leaves, strict=True)}
        return {key: leaf if (own := inverse[key]) is None else leaf @ own for key, leaf in change.items()}

    def closure() -> float:
        nonlocal unit
        restore(parameters, components, {key: start[key] + change for key, change in changed().items()})
        found = fused()
        gradients = []
        for part in parts:
            gradient, own = part.view(found.tensors[part.parameter]), inverse[part.key]
            gradients.append(gradient if own is None else gradient @ own.T)
        if not losses:  # at U = 0, which is 0 in any unit
            unit = _unit(found.loss, gradients)
        for leaf, gradient in zip(leaves, gradients, strict=True):
            leaf.grad = unit * gradient
        losses.append(found.loss)
        if found.loss <= enough * losses[0]:
            raise _EnoughError
        return found.loss

    optimizer = torch.optim.LBFGS(
        leaves, max_iter=evaluations, max_eval=evaluations, history_size=20, line_search_fn="strong_wolfe"
    )
    try:
        with suppress(_EnoughError):  # in the middle of a step: the optimizer has no other way to be told
            optimizer.step(closure)
    finally:
        restore(parameters, components, start)
    change = changed()
    assert_finite(change, "the corrective change")
    return change


def _unit(loss: float, gradients: Sequence[Tensor]) -> float:
    """The unit of U in which L-BFGS' first step, ``-min(1, 1 / ||g||_1) g``, goes by f / ||g||^2; 1 where g is 0."""
    square = dot(gradients, gradients)
    if square == 0.0:
        return 1.0
    norm_1 = sum(float(gradient.abs().sum()) for gradient in gradients)
    ratio = loss * norm_1**2 / square
    return max(ratio, math.sqrt(ratio)) / norm_1


def _inverse(part: ParameterSlice, piece: Tensor, factors: InputFactors | None) -> Tensor | None:
    """[I, I] L^-1 of a slice of a matrix; None for a bias, and where nothing is known of its inputs."""
    factor = factors.of(part) if factors is not None and piece.ndim == 2 else None
    if factor is None:
        return None
    inverse: Tensor = torch.linalg.solve_triangular(factor, torch.eye(len(factor)).to(factor), upper=False)
    return inverse.to(piece.dtype)
