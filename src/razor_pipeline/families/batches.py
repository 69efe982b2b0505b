"""What the families' batches have in common: their rows, and that they are made when they are asked for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from copy import copy
from dataclasses import dataclass, fields, replace
from typing import Any, Generic, Self, TypeVar, overload

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from razor_pipeline.pictures import READERS

R = TypeVar("R")
B = TypeVar("B", bound="RowBatch")


@dataclass(frozen=True, eq=False)
class RowBatch:
    """A record whose tensors and tuples have an entry per sample; its other fields hold for all samples alike.

    It equals itself alone, so that what is known of a batch can be kept under it.
    """

    def take(self, index: Tensor) -> Self:
        """The samples at these places, decoded and encoded as they are."""
        return replace(self, **{field.name: _cut(getattr(self, field.name), index) for field in fields(self)})

    def to(self, device: torch.device) -> Self:
        """The same samples with their tensors there."""
        moved = {field.name: _moved(getattr(self, field.name), device) for field in fields(self)}
        return replace(self, **moved)

    @property
    def nbytes(self) -> int:
        """Bytes that its tensors hold."""
        return sum(_size(getattr(self, field.name)) for field in fields(self))


class Streamed(Sequence[B], Generic[R, B]):
    """Batches that are made when they are asked for, so that a pass costs the memory of a few whatever the rows.

    While a pass uses one batch, the images of the next ``READERS`` are read in threads. Only ``read`` runs there: a
    tokenizer may not be used by two threads at once.

    Args:
        rows: manifest rows.
        order: [N] their places in the order of the pass; a copy of the rows in that order would cost more than batches.
        size: rows of a batch; the last one has what is left.
        read: the images of some rows as the model takes them; it depends on nothing but the rows.
        made: the batch of some rows and of what ``read`` made of them.
        device: where the batches are to be.
    """

    def __init__(
        self,
        rows: pd.DataFrame,
        order: NDArray[np.int64],
        size: int,
        read: Callable[[pd.DataFrame], R],
        made: Callable[[pd.DataFrame, R], B],
        device: torch.device,
    ) -> None:
        self.rows, self.order, self.size, self.device = rows, order, size, device
        self.read, self.made = read, made
        self.places = range(-(-len(order) // size))  # which of the batches of all rows these are

    def __len__(self) -> int:
        return len(self.places)

    def _part(self, place: int) -> pd.DataFrame:
        return self.rows.iloc[self.order[place * self.size : (place + 1) * self.size]]

    @overload
    def __getitem__(self, index: int) -> B: ...
    @overload
    def __getitem__(self, index: slice) -> Streamed[R, B]: ...
    def __getitem__(self, index: int | slice) -> B | Streamed[R, B]:
        if isinstance(index, slice):
            cut = copy(self)
            cut.places = self.places[index]
            return cut
        part = self._part(self.places[index])
        return self._made(part, self.read(part))

    def __iter__(self) -> Iterator[B]:
        coming: deque[tuple[pd.DataFrame, Future[R]]] = deque()
        with ThreadPoolExecutor(READERS, "images") as readers:
            for place in self.places:
                part = self._part(place)
                coming.append((part, readers.submit(self.read, part)))
                if len(coming) > READERS:
                    yield self._next(*coming.popleft())
            while coming:
                yield self._next(*coming.popleft())

    def _next(self, part: pd.DataFrame, reading: Future[R]) -> B:
        return self._made(part, reading.result())

    def _made(self, part: pd.DataFrame, found: R) -> B:
        return self.made(part, found).to(self.device)


def _cut(value: Any, index: Tensor) -> Any:
    if isinstance(value, Tensor):
        return value[index]
    if isinstance(value, tuple):
        return tuple(value[i] for i in index.tolist())
    if isinstance(value, dict):
        return {key: _cut(part, index) for key, part in value.items()}
    return value


def _moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.to(device)
    return {key: _moved(part, device) for key, part in value.items()} if isinstance(value, dict) else value


def _size(value: Any) -> int:
    if isinstance(value, Tensor):
        return value.nbytes
    return sum(map(_size, value.values())) if isinstance(value, dict) else 0
