"""The corrective step where an anchor is the yardstick: a prompt with the target is drawn as one with the anchor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor

from razor_pipeline.core.components import Component, parameter_names
from razor_pipeline.core.correction import fused_descent
from razor_pipeline.core.curvature import InputFactors
from razor_pipeline.core.edit import Pieces
from razor_pipeline.core.gradients import Gradients
from razor_pipeline.interfaces import DrawingFamily, ModelFamily, UnlearningTask
from razor_pipeline.methods.repair import Repair
from razor_pipeline.params.razor import RazorParams


class Redirection(Repair):
    """What can be solved for is solved for; the other components are searched.

    Args:
        model: at the weights that the edit starts from.
        task: targets and data; of the retain rows each prompt counts once.
        params: of the method.
        generator: of the order of prompts.
        original: see :class:`Repair`.
    """

    def __init__(
        self,
        model: ModelFamily,
        task: UnlearningTask,
        params: RazorParams,
        generator: torch.Generator,
        original: ModelFamily,
    ) -> None:
        prompts = task.retain.drop_duplicates("caption")
        edits = [one.edit for one in task.forget]
        super().__init__(model, original, params, [[prompts]], edits, None, generator)

    def change(
        self,
        components: Sequence[Component],
        parameters: Mapping[str, Tensor],
        factors: InputFactors | None,
        step: float,  # noqa: ARG002 - L-BFGS finds its own
        unknown: Sequence[Tensor],
    ) -> Pieces:
        """Both losses in one search over all prompts."""
        leaves = {name: parameters[name] for name in parameter_names(components)}
        led = {
            told: anchor
            for batch in self.forget
            for told, anchor in zip(batch.caption, batch.anchor, strict=True)
        }
        [held] = self.turns
        kept = [caption for one in held for caption in one.batch.caption]
        drawn = cast(DrawingFamily, self.model)
        change = drawn.solved(components, list(led.items()), kept, self._pressure, self.objective.lambda_m)
        searched = [c for c in components if not any(part.key in change for part in c.slices)]
        return change | fused_descent(
            searched,
            parameters,
            lambda: self._fused(leaves, unknown),
            self.params.evaluations,
            factors,
            self.params.enough,
        )

    @property
    def _pressure(self) -> float:
        return self.objective.lambda_f * self.objective.rho

    def _fused(self, leaves: Mapping[str, Tensor], unknown: Sequence[Tensor]) -> Gradients:
        """Loss and gradients of gap and drift together; without a forgetting pressure nothing is led anywhere."""
        kept, gap = self.keeping(leaves), self.closing_in(leaves, unknown)
        both = {name: kept.tensors[name] + self._pressure * gap.tensors[name] for name in leaves}
        return Gradients(both, kept.loss + self._pressure * gap.loss)
