"""Peers that train all weights: FT descends the retain loss, GA ascends the forget loss, GAFT does both in turn.

Deviations: the learning rate and the epoch are chosen on validation by the rule of all methods, and a training that
diverges ends there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from razor_pipeline.interfaces import EditResult, ModelFamily, UnlearningTask
from razor_pipeline.methods.candidates import Candidates, check_names
from razor_pipeline.methods.fitting import Loss, fit
from razor_pipeline.methods.pool import Pool
from razor_pipeline.methods.task import forget_rows
from razor_pipeline.params.peers import FinetuneParams


def finetune(
    model: ModelFamily, task: UnlearningTask, params: FinetuneParams, generator: torch.Generator
) -> EditResult:
    """FT, GA or GAFT, as ``params.objective`` says.

    Raises:
        ValueError: the model draws, or the trainings of all learning rates diverged in their first epoch.
    """
    check_names(model, params.objective)
    found = Candidates(model, task, params, params.objective)

    def ascent(batch: Any) -> Tensor:
        return -model.forget_loss(batch)

    sources: list[tuple[Loss, Pool]] = []
    if params.objective != "ft":
        sources.append((ascent, Pool(model, forget_rows(task), params, fewest=1)))
    if params.objective != "ga":
        sources.append((model.retain_loss, Pool(model, task.retain, params)))

    def epoch(_: int) -> Iterator[tuple[Loss, Any]]:
        return ((loss, batch) for loss, pool in sources for batch in pool.shuffled(generator))

    return fit(found, params, epoch, sum(pool.steps() for _, pool in sources))
