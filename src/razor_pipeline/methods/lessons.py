"""Lessons of a denoiser: noisy latents, the prompt it is told, and what it is to predict.

The goals come from the base model, once, before anything is trained: no frozen copy of it has to be kept beside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import pandas as pd
import torch
from torch import Tensor

from razor_pipeline.core.gradients import NonFiniteError
from razor_pipeline.interfaces import DrawingFamily, ModelFamily, NoisyLatents

BATCH = 64
Goal = Callable[[NoisyLatents, Tensor], Tensor]


@dataclass(frozen=True)
class Lessons:
    """N lessons.

    Attributes:
        noisy: N noisy latents.
        told_ND: what the denoiser is told with each.
        goal_NLhw: what it is to predict.
    """

    noisy: Any
    told_ND: Tensor
    goal_NLhw: Tensor

    def __len__(self) -> int:
        return len(self.told_ND)

    def take(self, index: Tensor) -> Lessons:
        """The lessons at these places."""
        return Lessons(self.noisy.take(index), self.told_ND[index], self.goal_NLhw[index])

    def shuffled(self, batch_size: int, generator: torch.Generator) -> Iterator[Lessons]:
        """All of them once, in batches."""
        order = torch.randperm(len(self), generator=generator)
        return (self.take(part) for part in order.split(batch_size))


def drawing(model: ModelFamily, method: str) -> DrawingFamily:
    """The model as one that draws.

    Raises:
        ValueError: it does not.
    """
    if model.yardstick != "anchor":
        raise ValueError(
            f"{method} edits the denoiser of a model that draws, and '{model.name}' has none; take it out of "
            "benchmark.methods"
        )
    return cast("DrawingFamily", model)


@torch.no_grad()
def lessons_of(
    model: DrawingFamily, rows: pd.DataFrame, prompts: Sequence[str], goal: Goal, generator: torch.Generator
) -> Lessons:
    """One lesson per row.

    Args:
        model: at its base weights.
        rows: whose images are noised.
        prompts: what the denoiser is told with each.
        goal: what it is to predict of noisy latents, given a prompt's conditioning.
        generator: of times and noises.
    """
    noisy, told_ND = model.noisy_rows(rows, generator), model.conditioning(prompts)
    parts = torch.arange(len(rows)).split(BATCH)
    goal_NLhw = torch.cat([goal(cast("NoisyLatents", noisy.take(part)), told_ND[part]) for part in parts])
    if not torch.isfinite(goal_NLhw).all():
        raise NonFiniteError("the base model predicts NaN or Inf; nothing was written")
    return Lessons(noisy, told_ND, goal_NLhw)


def missed(model: DrawingFamily, lessons: Lessons) -> Tensor:
    """Mean squared distance of the predictions to their goals."""
    return (model.predicted(lessons.noisy, lessons.told_ND) - lessons.goal_NLhw).square().mean()
