"""The bounded loop: edit, look, and grow the component set only while forgetting falls short."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

State = TypeVar("State")


class StopReason(StrEnum):
    """Why an edit ended.

    ``target_met``: forgotten, retention above its floor. ``retain_floor``: forgotten, but retention fell below its
    floor. ``no_gain``: a further round, or want of further components, brought nothing. ``max_rounds``: the bound.
    """

    TARGET_MET = "target_met"
    RETAIN_FLOOR = "retain_floor"
    NO_GAIN = "no_gain"
    MAX_ROUNDS = "max_rounds"


@dataclass(frozen=True)
class Attempt(Generic[State]):
    """The best state of one round.

    Attributes:
        state: whatever restores it.
        gap: what it falls short of; lower is better.
        forgotten: the forget target is met.
        retained: retention is above its floor.
    """

    state: State
    gap: float
    forgotten: bool
    retained: bool


@dataclass(frozen=True)
class Expansion(Generic[State]):
    """The best attempt of all rounds, how many there were, and why they ended."""

    best: Attempt[State]
    rounds: int
    reason: StopReason


def expand(
    attempt: Callable[[int, State | None], Attempt[State] | None], max_rounds: int
) -> Expansion[State]:
    """Attempt with ever more components until the target is met.

    Args:
        attempt: runs one round (its index, the best state so far) and returns its best state, or None where no
            component is left to add.
        max_rounds: most rounds, >= 1.

    Raises:
        ValueError: the first round already finds no component to edit.
    """
    best = attempt(0, None)
    if best is None:
        raise ValueError(
            "no component passes the threshold and fits the budget: lower razor.tau or raise razor.max_edited_share"
        )
    for done in range(1, max_rounds + 1):
        if best.forgotten and best.retained:
            return Expansion(best, done, StopReason.TARGET_MET)
        if done == max_rounds:
            break
        latest = attempt(done, best.state)
        if latest is None or latest.gap >= best.gap:
            rounds = done if latest is None else done + 1
            return Expansion(best, rounds, StopReason.RETAIN_FLOOR if best.forgotten else StopReason.NO_GAIN)
        best = latest
    return Expansion(best, max_rounds, StopReason.RETAIN_FLOOR if best.forgotten else StopReason.MAX_ROUNDS)
