"""The ratio-aware score of a component (RAZOR, arXiv 2603.14819)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from razor_pipeline.core.components import Component, dot, norm


@dataclass(frozen=True)
class ComponentScore:
    """One row of the score table.

    Attributes:
        component: name of the component.
        kind: ``head`` or ``matrix``.
        tower: sub-model.
        layer: index of the layer in its tower.
        weights: number of weights.
        theta_norm: ``||theta_c||``.
        forget_norm: ``||g_f||``.
        retain_norm: ``||g_r||``.
        cosine: ``cos(g_f, g_r)``; 0 where either gradient vanishes.
        score: ``phi(c)``.
        rank: 0 for the highest score.
        tower_rank: 0 for the highest score of its tower.
    """

    component: str
    kind: str
    tower: str
    layer: int
    weights: int
    theta_norm: float
    forget_norm: float
    retain_norm: float
    cosine: float
    score: float
    rank: int
    tower_rank: int


def ratio_aware_score(
    forget_norm: float, theta_norm: float, cosine: float, alpha: float, eps: float
) -> float:
    """``phi = ||g_f|| / (||theta|| + eps) * (1 - cos(g_f, g_r))^alpha``: leverage x retention safety."""
    safety: float = max(1.0 - cosine, 0.0) ** alpha
    return forget_norm / (theta_norm + eps) * safety


def score_components(
    components: Sequence[Component],
    parameters: Mapping[str, Tensor],
    forget: Mapping[str, Tensor],
    retain: Mapping[str, Tensor],
    alpha: float,
    eps: float = 1e-8,
) -> list[ComponentScore]:
    """Score every component from one forget and one retain gradient at the current weights.

    Args:
        components: what to score.
        parameters: name -> weights theta.
        forget: name -> gradient g_f of the forget loss.
        retain: name -> gradient g_r of the retain loss.
        alpha: weight of the retention term, in [0, 1]; 0 scores by leverage alone.
        eps: guards against weights of norm zero.

    Returns:
        One record per component, highest score first.
    """
    rows = []
    for c in components:
        theta, f_norm, r_norm = (norm(c.views(tensors)) for tensors in (parameters, forget, retain))
        product = f_norm * r_norm
        cosine = dot(c.views(forget), c.views(retain)) / product if product > 0.0 else 0.0
        phi = ratio_aware_score(f_norm, theta, cosine, alpha, eps)
        rows.append((phi, c, theta, f_norm, r_norm, cosine))
    rows.sort(key=lambda row: (-row[0], row[1].name))
    ranked: list[ComponentScore] = []
    in_tower: Counter[str] = Counter()
    for rank, (phi, c, theta, f, r, cosine) in enumerate(rows):
        figures = (c.numel(parameters), theta, f, r, cosine, phi, rank, in_tower[c.tower])
        ranked.append(ComponentScore(c.name, c.kind, c.tower, c.layer, *figures))
        in_tower[c.tower] += 1
    return ranked
