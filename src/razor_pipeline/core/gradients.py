"""Streaming mean gradients, weighted by samples.

Only the named parameters are differentiated: nothing is left in ``.grad``, so one pass can't leak into the next, and
the rest of the graph is not differentiated further than needed. Each gradient is added to its sum as soon as the
backward pass has it and freed at once, so one copy of them is held, not two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from razor_pipeline.core.processes import added, added_numbers, own_share, stopping_together, zero_sum

B = TypeVar("B")
SizedBatch = TypeVar("SizedBatch", bound=Sized)


class NonFiniteError(ArithmeticError):
    """A loss, gradient or weight is NaN or infinite."""


@dataclass(frozen=True)
class Gradients:
    """Mean gradient of one loss.

    Attributes:
        tensors: parameter name -> gradient of the mean loss, shaped like the parameter.
        loss: the mean loss itself.
    """

    tensors: dict[str, Tensor]
    loss: float


def mean_gradients(
    loss_of: Callable[[SizedBatch], Tensor],
    batches: Iterable[SizedBatch],
    parameters: Mapping[str, Tensor],
    what: str,
) -> Gradients:
    """Gradient of the sample-weighted mean of a loss, one batch in memory at a time.

    In several processes each takes its share of the batches (:mod:`razor_pipeline.core.processes`).

    Args:
        loss_of: mean loss of a batch, a scalar.
        batches: the data; ``len(batch)`` is its number of samples.
        parameters: name -> leaf parameter. Parameters that the loss does not reach get a zero gradient.
        what: name of the loss for messages, e.g. ``forget``.

    Raises:
        NonFiniteError: a batch's loss or a gradient is NaN or infinite; names the loss or the parameter.
        ValueError: there is no data.
    """
    names, leaves = list(parameters), list(parameters.values())
    total = [zero_sum(leaf) for leaf in leaves]
    loss_sum, samples = 0.0, 0
    with torch.enable_grad(), requiring_grad(leaves), stopping_together():
        for batch in own_share(batches):
            loss = loss_of(batch)
            if not torch.isfinite(loss):
                raise NonFiniteError(
                    f"the {what} loss is {loss.item()} after {samples} samples; nothing was written"
                )
            with adding_to(total, leaves, len(batch)):
                torch.autograd.backward(loss, inputs=leaves)
            loss_sum += loss.item() * len(batch)
            samples += len(batch)
    loss_sum, count = added_numbers(loss_sum, samples)
    if not count:
        raise ValueError(f"the {what} set is empty: a gradient needs at least one sample")
    sums = added(dict(zip(names, total, strict=True)))
    gradients = {name: sum_.div_(count).to(parameters[name].dtype) for name, sum_ in sums.items()}
    assert_finite(gradients, f"the {what} gradient")
    return Gradients(gradients, loss_sum / count)


@contextmanager
def adding_to(sums: Sequence[Tensor], leaves: Sequence[Tensor], weight: float) -> Iterator[None]:
    """Let a backward pass inside the block add ``weight`` times each leaf's gradient to its sum.

    What stood in ``.grad`` stands there again behind the block.
    """
    before = [leaf.grad for leaf in leaves]

    def adder(sum_: Tensor) -> Callable[[Tensor], None]:
        def add(leaf: Tensor) -> None:
            assert leaf.grad is not None
            sum_.add_(leaf.grad, alpha=weight)
            leaf.grad = None

        return add

    hooks = []
    try:
        for sum_, leaf in zip(sums, leaves, strict=True):
            leaf.grad = None
            hooks.append(leaf.register_post_accumulate_grad_hook(adder(sum_)))
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for leaf, grad in zip(leaves, before, strict=True):
            leaf.grad = grad


def one_at_a_time(of: Callable[[B], Tensor], batches: Sequence[B]) -> Tensor:
    """[N] of all samples; where there are several batches, each one's activations are made again in the backward pass.

    So a loss of all samples together, as a distance of distributions is, costs the memory of one batch.

    Args:
        of: [B] numbers of a batch, differentiable.
        batches: of one set of samples.
    """
    if len(batches) == 1:
        return of(batches[0])
    return torch.cat([checkpoint(of, batch, use_reentrant=False) for batch in batches])


@contextmanager
def requiring_grad(leaves: Iterable[Tensor]) -> Iterator[None]:
    """Let these leaves require a gradient inside the block, and restore every flag behind it."""
    before = [(leaf, leaf.requires_grad) for leaf in leaves]
    try:
        for leaf, _ in before:
            leaf.requires_grad_(True)
        yield
    finally:
        for leaf, flag in before:
            leaf.requires_grad_(flag)


def assert_finite(tensors: Mapping[str, Tensor], what: str) -> None:
    """Stop at the first tensor with a NaN or Inf.

    Raises:
        NonFiniteError: names ``what`` and the tensor.
    """
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise NonFiniteError(f"{what} of '{name}' has NaN or Inf; the run stops and nothing was written")
