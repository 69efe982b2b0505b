"""The corrective step where strangers are the yardstick: the target's tie to its name becomes like theirs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from razor_pipeline.core.components import Component, parameter_names
from razor_pipeline.core.correction import Gap, closing, relative_descent, whitened
from razor_pipeline.core.curvature import InputFactors
from razor_pipeline.core.edit import Pieces
from razor_pipeline.core.gradients import Gradients, mean_gradients
from razor_pipeline.interfaces import AnsweringFamily, NamingFamily, ReferenceFamily, UnlearningTask
from razor_pipeline.methods.held import HELD, Held, observed, one_batch, spread_evenly
from razor_pipeline.methods.nearest import nearest_rows
from razor_pipeline.methods.simulated_attacker import SimulatedAttacker
from razor_pipeline.methods.slips import Slips
from razor_pipeline.methods.suggestions import Suggestions
from razor_pipeline.methods.task import drawn_evenly
from razor_pipeline.methods.validation import Validation
from razor_pipeline.params.razor import RazorParams


@dataclass(frozen=True)
class _Target:
    """Batches of a target's images, and the tie of its never-seen samples to its name, [M]."""

    batches: Sequence[Any]
    reference_M: Tensor

    def __len__(self) -> int:
        """Targets count alike, however many images they have."""
        return 1


class Calibration:
    """Retain and mismatch loss fall, and the gap between the target and never-seen samples is solved for.

    Args:
        model: at the weights that the edit starts from.
        task: targets and data.
        params: of the method.
        generator: draws the retain rows.
        original: whose observations of what is kept are held; what was forgotten earlier is held as ``model`` has it.
        validation: of the model, which has been evaluated at the weights that a change is asked for.
    """

    def __init__(
        self,
        model: ReferenceFamily,
        task: UnlearningTask,
        params: RazorParams,
        generator: torch.Generator,
        original: ReferenceFamily,
        validation: Validation,
    ) -> None:
        self.model, self.objective, self.params = model, params.objective, params.repair
        self.auc_goal = params.auc_goal
        size, kept = params.scoring.batch_size, _retain_rows(model, task, params, generator, validation)
        self.turns = [
            [held for rows in parts for held in observed(original, model.batches(rows, size, generator))]
            for parts in kept
        ]
        self.forget: list[list[Any]] = [
            list(model.batches(rows.assign(caption=rows["prompt"]), size))
            for rows in (spread_evenly(forget.edit, params.repair.samples) for forget in task.forget)
        ]
        turns = len(kept)
        gone = {one.target for one in (*task.forget, *task.earlier)}
        self.others = [
            prompt for label, prompts in task.prompts.items() if label not in gone for prompt in prompts
        ]
        self.earlier = [observed(model, _of_earlier(model, task, turn, turns)) for turn in range(turns)]
        resist = params.repair.resist
        self.attacker = SimulatedAttacker(model, task, resist) if resist else None
        slips = params.repair.slips
        self.slips = (
            Slips(model, task, validation, slips, params.auc_goal, generator)
            if slips and isinstance(model, NamingFamily)
            else None
        )
        self.suggestions = (
            Suggestions(model, task, params.repair.suggestions, size)
            if params.repair.suggestions and isinstance(model, AnsweringFamily)
            else None
        )

    def change(
        self,
        components: Sequence[Component],
        parameters: Mapping[str, Tensor],
        factors: InputFactors | None,
        step: float,
        reference: Sequence[Tensor],
    ) -> Pieces:
        """Descend what is kept, ascend what an attacker would gain, and close the gaps behind both.

        See :class:`razor_pipeline.methods.repair.Repair`.
        """
        leaves = {name: parameters[name] for name in parameter_names(components)}

        def descent(gradient: Mapping[str, Tensor], length: float) -> Pieces:
            direction = whitened(components, gradient, factors)
            return relative_descent(components, parameters, direction, length)

        # Before the attacker writes to the weights: what validation has embedded at them still counts.
        found = self._gaps(leaves, reference) if self.params.calibrate else []
        change = descent(self.keeping(leaves).tensors, step)
        if not found:
            return change
        if self.attacker and self.params.resist:
            harder = {name: -tensor for name, tensor in self.attacker.gradient(leaves).items()}
            resisting = descent(harder, self.params.resist.strength * step)
            change = {key: piece + resisting[key] for key, piece in change.items()}
        gaps = [
            Gap(self.params.calibrate * one.loss, one.tensors, whitened(components, one.tensors, factors))
            for one in found
        ]
        return closing(components, change, gaps)

    def keeping(self, leaves: Mapping[str, Tensor]) -> Gradients:
        """Gradients of retain and mismatch loss over the rows whose turn it is."""
        turn = self.turns.pop(0)
        self.turns.append(turn)
        return mean_gradients(self._kept, turn, leaves, "retain")

    def _kept(self, held: Held) -> Tensor:
        retain, mismatch = self.model.keeping_losses(held.batch, held.seen)
        return self.objective.lambda_r * retain + self.objective.lambda_m * mismatch

    def _gaps(self, leaves: Mapping[str, Tensor], reference: Sequence[Tensor]) -> list[Gradients]:
        """Of the targets by their names, misspelt ones and suggestions, and of what was forgotten earlier."""
        return [
            self._closing_in(leaves, reference[: len(self.forget)]),
            *(self.slips.closing_in(leaves) if self.slips else ()),
            *(self.suggestions.closing_in(leaves) if self.suggestions else ()),
            *self._drift_of_earlier(leaves),
        ]

    def _closing_in(self, leaves: Mapping[str, Tensor], reference: Sequence[Tensor]) -> Gradients:
        """Gradients of the mean gap of all targets, each held against its never-seen samples."""
        pairs = [_Target(batches, ties) for batches, ties in zip(self.forget, reference, strict=True)]
        return mean_gradients(self._gap, pairs, leaves, "forget")

    def _gap(self, target: _Target) -> Tensor:
        return self.model.gap(target.batches, target.reference_M, self.auc_goal, self.others)

    def _drift_of_earlier(self, leaves: Mapping[str, Tensor]) -> list[Gradients]:
        """How far what was forgotten earlier is from where it was when the edit began; none where nothing was."""
        held, *others = self.earlier
        self.earlier = [*others, held]
        return [mean_gradients(self._drift, held, leaves, "mismatch")] if held else []

    def _drift(self, held: Held) -> Tensor:
        return self.model.mismatch_loss(held.batch, held.seen)


