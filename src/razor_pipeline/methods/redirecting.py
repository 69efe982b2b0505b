"""The corrective step where an anchor is the yardstick: a prompt with the target is drawn as one with the anchor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from razor_pipeline.core.components import Component, parameter_names
from razor_pipeline.core.correction import fused_descent
from razor_pipeline.core.curvature import InputFactors
from razor_pipeline.core.edit import Pieces
from razor_pipeline.core.gradients import mean_gradients
from razor_pipeline.interfaces import DrawingFamily, ModelFamily, UnlearningTask
from razor_pipeline.params.razor import RazorParams

# How much more a prompt that is led may weigh than one that is kept, in units of their groups' weights: the few that
# are like it are among many.
LED_OVER_KEPT = 12


@dataclass(frozen=True)
class _Told:
    """C distinct prompts, what the denoiser is to be told of each, and how much each weighs in the mean of all."""

    prompts: Sequence[str]
    goal_CD: Tensor
    weight_C: Tensor

    def __len__(self) -> int:
        return len(self.prompts)


class Redirection:
    """What can be solved for is solved for; the other components are searched.

    Prompts that name a target are to be told as their anchors are in the base, and all others as they are, and both are
    one sum of squares. All that is led counts ``lambda_f rho``. All that is kept counts ``lambda_m``, and so does the
    empty prompt, which guidance draws away from whatever is asked for (decision 0030). Where few prompts are led, what
    is kept counts more: in units of these weights one that is led is at most ``LED_OVER_KEPT`` times one that is kept
    (decision 0032).

    Args:
        model: at the weights that the edit starts from.
        task: targets, each with the anchors of its rows, and data.
        params: of the method.
        original: see :func:`razor_pipeline.methods.repair.repair_of`.
    """

    def __init__(
        self, model: ModelFamily, task: UnlearningTask, params: RazorParams, original: ModelFamily
    ) -> None:
        self.model, self.params = cast(DrawingFamily, model), params.repair
        rows = [forget.edit for forget in task.forget]
        self.led = {
            told: goal for one in rows for told, goal in zip(one["prompt"], one["anchor"], strict=True)
        }
        self.kept = ["", *dict.fromkeys(task.retain["caption"])]
        # Without a forgetting pressure nothing is led anywhere.
        self.pressure, self.hold = params.objective.lambda_f * params.objective.rho, params.objective.lambda_m
        with torch.no_grad():
            kept_CD = cast(DrawingFamily, original).conditioning(self.kept)
        led_CD = self.model.frozen_conditioning(list(self.led.values()))
        self.batches = self._batches(torch.cat([led_CD, kept_CD]), params.scoring.batch_size)

    def _batches(self, goal_CD: Tensor, size: int) -> list[_Told]:
        prompts = [*self.led, *self.kept]
        led, kept = len(self.led), len(self.kept) - 1
        spread = max(1.0, kept / (LED_OVER_KEPT * led))
        parts = (self.pressure, led), (self.hold, 1), (spread * self.hold, kept)
        weight_C = torch.cat([torch.full((n,), weight * len(prompts) / n) for weight, n in parts]).to(goal_CD)
        return [
            _Told(
                prompts[start : start + size], goal_CD[start : start + size], weight_C[start : start + size]
            )
            for start in range(0, len(prompts), size)
        ]

    def change(
        self,
        components: Sequence[Component],
        parameters: Mapping[str, Tensor],
        factors: InputFactors | None,
        step: float,  # noqa: ARG002 - L-BFGS finds its own
        reference: Sequence[Tensor],  # noqa: ARG002 - the anchors take never-seen samples' place
    ) -> Pieces:
        """Distance and drift in one search over all prompts; see :class:`razor_pipeline.methods.repair.Repair`."""
        change = self.model.solved(
            components, list(self.led.items()), self.kept[1:], self.pressure, self.hold
        )
        searched = [c for c in components if not any(part.key in change for part in c.slices)]
        leaves = {name: parameters[name] for name in parameter_names(searched)}
        return change | fused_descent(
            searched,
            parameters,
            lambda: mean_gradients(self._loss, self.batches, leaves, "redirection"),
            self.params.evaluations,
            factors,
            self.params.enough,
        )

    def _loss(self, told: _Told) -> Tensor:
        error_C = (self.model.conditioning(told.prompts) - told.goal_CD).square().mean(dim=1)
        return (told.weight_C * error_C).mean()
