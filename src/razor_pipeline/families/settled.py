"""Layers that an edit does not reach: what they make of a batch that comes again is kept.

Shapes: B batch, T tokens, E width.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

Writes = list[tuple[int, int]]


def writes(module: nn.Module) -> Writes:
    """Identity of every weight, and how often it has been written to."""
    return [(id(parameter), parameter._version) for parameter in module.parameters()]


@dataclass
class _Visit:
    """How the parts stood when a batch came first, and what the leading ``depth`` of them make of it."""

    parts: list[Writes]
    depth: int = 0
    hidden_BTE: Tensor | None = None


class Settled:
    """Runs a chain of parts over a batch, from behind the leading ones not written to since the batch first came.

    How far an edit leaves a chain alone shows when a batch comes for the second time; from the third time on those
    parts are left out, and hooks on them see nothing. So a step search and corrective steps over the late layers of a
    tower pay for these alone. What is kept is as large as the batch's embeddings, and goes with the batch.
    """

    def __init__(self) -> None:
        self._visits: WeakKeyDictionary[Hashable, _Visit] = WeakKeyDictionary()

    def run(self, parts: Sequence[nn.Module], batch: Hashable, given: Tensor) -> Tensor:
        """[B, T, E] what the last part returns.

        Args:
            parts: each takes what the one before it returns.
            batch: whose samples these are; the same object has the same samples.
            given: what the first part takes.
        """
        now = [writes(part) for part in parts]
        visit = self._visits.get(batch)
        if visit is None or now[: visit.depth] != visit.parts[: visit.depth]:
            self._visits[batch] = _Visit(now)
            return _through(parts, given)
        constant = _constant(parts)
        if visit.hidden_BTE is None:
            visit.depth = min(_alike(visit.parts, now), constant)
            visit.hidden_BTE = _through(parts[: visit.depth], given) if visit.depth else None
        if visit.hidden_BTE is None or visit.depth > constant:
            return _through(parts, given)
        return _through(parts[visit.depth :], visit.hidden_BTE)


def _through(parts: Sequence[nn.Module], given: Tensor) -> Tensor:
    hidden: Any = given
    for part in parts:
        hidden = part(hidden)
    found: Tensor = hidden
    return found


def _alike(before: Sequence[Writes], now: Sequence[Writes]) -> int:
    """How many leading parts have not been written to."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(before, now, strict=True)))


def _constant(parts: Sequence[nn.Module]) -> int:
    """How many leading parts no gradient is asked of."""
    if not torch.is_grad_enabled():
        return len(parts)
    return sum(1 for _ in takewhile(lambda part: not any(p.requires_grad for p in part.parameters()), parts))
