"""Peer: SalUn where a model draws (Fan et al., ICLR 2024, arXiv 2310.12508, section 4 and eq. 6).

The mask is that of the largest gradients of the denoising loss on the forget set. Within it the denoiser learns to
predict under the target's prompt what it predicts under the anchor's, and goes on predicting the noise of what is kept;
weights outside are frozen against momentum and weight decay too.

Deviations: the anchor's prediction is the base model's, at the same latents (the source takes that of the model being
trained); one fixed noise and time per image; learning rate and epoch are chosen on validation by the rule of all
methods. The text encoder is left alone, as in the source.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from razor_pipeline.core.gradients import mean_gradients
from razor_pipeline.core.saliency import saliency_mask
from razor_pipeline.interfaces import DrawingFamily, EditResult, ModelFamily, NoisyLatents, UnlearningTask
from razor_pipeline.methods.candidates import Candidates
from razor_pipeline.methods.fitting import Loss, fit
from razor_pipeline.methods.lessons import Lessons, drawing, lessons_of, missed
from razor_pipeline.methods.task import drawn_evenly, forget_rows, shuffled
from razor_pipeline.params.peers import SalunDiffusionParams


def salun_diffusion(
    model: ModelFamily, task: UnlearningTask, params: SalunDiffusionParams, generator: torch.Generator
) -> EditResult:
    """Lead the target's prompts to the anchor within the salient weights of the denoiser.

    Raises:
        ValueError: the model does not draw, or the trainings of all learning rates diverged in their first epoch.
    """
    family = drawing(model, "salun_diffusion")
    found = Candidates(model, task, params, "salun_diffusion")
    forget, kept = _lessons(family, task, params.lessons, generator)
    trained = {n: p for n, p in found.parameters.items() if n.startswith(f"{family.denoiser}.")}
    mask = salient(family, forget, trained, params)

    def loss(pair: tuple[Lessons, Lessons]) -> Tensor:
        return missed(family, pair[0]) + params.retain_weight * missed(family, pair[1])

    def epoch(_: int) -> Iterator[tuple[Loss, Any]]:
        both = (lessons.shuffled(params.batch_size, generator) for lessons in (forget, kept))
        return ((loss, pair) for pair in zip(*both, strict=False))

    steps = -(-min(len(forget), len(kept)) // params.batch_size)
    return fit(found, params, epoch, steps, mask, trained)


def salient(
    model: DrawingFamily, forget: Lessons, trained: dict[str, Tensor], params: SalunDiffusionParams
) -> dict[str, Tensor]:
    """Name -> which of the denoiser's weights the denoising loss of the forget set moves most."""
    true = Lessons(forget.noisy, forget.told_ND, forget.noisy.aim)
    batches = [true.take(part) for part in torch.arange(len(true)).split(params.batch_size)]
    gradients = mean_gradients(lambda batch: missed(model, batch), batches, trained, "forget")
    return saliency_mask(gradients.tensors, params.salient_share)


def _lessons(
    model: DrawingFamily, task: UnlearningTask, count: int, generator: torch.Generator
) -> tuple[Lessons, Lessons]:
    """Of the target, with what the base model predicts under the anchor as goal; and of what is kept."""
    rows = shuffled(forget_rows(task), generator).head(count)
    kept = drawn_evenly(task.retain, generator).head(count)
    forget = lessons_of(model, rows, list(rows["anchor"]), model.predicted, generator)
    told_ND = model.conditioning(list(rows["prompt"])).detach()

    def noise(noisy: NoisyLatents, _: Tensor) -> Tensor:
        return noisy.aim

    return (
        Lessons(forget.noisy, told_ND, forget.goal_NLhw),
        lessons_of(model, kept, list(kept["caption"]), noise, generator),
    )
