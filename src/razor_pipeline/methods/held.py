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


def spread_evenly(rows: pd.DataFrame, most: int) -> pd.DataFrame:
    """At most ``most`` of the rows, evenly spread over them."""
    return rows if len(rows) <= most else rows.iloc[np.linspace(0, len(rows) - 1, most).round().astype(int)]


def one_batch(model: ModelFamily, rows: pd.DataFrame) -> Any:
    """One batch of all the rows."""
    return model.batches(rows, len(rows))[0]
