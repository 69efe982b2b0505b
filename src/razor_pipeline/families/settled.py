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


@dataclass(frozen=True)
class _Visit:
    """What the leading ``depth`` parts made of a batch, and how all of them stood then."""

    parts: list[Writes]
    depth: int
    hidden_BTE: Tensor


class Settled:
    """Runs a chain of parts over a batch, from behind the leading ones not written to since the batch came before.

    So a step search and corrective steps over the late layers of a tower pay for these alone. A part that somebody
    watches or changes by a hook always runs. What is kept of a batch is as large as its embeddings, and goes with it.
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
        constant, visit = _constant(parts), self._visits.get(batch)
        alike = len(parts) if visit is None else _alike(visit.parts, now)
        if visit is None or visit.depth > alike:
            depth = min(alike, constant)
            visit = self._visits[batch] = _Visit(now, depth, _through(parts[:depth], given))
        if visit.depth > constant:
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
    """How many leading parts no gradient is asked of and no hook sees."""
    return sum(1 for _ in takewhile(lambda part: not (_trained(part) or _hooked(part)), parts))


def _trained(part: nn.Module) -> bool:
    return torch.is_grad_enabled() and any(parameter.requires_grad for parameter in part.parameters())


def _hooked(part: nn.Module) -> bool:
    return any(module._forward_hooks or module._forward_pre_hooks for module in part.modules())
