"""Batches that stay in memory, decoded, for steps that look at the same rows again and again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from razor_pipeline.interfaces import ModelFamily

HELD = 8  # rows of each target forgotten earlier that a corrective step looks at


@dataclass(frozen=True)
class Held:
    """A batch of what must not drift, and how a frozen model observes it."""

    batch: Any
    seen: Tensor

    def __len__(self) -> int:
        return len(self.batch)


@torch.no_grad()
def observed(model: ModelFamily, batches: Iterable[Any]) -> list[Held]:
    """The batches, and how the model observes them now."""
    return [Held(batch, model.observe(batch)) for batch in batches]


def one_batch(model: ModelFamily, rows: pd.DataFrame, most: int | None) -> Any:
    """``most`` of the rows at most, evenly spread, in one batch."""
    if most is not None and len(rows) > most:
        rows = rows.iloc[np.linspace(0, len(rows) - 1, most).round().astype(int)]
    return next(iter(model.batches(rows, len(rows))))
