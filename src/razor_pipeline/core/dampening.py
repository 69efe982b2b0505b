"""SSD's selective synaptic dampening (Foster et al., AAAI 2024, arXiv 2308.07707), equations 5 to 7."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from razor_pipeline.core.gradients import assert_finite, requiring_grad


def importances(
    loss_of: Callable[[Any], Tensor], samples: Iterable[Any], parameters: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Diagonal of the empirical Fisher: the mean of the squared per-sample gradients.

    Args:
        loss_of: loss of one sample.
        samples: batches of one sample each; squares of a batch's mean gradient would be something else.
        parameters: name -> leaf weights.

    Raises:
        ValueError: there is no sample, or a batch holds several.
    """
    names, leaves = list(parameters), list(parameters.values())
    total = [torch.zeros_like(leaf) for leaf in leaves]
    count = 0
    with torch.enable_grad(), requiring_grad(leaves):
        for sample in samples:
            if len(sample) != 1:
                raise ValueError(f"importances need one sample a batch, not {len(sample)}; use batch size 1")
            found = torch.autograd.grad(loss_of(sample), leaves, allow_unused=True)
            for sum_, gradient in zip(total, found, strict=True):
                if gradient is not None:
                    sum_.addcmul_(gradient, gradient)
            count += 1
    if not count:
        raise ValueError("importances need at least one sample")
    fisher = {name: sum_ / count for name, sum_ in zip(names, total, strict=True)}
    assert_finite(fisher, "the importance")
    return fisher


def dampened(
    parameters: Mapping[str, Tensor],
    forget: Mapping[str, Tensor],
    retain: Mapping[str, Tensor],
    selection: float,
    dampening: float,
) -> dict[str, Tensor]:
    """Where ``F_f > alpha F_r``, the weight times ``min(lambda F_r / F_f, 1)``; elsewhere the weight itself.

    Args:
        parameters: name -> ORIGINAL weights theta.
        forget: F_f, importances for the forget set.
        retain: F_r, importances for what is kept.
        selection: alpha.
        dampening: lambda.
    """
    out = {}
    for name, theta in parameters.items():
        chosen = forget[name] > selection * retain[name]
        factor = (dampening * retain[name] / forget[name].clamp_min(torch.finfo(theta.dtype).tiny)).clamp(
            max=1.0
        )
        out[name] = torch.where(chosen, theta * factor, theta)
    return out
