"""What erased prompts are to mean to a denoiser: ESD's target and UCE's closed form.

Shapes: B batch, N token states, O, I outputs and inputs of a linear layer.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


def negative_guidance(plain: Tensor, told: Tensor, strength: float) -> Tensor:
    """The prediction without the prompt, led away from the one with it (ESD, arXiv 2303.07345, eq. 7).

    Args:
        plain: ``e0(x)``, the frozen model's prediction under the empty prompt.
        told: ``e0(x, c)``, its prediction under the prompt; shaped like ``plain``.
        strength: eta > 0; -1 would give ``told`` back, 0 gives ``plain``.

    Returns:
        ``e0(x) - eta (e0(x, c) - e0(x))``.
    """
    return plain - strength * (told - plain)


@dataclass(frozen=True)
class StateSums:
    """What :func:`closed_form` needs of the states, in float64, whatever weights and scales it solves for.

    Attributes:
        led_II: ``sum c* c^T`` over what is erased, c* the states whose outputs take the place of c's.
        erased_II: ``sum c c^T`` over what is erased.
        kept_II: ``sum c c^T`` over what is kept, the empty prompt as often as all else together.
    """

    led_II: Tensor
    erased_II: Tensor
    kept_II: Tensor


def state_sums(erased_NI: Tensor, goal_NI: Tensor, kept_NI: Tensor, empty_TI: Tensor) -> StateSums:
    """The sums over all states.

    Args:
        erased_NI: states c of what is erased.
        goal_NI: states c* whose outputs take their place, one each.
        kept_NI: states of what is kept, any number of them.
        empty_TI: states of the empty prompt, which guidance puts into every drawing.
    """
    erased, goal, kept, empty = (states.double() for states in (erased_NI, goal_NI, kept_NI, empty_TI))
    times = len(kept) / len(empty)
    return StateSums(goal.T @ erased, erased.T @ erased, kept.T @ kept + times * empty.T @ empty)


def closed_form(
    weight_OI: Tensor, sums: StateSums, erase_scale: float, preserve_scale: float, ridge: float
) -> Tensor:
    """The weights that give erased states the outputs of their goals, and kept ones their own (UCE, arXiv 2308.14761).

    It minimises ``s_e sum ||W c - W0 c*||^2 + s_p sum ||W c - W0 c||^2 + lambda ||W - W0||^2``::

        W = (lambda W0 + s_e sum W0 c* c^T + s_p W0 sum c c^T) (lambda I + s_e sum c c^T + s_p sum c c^T)^-1

    Args:
        weight_OI: W0.
        sums: of the states.
        erase_scale: s_e > 0.
        preserve_scale: s_p > 0.
        ridge: lambda > 0; it makes the system solvable whatever the states.

    Returns:
        [O, I] W, solved in float64, in the dtype of W0.
    """
    old = weight_OI.double()
    unchanged_II = (
        ridge * torch.eye(old.shape[1], dtype=old.dtype, device=old.device) + preserve_scale * sums.kept_II
    )
    wanted_OI = old @ (unchanged_II + erase_scale * sums.led_II)
    found_IO: Tensor = torch.linalg.solve(unchanged_II + erase_scale * sums.erased_II, wanted_OI.T)
    return found_IO.T.to(weight_OI.dtype)
