"""The corrective step's losses and data: what is kept, and the likeness of never-seen samples on the forget side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from razor_pipeline.core.components import Component, parameter_names
from razor_pipeline.core.correction import closing, fused_descent, relative_descent, whitened
from razor_pipeline.core.edit import Pieces
from razor_pipeline.core.gradients import Gradients, mean_gradients
from razor_pipeline.interfaces import DrawingFamily, ModelFamily, UnlearningTask
from razor_pipeline.methods.nearest import nearest_rows
from razor_pipeline.methods.resistance import SimulatedAttacker
from razor_pipeline.methods.task import shuffled
from razor_pipeline.params import RazorParams

HELD_EDIT, HELD_REFERENCE = 8, 24  # rows of each target forgotten earlier


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
        self.auc_goal = params.auc_goal
        self.retain: list[Any] = [
            batch
            for rows in _retain_rows(model, task, params, generator)
            for batch in model.batches(rows, params.scoring.batch_size, generator)
        ]
        with torch.no_grad():
            self.frozen = {id(batch): model.observe(batch) for batch in self.retain}
        most = params.repair.samples if model.yardstick == "strangers" else None
        edits = [
            *(forget.edit for forget in task.forget),
            *(forget.edit.head(HELD_EDIT) for forget in task.earlier),
        ]
        self.forget: list[Any] = [
            _one_batch(model, rows.assign(caption=rows["prompt"]), most) for rows in edits
        ]
        self.every = [1] * len(task.forget) + [_every(len(forget.reference)) for forget in task.earlier]

        resist = params.repair.resist if model.yardstick == "strangers" else None
        self.attacker = SimulatedAttacker(model, task, resist) if resist else None

    def change(
        self,
        components: Sequence[Component],
        parameters: Mapping[str, Tensor],
        covariances: Mapping[str, Tensor] | None,
        step: float,
        unknown: Sequence[Tensor],
    ) -> Pieces:
        """One corrective change from the current weights (:mod:`razor_pipeline.core.correction`).

        Args:
            components: what moves.
            parameters: name -> weights.
            covariances: input covariances of the retain set; None for no whitening.
            step: relative length of the retentive part.
            unknown: what validation saw of each target's never-seen samples at these weights; no pass of them is taken.
        """
        leaves = {name: parameters[name] for name in parameter_names(components)}
        if self.model.yardstick == "anchor":
            return self._redirected(components, parameters, covariances, leaves, unknown)
        keep = mean_gradients(self._kept, self.retain, leaves, "retain").tensors
        direction = whitened(components, keep, covariances, self.params.damping)
        change = relative_descent(components, parameters, direction, step)
        if not self.params.calibrate:
            return change
        if self.attacker and self.params.resist:
            harder = {name: -tensor for name, tensor in self.attacker.gradient(leaves).items()}
            direction = whitened(components, harder, covariances, self.params.damping)
            length = self.params.resist.strength * step
            resisting = relative_descent(components, parameters, direction, length)
            change = {key: piece + resisting[key] for key, piece in change.items()}
        gap = mean_gradients(self._gap, self._held(unknown), leaves, "forget")
        towards = whitened(components, gap.tensors, covariances, self.params.damping)
        return closing(components, change, gap.tensors, towards, self.params.calibrate * gap.loss)

    def _held(self, unknown: Sequence[Tensor]) -> list[tuple[Any, Tensor]]:
        """Each target's batch, and what of its never-seen samples it is held against."""
        return [
            (batch, unknown_M[::every])
            for batch, unknown_M, every in zip(self.forget, unknown, self.every, strict=True)
        ]

    def _redirected(
        self,
        components: Sequence[Component],
        parameters: Mapping[str, Tensor],
        covariances: Mapping[str, Tensor] | None,
        leaves: Mapping[str, Tensor],
        unknown: Sequence[Tensor],
    ) -> Pieces:
        """What can be solved for is solved for; the other components are searched."""
        pressure = self.objective.lambda_f * self.objective.rho
        led = {
            told: anchor
            for batch in self.forget
            for told, anchor in zip(batch.caption, batch.anchor, strict=True)
        }
        kept = [caption for batch in self.retain for caption in batch.caption]
        drawn = cast(DrawingFamily, self.model)
        change = drawn.solved(components, list(led.items()), kept, pressure, self.objective.lambda_m)
        searched = [c for c in components if not any(part.key in change for part in c.slices)]
        fused, few = (lambda: self._fused(leaves, unknown)), self.params.evaluations
        return change | fused_descent(searched, parameters, fused, few, covariances, self.params.damping)

    def _fused(self, leaves: Mapping[str, Tensor], unknown: Sequence[Tensor]) -> Gradients:
        """Loss and gradients of gap and drift together; without a forgetting pressure nothing is led anywhere."""
        kept = mean_gradients(self._kept, self.retain, leaves, "retain")
        gap = mean_gradients(self._gap, self._held(unknown), leaves, "forget")
        pressure = self.objective.lambda_f * self.objective.rho
        both = {name: kept.tensors[name] + pressure * gap.tensors[name] for name in leaves}
        return Gradients(both, kept.loss + pressure * gap.loss, kept.samples + gap.samples)

    def _kept(self, batch: Any) -> Tensor:
        retain, mismatch = self.model.keeping_losses(batch, self.frozen[id(batch)])
        return self.objective.lambda_r * retain + self.objective.lambda_m * mismatch

    def _gap(self, pair: tuple[Any, Tensor]) -> Tensor:
        target, unknown_M = pair
        return self.model.gap(target, unknown_M, self.auc_goal)


def _every(count: int) -> int:
    """Which of the never-seen samples a target that is forgotten already is held against: every so many of them."""
    return max(1, count // HELD_REFERENCE)


def _one_batch(model: ModelFamily, rows: pd.DataFrame, most: int | None) -> Any:
    """``most`` of the rows at most, evenly spread, in one batch; it stays in memory, decoded."""
    if most is not None and len(rows) > most:
        rows = rows.iloc[np.linspace(0, len(rows) - 1, most).round().astype(int)]
    return next(iter(model.batches(rows, len(rows))))


def _retain_rows(
    model: ModelFamily, task: UnlearningTask, params: RazorParams, generator: torch.Generator
) -> list[pd.DataFrame]:
    """What the corrective steps hold, in parts of one domain each.

    A face is too easy a negative for a drawing to teach anything. Where prompts are held, each counts once.
    """
    if model.yardstick == "anchor":
        return [task.retain.drop_duplicates("caption")]
    count = params.repair.samples
    chosen = _balanced(task.retain, count, generator)
    near = nearest_rows(model, task, params.scoring.nearest)
    if len(near) > count:  # they stay in memory, decoded
        near = shuffled(near, generator).head(count)
    return [near, *(own for _, own in chosen.groupby("domain"))]


def _balanced(rows: pd.DataFrame, count: int, generator: torch.Generator) -> pd.DataFrame:
    """``count`` random rows at most, as many of each domain as there are."""
    return shuffled(rows, generator).groupby("domain").head(count // rows["domain"].nunique())
