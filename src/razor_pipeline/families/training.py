"""What all trainings from random weights share: the loop, parameter groups, schedule, augmentation.

Shapes: B batch, H x W pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from razor_pipeline.params.pretraining import PretrainingParams

SHIFT = 4  # pixels of random translation
Batch = TypeVar("Batch")


def fit(
    module: nn.Module,
    epoch: Callable[[], Iterable[Batch]],
    loss_of: Callable[[Batch], Tensor],
    per_epoch: int,
    params: PretrainingParams,
    after_step: Callable[[], None] = lambda: None,
) -> list[dict[str, float]]:
    """Train all weights with AdamW under a cosine schedule.

    Args:
        module: the model; in training mode and differentiable on exit.
        epoch: the batches of one epoch, drawn anew at each call.
        loss_of: loss of a batch, a scalar.
        per_epoch: number of batches of an epoch.
        params: schedule.
        after_step: called behind every step, to hold a weight within its bounds.

    Returns:
        One row of learning curve per epoch: ``epoch``, mean ``loss``.
    """
    module.train().requires_grad_(True)
    optimizer = torch.optim.AdamW(
        parameter_groups(module, params.weight_decay), params.learning_rate, (0.9, 0.98)
    )
    steps = params.epochs * per_epoch
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: cosine(step, steps, params.warmup_share)
    )
    curve = []
    with tqdm(total=steps, desc="pretraining", disable=None) as bar:
        for number in range(params.epochs):
            total = 0.0
            for batch in epoch():
                loss = loss_of(batch)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
                optimizer.step()
                schedule.step()
                after_step()
                total += loss.item()
                bar.update()
            curve.append({"epoch": number, "loss": total / per_epoch})
            bar.set_postfix(loss=f"{curve[-1]['loss']:.3f}")
    return curve


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """AdamW's groups: matrices decay; biases, norms and scales do not."""
    decayed = [p for p in model.parameters() if p.ndim >= 2]
    plain = [p for p in model.parameters() if p.ndim < 2]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]


def cosine(step: int, steps: int, warmup_share: float) -> float:
    """Factor of the learning rate: linear warm-up, then a half cosine down to 0."""
    warmup = max(1, round(steps * warmup_share))
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1.0 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def augmented(pixels_B3HW: Tensor, generator: torch.Generator, mirror: bool) -> Tensor:
    """Random shifts, gains and, where asked for, mirroring, one draw per image.

    Faces and drawings keep what tells them apart; digits do not survive a mirror.
    """
    count, size = len(pixels_B3HW), pixels_B3HW.shape[-1]
    padded = functional.pad(pixels_B3HW, (SHIFT,) * 4, mode="replicate")
    offsets = torch.randint(0, 2 * SHIFT + 1, (count, 2), generator=generator).tolist()
    images = torch.stack(
        [image[:, y : y + size, x : x + size] for image, (y, x) in zip(padded, offsets, strict=True)]
    )
    if mirror:
        mirrored = torch.rand(count, 1, 1, 1, generator=generator) < 0.5
        images = torch.where(mirrored, images.flip(-1), images)
    gain = 0.85 + 0.3 * torch.rand(count, 1, 1, 1, generator=generator)
    return images * gain
