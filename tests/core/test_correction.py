"""The corrective step: it closes a gap to first order at the least cost, and a retentive step of the asked length."""

import pytest
import torch

from razor_pipeline.core.components import matrix_component
from razor_pipeline.core.correction import closing, relative_descent, whitened
from razor_pipeline.core.gradients import NonFiniteError

from . import tiny

C = matrix_component("c", "vision", 0, ["w"])
ALL = [*tiny.heads(), tiny.matrix()]


def _draw(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture
def problem():
    """A linear layer whose answers on a few targets are off by ``residual``; f is their mean square."""
    weights, inputs, goal = _draw(0, 4, 6), _draw(1, 50, 6) * torch.arange(1, 7), _draw(2, 1)
    target = _draw(3, 1, 6)

    def gap(at):
        return ((target @ at.T)[:, 0] - goal).square().mean()

    leaf = weights.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(gap(leaf), leaf)
    return weights, inputs, gap, gradient


@pytest.mark.parametrize("damping", [None, 0.01])
def test_a_linear_gap_is_closed_in_one_step(problem, damping):
    weights, inputs, gap, gradient = problem
    covariances = None if damping is None else {"w": inputs.T @ inputs}
    direction = whitened([C], {"w": gradient}, covariances, damping or 0.1)
    retentive = {"w": 0.01 * _draw(4, 4, 6)}
    change = closing([C], retentive, {"w": gradient}, direction, float(gap(weights)))["w"]
    assert gap(weights) > 0.1
    assert gap(weights + change) < 1e-20
    assert gap(weights + retentive["w"]) > 0.01  # control: the retentive part alone does not close it


def test_half_the_gap_asked_for_leaves_a_quarter_of_the_square(problem):
    weights, _, gap, gradient = problem
    zero = {"w": torch.zeros_like(weights)}
    change = closing([C], zero, {"w": gradient}, {"w": gradient}, 0.5 * float(gap(weights)))["w"]
    assert float(gap(weights + change) / gap(weights)) == pytest.approx(0.25)


def test_whitening_closes_it_with_the_least_movement_on_the_retain_inputs(problem):
    weights, inputs, gap, gradient = problem
    zero = {"w": torch.zeros_like(weights)}
    moved = {}
    for name, covariances in (("whitened", {"w": inputs.T @ inputs}), ("plain", None)):
        direction = whitened([C], {"w": gradient}, covariances, 1e-6)
        change = closing([C], zero, {"w": gradient}, direction, float(gap(weights)))["w"]
        moved[name] = float((inputs @ change.T).square().mean())
    assert moved["whitened"] < 0.9 * moved["plain"]
    for seed in range(20):  # no other change that closes the gap moves less
        other = _draw(10 + seed, 4, 6)
        flat = gradient.flatten() / gradient.norm() ** 2
        other -= ((other * gradient).sum() * flat).view_as(other)
        rival = other * 0.01 + change_of(problem)
        assert float((inputs @ rival.T).square().mean()) >= moved["whitened"] * (1 - 1e-6)


def change_of(problem):
    weights, inputs, gap, gradient = problem
    direction = whitened([C], {"w": gradient}, {"w": inputs.T @ inputs}, 1e-6)
    zero = {"w": torch.zeros_like(weights)}
    return closing([C], zero, {"w": gradient}, direction, float(gap(weights)))["w"]


@pytest.mark.parametrize("step", [0.001, 0.02])
def test_the_retentive_step_descends_by_its_share_of_every_components_norm(step):
    theta, gradient = tiny.tensors(0), tiny.tensors(1)
    change = relative_descent(ALL, theta, whitened(ALL, gradient, None, 0.1), step)
    for c in ALL:
        moved = torch.cat([change[part.key].double().flatten() for part in c.slices])
        assert float(moved.norm() / tiny.flat(c, theta).norm()) == pytest.approx(step, rel=1e-4)
        assert float(moved @ tiny.flat(c, gradient)) < 0


def test_a_gap_without_gradient_changes_nothing():
    theta, gradient = tiny.tensors(0), tiny.tensors(1)
    zero = {name: torch.zeros_like(tensor) for name, tensor in theta.items()}
    change = relative_descent(ALL, theta, whitened(ALL, gradient, None, 0.1), 0.02)
    assert closing(ALL, change, zero, whitened(ALL, zero, None, 0.1), 1.0) == change
    still = relative_descent(ALL, theta, whitened(ALL, zero, None, 0.1), 0.02)
    assert not any(piece.any() for piece in still.values())


def test_a_change_that_is_not_finite_names_its_slice():
    theta, gradient = tiny.tensors(0), tiny.tensors(1)
    gradient["fc.weight"][0, 0] = torch.nan
    with pytest.raises(NonFiniteError, match=r"the corrective change of 'fc.weight'"):
        relative_descent([tiny.matrix()], theta, whitened([tiny.matrix()], gradient, None, 0.1), 0.02)
