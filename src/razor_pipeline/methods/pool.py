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


class Pool:
    """Rows, decoded and encoded once for all epochs of all trainings; they are held in memory.

    Each batch is of one domain, as those are that the base was trained on: a face is too easy a negative to teach a
    drawing. A batch of less than ``fewest`` rows is left out.
    """

    def __init__(
        self, model: ModelFamily, rows: pd.DataFrame, params: TrainingParams, fewest: int = CONTRAST
    ) -> None:
        [self.samples] = model.batches(rows, len(rows))
        self.batch_size, self.fewest = params.batch_size, fewest
        self.domain_N = torch.from_numpy(pd.factorize(rows["domain"])[0])

    def steps(self, chosen: Tensor | None = None) -> int:
        """Batches of an epoch over all rows, or over those at the places given."""
        return len(self._parts(self._places(chosen)))

    def shuffled(self, generator: torch.Generator, chosen: Tensor | None = None) -> Iterator[Any]:
        """Batches in random order, of all rows or of those at the places given."""
        places = self._places(chosen)
        parts = self._parts(places[torch.randperm(len(places), generator=generator)])
        return (self.samples.take(parts[i]) for i in torch.randperm(len(parts), generator=generator).tolist())

    def _places(self, chosen: Tensor | None) -> Tensor:
        return torch.arange(len(self.samples)) if chosen is None else chosen

    def _parts(self, places: Tensor) -> list[Tensor]:
        of_domains = [places[self.domain_N[places] == domain] for domain in self.domain_N.unique()]
        parts = [part for own in of_domains for part in own.split(self.batch_size)]
        return [part for part in parts if len(part) >= self.fewest]
