"""Peers that train: FT, GA, GAFT, and SalUn (Fan et al., ICLR 2024, arXiv 2310.12508).

FT descends the retain loss, GA ascends the forget loss, GAFT does both in turn, epoch by epoch, all over all weights.
SalUn trains on the retain set and on the forget set under random other names, and only within the saliency mask; its
weights outside are frozen against momentum and weight decay too.

Deviations: the learning rate and the epoch are chosen on validation by the rule of all methods (the sources choose on
the test metric), and a training that diverges ends there; for a CLIP "other names" are the prompts of other classes, as
SalUn's random labels have no counterpart there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from razor_pipeline.core.gradients import NonFiniteError, mean_gradients, requiring_grad
from razor_pipeline.core.saliency import saliency_mask
from razor_pipeline.interfaces import EditResult, ModelFamily, UnlearningTask
from razor_pipeline.methods.candidates import Candidates
from razor_pipeline.methods.task import shuffled
from razor_pipeline.params import FinetuneParams, SalunParams, TrainingParams

BETAS = (0.9, 0.98)
Loss = Callable[[Any], Tensor]
Epoch = Callable[[], Iterator[tuple[Loss, Any]]]


def finetune(
    model: ModelFamily, task: UnlearningTask, params: FinetuneParams, generator: torch.Generator
) -> EditResult:
    """FT, GA or GAFT, as ``params.objective`` says.

    Raises:
        ValueError: the trainings of all learning rates diverged in their first epoch.
    """
    forget = _forget_rows(task)

    def ascent(batch: Any) -> Tensor:
        return -model.forget_loss(batch)

    def epoch() -> Iterator[tuple[Loss, Any]]:
        if params.objective != "ft":
            for batch in _batches(model, forget, params, generator):
                yield ascent, batch
        if params.objective != "ga":
            for batch in _batches(model, task.retain, params, generator):
                yield model.retain_loss, batch

    return _search(Candidates(model, task, params, params.objective), params, epoch, None)


def salun(
    model: ModelFamily, task: UnlearningTask, params: SalunParams, generator: torch.Generator
) -> EditResult:
    """SalUn.

    Raises:
        ValueError: the trainings of all learning rates diverged in their first epoch.
    """
    found = Candidates(model, task, params, "salun")
    forget = _forget_rows(task)
    gradients = mean_gradients(
        model.forget_loss, model.batches(forget, params.batch_size), found.parameters, "forget"
    )
    mask = saliency_mask(gradients.tensors, params.salient_share)
    targets = {part.target for part in task.forget}
    others = [prompts[0] for label, prompts in task.prompts.items() if label not in targets]

    def epoch() -> Iterator[tuple[Loss, Any]]:
        drawn = torch.randint(0, len(others), (len(forget),), generator=generator).tolist()
        renamed = forget.assign(caption=[others[i] for i in drawn], label=[f"other {i}" for i in drawn])
        mixed = pd.concat([renamed, task.retain], ignore_index=True)
        for batch in _batches(model, mixed, params, generator):
            yield model.retain_loss, batch

    return _search(found, params, epoch, mask)


def _forget_rows(task: UnlearningTask) -> pd.DataFrame:
    return pd.concat([part.edit for part in task.forget], ignore_index=True)


def _batches(
    model: ModelFamily, rows: pd.DataFrame, params: TrainingParams, generator: torch.Generator
) -> Iterator[Any]:
    """Batches of mixed domains; one of a single row is left out, as a contrast needs two."""
    found = model.batches(shuffled(rows, generator), params.batch_size)
    return (batch for batch in found if len(batch) > 1)


def _search(
    found: Candidates, params: TrainingParams, epoch: Epoch, mask: Mapping[str, Tensor] | None
) -> EditResult:
    """One training per learning rate from the base weights; every epoch is a candidate."""
    steps = params.epochs * sum(1 for _ in epoch())
    with found.search():
        for rate in params.learning_rates:
            found.put(found.origin)
            optimizer = torch.optim.AdamW(
                found.parameters.values(), rate, BETAS, weight_decay=params.weight_decay
            )
            schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
            with suppress(NonFiniteError):  # this rate was too high; the others are tried all the same
                for _ in range(params.epochs):
                    for loss_of, batch in epoch():
                        _step(found, loss_of, batch, optimizer, mask)
                        schedule.step()
                    found.consider("training", rate)
            for tensor in found.parameters.values():
                tensor.grad = None
    return found.result()


def _step(
    found: Candidates,
    loss_of: Loss,
    batch: Any,
    optimizer: torch.optim.Optimizer,
    mask: Mapping[str, Tensor] | None,
) -> None:
    with torch.enable_grad(), requiring_grad(list(found.parameters.values())):
        loss = loss_of(batch)
        if not torch.isfinite(loss):
            raise NonFiniteError(f"the loss of {found.method} is {loss.item()}; nothing was written")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    if mask is not None:
        with torch.no_grad():
            for name, tensor in found.parameters.items():
                tensor.copy_(torch.where(mask[name], tensor, found.origin[name]))
