"""Batches that are only looked at: how large they are, and that what fits into memory is decoded once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol, TypeVar, overload

CACHE_BYTES = 1 << 30
# Rows of a batch that no gradient is taken of. On a processor a small CLIP's tensors of 256 images are above the 32 MiB
# from which on the C library gives memory back at once, and fetching it again is a fifth to a half of the pass.
FORWARD_BATCH = 64


class _Weighs(Protocol):
    @property
    def nbytes(self) -> int:
        """Bytes that it holds."""


B = TypeVar("B", bound=_Weighs)


class CachedBatches(Sequence[B]):
    """The same batches; the first ones, as many as fit into ``limit`` bytes, stay in memory once they are made.

    Args:
        batches: batches that are made when they are asked for.
        limit: bytes that may stay.
    """

    def __init__(self, batches: Sequence[B], limit: int = CACHE_BYTES) -> None:
        self.batches, self.room = batches, limit
        self.held: list[B] = []

    def __len__(self) -> int:
        return len(self.batches)

    @overload
    def __getitem__(self, place: int) -> B: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[B]: ...
    def __getitem__(self, place: int | slice) -> B | Sequence[B]:
        return self.batches[place]

    def __iter__(self) -> Iterator[B]:
        yield from self.held
        first = len(self.held)
        for place, batch in enumerate(self.batches[first:], start=first):
            if place == len(self.held):  # what is held has no gaps
                if batch.nbytes <= self.room:
                    self.held.append(batch)
                self.room -= batch.nbytes
            yield batch
