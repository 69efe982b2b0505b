"""Which components to edit: ``K = {c : phi(c) > tau}``, within a budget."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from razor_pipeline.core.scoring import ComponentScore


def select(
    scores: Sequence[ComponentScore],
    count: int,
    max_weights: int,
    tau: float | None = None,
    per_tower: bool = False,
    exclude: Collection[str] = (),
) -> tuple[str, ...]:
    """The best-scored components within the budget, highest score first.

    Args:
        scores: the score table.
        count: most components to choose.
        max_weights: most weights that the chosen components may hold together; a component that would go
            beyond is passed over for the next that fits.
        tau: absolute threshold; components with ``phi <= tau`` are never chosen. None: no threshold.
        per_tower: choose in turn from each tower's own ranking, so that two scales of scores do not compete.
        exclude: names that are already edited.

    Returns:
        Names; empty where nothing passes.
    """
    chosen: list[str] = []
    weights = 0
    for row in _ordered(scores, tau, per_tower):
        if len(chosen) == count:
            break
        if row.component not in exclude and weights + row.weights <= max_weights:
            chosen.append(row.component)
            weights += row.weights
    return tuple(chosen)


def selectable(
    scores: Sequence[ComponentScore], count: int, tau: float | None = None, per_tower: bool = False
) -> tuple[str, ...]:
    """All components that :func:`select` could choose within one budget or another, in its order.

    What it chooses had room at its turn, and so had all before it that are no larger: fewer than ``count`` of them.
    """
    ordered = _ordered(scores, tau, per_tower)
    return tuple(
        row.component
        for place, row in enumerate(ordered)
        if sum(before.weights <= row.weights for before in ordered[:place]) < count
    )


def _ordered(
    scores: Sequence[ComponentScore], tau: float | None, per_tower: bool
) -> Sequence[ComponentScore]:
    """Those above the threshold; by the ranks that they were given, so that what is left out moves no other."""
    passing = [row for row in scores if tau is None or row.score > tau]
    return sorted(passing, key=lambda row: (row.tower_rank, row.rank)) if per_tower else passing
