"""Peer: ESD-x, erased Stable Diffusion (Gandikota et al., ICCV 2023, arXiv 2303.07345), cross-attention alone.

Under the target's prompts the denoiser learns to predict what the base model predicts without a prompt, led away from
what it predicts with it: :func:`razor_pipeline.core.redirection.negative_guidance`.

Deviations: the latents are noised images of the forget set (the source lets the model being edited draw them, at up to
50 passes a step); the goals are computed once for a fixed set of latents; learning rate and epoch are chosen on
validation by the rule of all methods. In Stable Diffusion 3, which has no cross-attention, the prompt's own projections
into the joint attention are trained, and the prediction is a velocity, of which the formula holds as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from razor_pipeline.core.redirection import negative_guidance
from razor_pipeline.interfaces import EditResult, ModelFamily, NoisyLatents, UnlearningTask
from razor_pipeline.methods.candidates import Candidates
from razor_pipeline.methods.fitting import Loss, fit
from razor_pipeline.methods.lessons import drawing, lessons_of, missed
from razor_pipeline.methods.task import forget_rows, shuffled
from razor_pipeline.params.peers import EsdParams


def esd(
    model: ModelFamily, task: UnlearningTask, params: EsdParams, generator: torch.Generator
) -> EditResult:
    """Teach the cross-attention what lies on the other side of the target.

    Raises:
        ValueError: the model does not draw, or the trainings of all learning rates diverged in their first epoch.
    """
    family = drawing(model, "esd")
    found = Candidates(model, task, params, "esd")
    empty_1D = family.conditioning([""])

    def away(noisy: NoisyLatents, told_BD: Tensor) -> Tensor:
        plain = family.predicted(noisy, empty_1D.expand(len(told_BD), -1))
        return negative_guidance(plain, family.predicted(noisy, told_BD), params.guidance)

    rows = shuffled(forget_rows(task), generator).head(params.lessons)
    lessons = lessons_of(family, rows, list(rows["prompt"]), away, generator)

    def loss(batch: Any) -> Tensor:
        return missed(family, batch)

    def epoch(_: int) -> Iterator[tuple[Loss, Any]]:
        return ((loss, batch) for batch in lessons.shuffled(params.batch_size, generator))

    trained = {name: found.parameters[name] for name in family.cross_attention()}
    return fit(found, params, epoch, -(-len(lessons) // params.batch_size), trained=trained)
