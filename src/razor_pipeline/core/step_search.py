"""Step size by bracketing and bisection on a measure that falls with the step."""

from __future__ import annotations

from collections.abc import Callable


def smallest_step(
    measure: Callable[[float], float], goal: float, first: float, largest: float, evaluations: int
) -> float | None:
    """The smallest step whose measure is at or below ``goal``, to the precision that the evaluations allow.

    Brackets by doubling from ``first``, then bisects geometrically. It assumes the measure falls with the
    step; where it does not, the result still meets the goal, it is only not the smallest.

    Args:
        measure: what is left to forget at a step; lower is more forgotten.
        goal: stop value.
        first: first step tried, > 0.
        largest: no step beyond it is tried.
        evaluations: most calls of ``measure``.

    Returns:
        A step that was measured and met the goal, or None.
    """
    step, below, met = min(first, largest), 0.0, None
    for _ in range(evaluations):
        if measure(step) <= goal:
            met = step
        else:
            below = step
        if met is None:
            if step >= largest:
                return None
            step = min(2.0 * step, largest)
        elif below == 0.0:
            step = met / 2.0
        else:
            step = (met * below) ** 0.5
    return met
