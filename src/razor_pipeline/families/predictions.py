"""What a model that draws makes of prompts, read from the noise (or velocity) that its denoiser predicts.

Distances between predictions at the same noisy latents see an edit of any part, text encoder and denoiser alike; hidden
states see one of the encoder alone, and drawing takes a hundred times as long.

Shapes: B batch, N samples, C prompts, P probes, L latent channels, h x w latent, M = P * L * h * w.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from razor_pipeline.families.batches import RowBatch
from razor_pipeline.interfaces import Batch, DrawingFamily

BATCH = 64


@dataclass(frozen=True, eq=False)
class Noisy(RowBatch):
    """Latents with noise.

    Attributes:
        latent_BLhw: the latents.
        time_B: in the denoiser's units.
        aim: what the denoiser should predict.
    """

    latent_BLhw: Tensor
    time_B: Tensor
    aim: Tensor

    def __len__(self) -> int:
        return len(self.latent_BLhw)


class Predictions:
    """A model whose scores are distances between predictions at a few noisy latents, the same for all prompts.

    Args:
        family: at its base weights; later calls see it as it is then.
        probes: the noisy latents.
        prompts: that scores may be asked for.
    """

    def __init__(self, family: DrawingFamily, probes: Noisy, prompts: Sequence[str]) -> None:
        self.family, self.probes = family, probes
        self.base = dict(zip(prompts, self.predicted(prompts), strict=True))

    def batches(
        self, samples: pd.DataFrame, batch_size: int, generator: torch.Generator | None = None
    ) -> Sequence[Batch]:
        """The family's own."""
        return self.family.batches(samples, batch_size, generator)

    @torch.no_grad()
    def predicted(self, prompts: Sequence[str]) -> Tensor:
        """[C, M] what the model as it is predicts under each prompt at all probes."""
        distinct = list(dict.fromkeys(prompts))
        told_CD, count = self.family.conditioning(distinct), len(self.probes)
        parts = []
        for start in range(0, len(distinct), BATCH):
            told_BD = told_CD[start : start + BATCH]
            probe = torch.arange(count).repeat(len(told_BD))
            found = self.family.predicted(self.probes.take(probe), told_BD.repeat_interleave(count, dim=0))
            parts.append(found.reshape(len(told_BD), -1))
        place = {prompt: i for i, prompt in enumerate(distinct)}
        return torch.cat(parts)[[place[prompt] for prompt in prompts]]

    @torch.no_grad()
    def scores(self, batches: Sequence[Any], prompts: Sequence[str]) -> Tensor:
        """[N, C] negative distance of the prediction under each caption to the base model's under each prompt."""
        goal_CM = torch.stack([self.base[prompt] for prompt in prompts])
        captions = [caption for batch in batches for caption in batch.caption]
        return -torch.cdist(self.predicted(captions), goal_CM).cpu()
