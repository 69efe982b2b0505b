"""What a peer trains on: rows that are decoded once, in batches of another order each epoch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from razor_pipeline.interfaces import ModelFamily
from razor_pipeline.params.peers import TrainingParams

CONTRAST = 2  # rows that a contrastive loss needs


def batch_count(samples: int, batch_size: int, fewest: int = CONTRAST) -> int:
    """Batches of an epoch; one of fewer rows is left out."""
    return samples // batch_size + (samples % batch_size >= fewest)


class Pool:
    """Rows, decoded and encoded once for all epochs of all trainings; they are held in memory.

    A batch of less than ``fewest`` rows is left out.
    """

    def __init__(
        self, model: ModelFamily, rows: pd.DataFrame, params: TrainingParams, fewest: int = CONTRAST
    ) -> None:
        [self.samples] = model.batches(rows, len(rows))
        self.batch_size, self.fewest = params.batch_size, fewest

    @property
    def steps(self) -> int:
        """Batches of an epoch over all rows."""
        return batch_count(len(self.samples), self.batch_size, self.fewest)

    def shuffled(self, generator: torch.Generator, chosen: Tensor | None = None) -> Iterator[Any]:
        """Batches of mixed domains, of all rows or of those at the places given."""
        places = torch.arange(len(self.samples)) if chosen is None else chosen
        order = places[torch.randperm(len(places), generator=generator)]
        return (self.samples.take(part) for part in order.split(self.batch_size) if len(part) >= self.fewest)
