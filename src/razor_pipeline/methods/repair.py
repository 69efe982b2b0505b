"""Corrective steps: what is kept falls back into place, and the target is led to where it is to end.

Where a never-seen sample is the yardstick, the target's tie to its name becomes that of strangers
(:mod:`razor_pipeline.methods.calibrating`); where an anchor is, the target is drawn as it
(:mod:`razor_pipeline.methods.redirecting`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, cast

import torch
from torch import Tensor

from razor_pipeline.core.components import Component
from razor_pipeline.core.curvature import InputFactors
from razor_pipeline.core.edit import Pieces
from razor_pipeline.interfaces import ModelFamily, ReferenceFamily, UnlearningTask
from razor_pipeline.methods.calibrating import Calibration
from razor_pipeline.methods.redirecting import Redirection
from razor_pipeline.methods.validation import Validation
from razor_pipeline.params.razor import RazorParams


class Repair(Protocol):
    """The corrective steps of either kind."""

    def change(
        self,
        components: Sequence[Component],
        parameters: Mapping[str, Tensor],
        factors: InputFactors | None,
        step: float,
        reference: Sequence[Tensor],
    ) -> Pieces:
        """One corrective change from the current weights (:mod:`razor_pipeline.core.correction`).

        Args:
            components: what moves.
            parameters: name -> weights.
            factors: of the retain set's input covariances; None for no whitening.
            step: relative length of the retentive part.
            reference: what validation saw of each target's never-seen samples at these weights, without a further pass.
        """


def repair_of(
    model: ModelFamily,
    task: UnlearningTask,
    params: RazorParams,
    generator: torch.Generator,
    original: ModelFamily,
    validation: Validation,
) -> Repair:
    """The corrective steps that the model's yardstick asks for.

    Args:
        model: at the weights that the edit starts from.
        task: targets and data.
        params: of the method.
        generator: of all draws.
        original: whose observations of what is kept are held as what must not drift: the model before the first of a
            line of requests, so that what one edit costs is not the next one's measure.
        validation: of the model.
    """
    if model.yardstick == "anchor":
        return Redirection(model, task, params, original)
    held, first = cast(ReferenceFamily, model), cast(ReferenceFamily, original)
    return Calibration(held, task, params, generator, first, validation)
