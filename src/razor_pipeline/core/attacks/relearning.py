"""Relearning: how few fine-tuning steps bring a forgotten concept back.

Fine-tuning on forget images, on unrelated data, or of the edited weights alone differ in the loss and in the parameters
that are handed over (Lynch et al., arXiv 2402.16835; Hu et al., arXiv 2406.13356).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from razor_pipeline.core.gradients import requiring_grad


@contextmanager
def relearner(
    parameters: Mapping[str, Tensor], loss: Callable[[], Tensor], learning_rate: float
) -> Iterator[Callable[[], None]]:
    """An attacker who fine-tunes with Adam: yields a function that takes one step.

    Each weight moves as soon as the backward pass has its gradient, which is freed at once: beside Adam's two moments
    and the copy that is put back, all gradients would be a fifth copy of a large model.

    Args:
        parameters: name -> leaf weights, all of which are tuned; every bit is back on exit.
        loss: what the attacker minimises, at the current weights.
        learning_rate: of Adam.
    """
    saved = {name: tensor.detach().clone() for name, tensor in parameters.items()}
    leaves = list(parameters.values())
    optimizers = {leaf: torch.optim.Adam([leaf], learning_rate) for leaf in leaves}

    def move(leaf: Tensor) -> None:
        optimizers[leaf].step()
        leaf.grad = None

    def step() -> None:
        with torch.enable_grad(), requiring_grad(leaves):
            hooks = [leaf.register_post_accumulate_grad_hook(move) for leaf in leaves]
            try:
                loss().backward()
            finally:
                for hook in hooks:
                    hook.remove()

    try:
        yield step
    finally:
        with torch.no_grad():
            for name, tensor in parameters.items():
                tensor.copy_(saved[name])
                tensor.grad = None


def recovery_curve(
    parameters: Mapping[str, Tensor],
    loss: Callable[[], Tensor],
    accuracy: Callable[[], float],
    steps: int,
    learning_rate: float,
    enough: float = 1.0,
) -> list[float]:
    """Accuracy on the forgotten concept before and after each step of fine-tuning (:func:`relearner`).

    Args:
        parameters: name -> leaf weights, all of which are tuned; every bit is back on exit.
        loss: what the attacker minimises, at the current weights.
        accuracy: share of unseen images of the concept that are named, at the current weights.
        steps: most steps.
        learning_rate: of Adam.
        enough: the curve ends at the first accuracy above it.

    Returns:
        ``steps + 1`` values at most; the first is the accuracy before any step.
    """
    curve = [accuracy()]
    with relearner(parameters, loss, learning_rate) as step:
        while len(curve) <= steps and curve[-1] <= enough:
            step()
            curve.append(accuracy())
    return curve


def steps_to(curve: Sequence[float], threshold: float) -> int:
    """The first step at which the accuracy passes the threshold; ``len(curve)`` where it never does."""
    return next((step for step, value in enumerate(curve) if value > threshold), len(curve))


def area(curve: Sequence[float]) -> float:
    """Area under the recovery curve as a share of the largest one: the mean accuracy over steps (trapezoids).

    Raises:
        ValueError: the curve has fewer than two values.
    """
    if len(curve) < 2:
        raise ValueError(f"a recovery curve of {len(curve)} values has no area; let the attacker take a step")
    return (sum(curve) - 0.5 * (curve[0] + curve[-1])) / (len(curve) - 1)
