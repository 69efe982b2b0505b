"""The corrective step's losses and data: what is kept, and the likeness of never-seen samples on the forget side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from razor_pipeline.core import losses
from razor_pipeline.core.components import Component, parameter_names
from razor_pipeline.core.correction import closing, relative_descent, whitened
from razor_pipeline.core.edit import Pieces
from razor_pipeline.core.gradients import mean_gradients
from razor_pipeline.interfaces import ModelFamily, UnlearningTask
from razor_pipeline.methods.nearest import nearest_rows
from razor_pipeline.params import RazorParams


class Repair:
    """Corrective steps: retain and mismatch loss fall, and the target's tie to its name becomes that of strangers.

    Args:
        model: at its base weights, whose observations of the retain rows are kept as what must not drift.
        task: targets and data.
        params: of the method.
        generator: draws the retain rows.
    """

    def __init__(
        self, model: ModelFamily, task: UnlearningTask, params: RazorParams, generator: torch.Generator
    ) -> None:
        self.model, self.objective, self.params = model, params.objective, params.repair
        near = nearest_rows(model, task, params.scoring.nearest)
        chosen = _balanced(task.retain, params.repair.samples, generator)
        size = params.scoring.batch_size
        # Batches of one domain each: a face is too easy a negative for a drawing to teach anything.
        self.retain = [
            batch
            for rows in (near, *(own for _, own in chosen.groupby("domain")))
            for batch in model.batches(rows, size, generator)
        ]
        with torch.no_grad():
            self.frozen = [model.observe(batch) for batch in self.retain]
        self.forget = [
            (
                next(iter(model.batches(forget.edit.assign(caption=forget.prompt), len(forget.edit)))),
                next(iter(model.batches(forget.reference, len(forget.reference)))),
            )
            for forget in task.forget
        ]

    def change(
        self,
        components: Sequence[Component],
        parameters: Mapping[str, Tensor],
        covariances: Mapping[str, Tensor] | None,
        step: float,
    ) -> Pieces:
        """One corrective change from the current weights (:mod:`razor_pipeline.core.correction`)."""
        leaves = {name: parameters[name] for name in parameter_names(components)}
        order = {id(batch): frozen for batch, frozen in zip(self.retain, self.frozen, strict=True)}

        def kept(batch: Any) -> Tensor:
            retain, mismatch = self.model.keeping_losses(batch, order[id(batch)])
            return self.objective.lambda_r * retain + self.objective.lambda_m * mismatch

        keep = mean_gradients(kept, self.retain, leaves, "retain").tensors
        direction = whitened(components, keep, covariances, self.params.damping)
        change = relative_descent(components, parameters, direction, step)
        if not self.params.calibrate:
            return change
        gap = mean_gradients(self._gap, self.forget, leaves, "forget")
        towards = whitened(components, gap.tensors, covariances, self.params.damping)
        return closing(components, change, gap.tensors, towards, self.params.calibrate * gap.loss)

    def _gap(self, pair: tuple[Any, Any]) -> Tensor:
        target, reference = pair
        with torch.no_grad():
            unknown = self.model.knowledge(reference)
        return losses.calibration(self.model.knowledge(target), unknown)


def _balanced(rows: pd.DataFrame, count: int, generator: torch.Generator) -> pd.DataFrame:
    """``count`` random rows at most, as many of each domain as there are."""
    shuffled = rows.iloc[torch.randperm(len(rows), generator=generator).tolist()]
    return shuffled.groupby("domain").head(count // rows["domain"].nunique())
