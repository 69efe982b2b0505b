"""Corrective steps: what is kept falls back into place, and the target is led to where it is to end.

Where a never-seen sample is the yardstick, the target's tie to its name becomes that of strangers
(:mod:`razor_pipeline.methods.calibrating`); where an anchor is, the target is drawn as it
(:mod:`razor_pipeline.methods.redirecting`). Here is what both hold.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from razor_pipeline.core.components import Component
from razor_pipeline.core.curvature import InputFactors
from razor_pipeline.core.edit import Pieces
from razor_pipeline.core.gradients import Gradients, mean_gradients
from razor_pipeline.interfaces import ModelFamily
from razor_pipeline.params.razor import RazorParams

HELD = 8  # rows of each target forgotten earlier that a corrective step looks at


@dataclass(frozen=True)
class Held:
    """A batch of what must not drift, and how a frozen model observes it."""

    batch: Any
    seen: Tensor

    def __len__(self) -> int:
        return len(self.batch)


class Repair(ABC):
    """What the corrective steps of either kind hold.

    Args:
        model: at the weights that the edit starts from.
        original: whose observations of the retain rows are kept as what must not drift: the model before the first of a
            line of requests, so that what one edit costs is not the next one's measure.
        params: of the method.
        turns: rows to keep, one list of tables for each step; the steps take turns.
        edits: forget rows of each target, of which ``most`` are looked at; None for all.
        most: see there.
        generator: of the order of rows.
    """

    def __init__(
        self,
        model: ModelFamily,
        original: ModelFamily,
        params: RazorParams,
        turns: Sequence[Sequence[pd.DataFrame]],
        edits: Sequence[pd.DataFrame],
        most: int | None,
        generator: torch.Generator,
    ) -> None:
        self.model, self.objective, self.params = model, params.objective, params.repair
        self.auc_goal = params.auc_goal
        size = params.scoring.batch_size
        self.turns = [
            [held for rows in parts for held in observed(original, model.batches(rows, size, generator))]
            for parts in turns
        ]
        self.forget: list[Any] = [
            one_batch(model, rows.assign(caption=rows["prompt"]), most) for rows in edits
        ]

    @abstractmethod
    def change(
        self,
        components: Sequence[Component],
        parameters: Mapping[str, Tensor],
        factors: InputFactors | None,
        step: float,
        unknown: Sequence[Tensor],
    ) -> Pieces:
        """One corrective change from the current weights (:mod:`razor_pipeline.core.correction`).

        Args:
            components: what moves.
            parameters: name -> weights.
            factors: of the retain set's input covariances; None for no whitening.
            step: relative length of the retentive part.
            unknown: what validation saw of each target's never-seen samples at these weights; no pass of them is taken.
        """

    def keeping(self, leaves: Mapping[str, Tensor]) -> Gradients:
        """Gradients of retain and mismatch loss over the rows whose turn it is."""
        turn = self.turns.pop(0)
        self.turns.append(turn)
        return mean_gradients(self._kept, turn, leaves, "retain")

    def closing_in(self, leaves: Mapping[str, Tensor], unknown: Sequence[Tensor]) -> Gradients:
        """Gradients of the mean gap of all targets, each held against its never-seen samples."""
        return mean_gradients(self._gap, list(zip(self.forget, unknown, strict=True)), leaves, "forget")

    def _kept(self, held: Held) -> Tensor:
        retain, mismatch = self.model.keeping_losses(held.batch, held.seen)
        return self.objective.lambda_r * retain + self.objective.lambda_m * mismatch

    def _gap(self, pair: tuple[Any, Tensor]) -> Tensor:
        target, unknown_M = pair
        return self.model.gap(target, unknown_M, self.auc_goal)


@torch.no_grad()
def observed(model: ModelFamily, batches: Iterable[Any]) -> list[Held]:
    """The batches, which stay in memory, decoded, and how the model observes them now."""
    return [Held(batch, model.observe(batch)) for batch in batches]


def one_batch(model: ModelFamily, rows: pd.DataFrame, most: int | None) -> Any:
    """``most`` of the rows at most, evenly spread, in one batch; it stays in memory, decoded."""
    if most is not None and len(rows) > most:
        rows = rows.iloc[np.linspace(0, len(rows) - 1, most).round().astype(int)]
    return next(iter(model.batches(rows, len(rows))))
