"""The training that peers share: AdamW from the base weights, once per learning rate, every epoch a candidate."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import Tensor

from razor_pipeline.core.gradients import NonFiniteError, requiring_grad
from razor_pipeline.interfaces import EditResult
from razor_pipeline.methods.candidates import Candidates
from razor_pipeline.params.peers import TrainingParams

BETAS = (0.9, 0.98)
Loss = Callable[[Any], Tensor]
Epoch = Callable[[int], Iterator[tuple[Loss, Any]]]


def fit(
    found: Candidates,
    params: TrainingParams,
    epoch: Epoch,
    steps: int,
    mask: Mapping[str, Tensor] | None = None,
    trained: Mapping[str, Tensor] | None = None,
) -> EditResult:
    """One training per learning rate from the base weights; every epoch is a candidate.

    Args:
        found: takes the candidates.
        params: rates, epochs, weight decay.
        epoch: the losses of an epoch, by its number, each with its batch.
        steps: of one epoch.
        mask: name -> which of its weights may change; what it names is frozen against momentum and decay too.
        trained: name -> parameter that is trained; None for all.

    Raises:
        ValueError: the trainings of all learning rates diverged in their first epoch.
    """
    leaves = list((found.parameters if trained is None else trained).values())
    with found.search(), _no_gradients_left(leaves):
        for rate in params.learning_rates:
            found.put(found.origin)
            optimizer = torch.optim.AdamW(_decaying(leaves, params.weight_decay), rate, BETAS)
            schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, params.epochs * steps)
            with suppress(NonFiniteError):  # this rate was too high; the others are tried all the same
                for number in range(params.epochs):
                    for loss_of, batch in epoch(number):
                        _step(found, leaves, loss_of, batch, optimizer, mask or {})
                        schedule.step()
                    found.consider("training", rate)
    return found.result(params.learning_rates)


def _decaying(leaves: Sequence[Tensor], weight_decay: float) -> list[dict[str, Any]]:
    """Matrices decay; gains, biases and the temperature do not, as in the source."""
    parts = (
        ([leaf for leaf in leaves if leaf.ndim > 1], weight_decay),
        ([leaf for leaf in leaves if leaf.ndim < 2], 0.0),
    )
    return [{"params": part, "weight_decay": decay} for part, decay in parts if part]


@contextmanager
def _no_gradients_left(leaves: Sequence[Tensor]) -> Iterator[None]:
    """Also where a step raises: other methods of a benchmark go on with the model."""
    try:
        yield
    finally:
        for leaf in leaves:
            leaf.grad = None


def _step(
    found: Candidates,
    leaves: list[Tensor],
    loss_of: Loss,
    batch: Any,
    optimizer: torch.optim.Optimizer,
    mask: Mapping[str, Tensor],
) -> None:
    with torch.enable_grad(), requiring_grad(leaves):
        loss = loss_of(batch)
        if not torch.isfinite(loss):
            raise NonFiniteError(f"the loss of {found.method} is {loss.item()}; nothing was written")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        for name, free in mask.items():
            tensor = found.parameters[name]
            tensor.copy_(torch.where(free, tensor, found.origin[name]))
