"""SLUG's choice of layers (arXiv 2407.11867): each tower's Pareto front of importance and gradient alignment."""

from __future__ import annotations

from collections.abc import Sequence

from razor_pipeline.core.scoring import ComponentScore


def pareto_fronts(scores: Sequence[ComponentScore]) -> list[list[ComponentScore]]:
    """The Pareto front of each tower by itself: the gradients of one say nothing of another's."""
    towers = dict.fromkeys(row.tower for row in scores)
    return [pareto_front([row for row in scores if row.tower == tower]) for tower in towers]


def pareto_front(scores: Sequence[ComponentScore]) -> list[ComponentScore]:
    """The components that no other beats in both: importance ``||g_f|| / ||theta||``, high, and ``|cos|``, low.

    Returns:
        In falling order of importance; alignment then falls too.
    """

    def importance(row: ComponentScore) -> float:
        return row.forget_norm / row.theta_norm if row.theta_norm > 0.0 else 0.0

    front: list[ComponentScore] = []
    for row in sorted(scores, key=lambda row: (-importance(row), abs(row.cosine))):
        if not front or abs(row.cosine) < abs(front[-1].cosine):
            front.append(row)
    return front
