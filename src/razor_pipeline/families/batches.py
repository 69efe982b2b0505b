"""What the families' batches have in common."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Self

from torch import Tensor


@dataclass(frozen=True)
class RowBatch:
    """A record whose tensors and tuples have an entry per sample; its other fields hold for all samples alike."""

    def take(self, index: Tensor) -> Self:
        """The samples at these places, decoded and encoded as they are."""
        return replace(self, **{field.name: _cut(getattr(self, field.name), index) for field in fields(self)})


def _cut(value: Any, index: Tensor) -> Any:
    if isinstance(value, Tensor):
        return value[index]
    if isinstance(value, tuple):
        return tuple(value[i] for i in index.tolist())
    if isinstance(value, dict):
        return {key: _cut(part, index) for key, part in value.items()}
    return value