def _of_earlier(model: ReferenceFamily, task: UnlearningTask, turn: int, turns: int) -> list[Any]:
    """A batch of each target forgotten earlier, of the images that a step looks at.

    Each by itself, so that what is compared is its images with its own name and no one else's.
    """
    rows = [one.edit.iloc[turn % len(one.edit) :: turns].head(HELD) for one in task.earlier]
    return [one_batch(model, some.assign(caption=some["prompt"])) for some in rows]


def _retain_rows(
    model: ReferenceFamily,
    task: UnlearningTask,
    params: RazorParams,
    generator: torch.Generator,
    validation: Validation,
) -> list[list[pd.DataFrame]]:
    """What each turn's steps hold, in parts of one domain each: a face is too easy a negative to teach a drawing.

    What never-seen samples show beside a label is held, too: they are the only ones that the model was not trained on,
    and the first that it answers otherwise (decision 0022).
    """
    count = params.repair.samples
    chosen = _balanced(task.retain, count, generator)
    near = nearest_rows(task, validation.ties_to_targets(), params.scoring.nearest)
    near = _at_most(near, count, generator)
    own = _at_most(pd.concat([model.besides(forget.edit) for forget in task.forget]), count, generator)
    reference = pd.concat([forget.reference for forget in task.forget]).drop_duplicates("sample_id")
    reference = _at_most(model.besides(reference), count, generator)
    parts = [near, own, reference, *(some for _, some in chosen.groupby("domain"))]
    parts = [part for part in parts if len(part)]
    turns = min(params.repair.turns, max(len(part) for part in parts))  # none is empty
    return [[_of_turn(part, turn, turns) for part in parts] for turn in range(turns)]


def _of_turn(rows: pd.DataFrame, turn: int, turns: int) -> pd.DataFrame:
    """The turn's share of evenly drawn rows: one piece, which has its share of every class.

    Every so-manieth row would have few classes, always the same: evenly drawn rows come by class, round after round.
    """
    return rows.iloc[turn * len(rows) // turns : (turn + 1) * len(rows) // turns]


def _at_most(rows: pd.DataFrame, count: int, generator: torch.Generator) -> pd.DataFrame:
    """``count`` of the rows at most, drawn evenly: they stay in memory, decoded."""
    return drawn_evenly(rows, generator).head(count)


def _balanced(rows: pd.DataFrame, count: int, generator: torch.Generator) -> pd.DataFrame:
    """``count`` random rows at most, as many of each domain, at least one."""
    return drawn_evenly(rows, generator).groupby("domain").head(max(1, count // rows["domain"].nunique()))
