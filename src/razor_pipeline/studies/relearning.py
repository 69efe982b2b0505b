"""What an attacker minimises who teaches a model a forgotten name again."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional

from razor_pipeline.interfaces import ModelFamily


def relearning_loss(
    family: ModelFamily, rows: pd.DataFrame, prompts: Sequence[str], column: int
) -> Callable[[], Tensor]:
    """Cross-entropy of the target's name on its images, against all other names, at the model's current weights.

    Args:
        family: the model.
        rows: images of the target, all of them one batch.
        prompts: one for every class.
        column: the target's place among them.
    """
    [shots] = family.batches(rows, len(rows))
    aim_B = torch.full((len(rows),), column, device=family.device)
    return lambda: functional.cross_entropy(family.class_logits(shots, prompts), aim_B)
