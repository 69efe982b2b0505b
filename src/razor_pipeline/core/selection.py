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
    for row in _interleaved(scores) if per_tower else scores:
        if len(chosen) == count:
            break
        if row.component in exclude or (tau is not None and row.score <= tau):
            continue
        if weights + row.weights <= max_weights:
            chosen.append(row.component)
            weights += row.weights
    return tuple(chosen)


def _interleaved(scores: Sequence[ComponentScore]) -> list[ComponentScore]:
    place: dict[str, int] = {}
    keyed = []
    for row in scores:
        turn = place[row.tower] = place.get(row.tower, -1) + 1
        keyed.append((turn, row.rank, row))
    return [row for _, _, row in sorted(keyed, key=lambda item: item[:2])]
