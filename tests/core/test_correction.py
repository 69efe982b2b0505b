"""The corrective step: it closes a gap to first order at the least cost, and a retentive step of the asked length."""

import pytest
import torch

from razor_pipeline.core.components import Component, ParameterSlice, matrix_component
from razor_pipeline.core.correction import Gap, closing, fused_descent, relative_descent, whitened
from razor_pipeline.core.curvature import InputFactors
from razor_pipeline.core.gradients import Gradients, NonFiniteError

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
    factors = None if damping is None else InputFactors({"w": inputs.T @ inputs}, damping)
    direction = whitened([C], {"w": gradient}, factors)
    retentive = {"w": 0.01 * _draw(4, 4, 6)}
    change = closing([C], retentive, [Gap(float(gap(weights)), {"w": gradient}, direction)])["w"]
    assert gap(weights) > 0.1
    assert gap(weights + change) < 1e-20
    assert gap(weights + retentive["w"]) > 0.01  # control: the retentive part alone does not close it


def test_half_the_gap_asked_for_leaves_a_quarter_of_the_square(problem):
    weights, _, gap, gradient = problem
    zero = {"w": torch.zeros_like(weights)}
    change = closing([C], zero, [Gap(0.5 * float(gap(weights)), {"w": gradient}, {"w": gradient})])["w"]
    assert float(gap(weights + change) / gap(weights)) == pytest.approx(0.25)


def test_two_gaps_are_closed_at_once_and_twice_the_same_as_one(problem):
    """To first order each; control: to close one of them does not close the other."""
    weights, _, first, _ = problem
    away, aim = _draw(25, 1, 6), _draw(26, 1)
    zero = {"w": torch.zeros_like(weights)}

    def of(gap):
        leaf = weights.clone().requires_grad_(True)
        (gradient,) = torch.autograd.grad(gap(leaf), leaf)
        return Gap(float(gap(weights)), {"w": gradient}, {"w": gradient})

    def left(gap, gaps):
        """Of the linearised gap, as a share of what there was."""
        change = closing([C], zero, gaps)["w"]
        return float((gap.gradient["w"] * change).sum()) / (2.0 * gap.value) + 1.0

    one, other = of(first), of(lambda at: ((away @ at.T)[:, 0] - aim).square().mean())
    assert abs(left(one, [one, other])) < 1e-9
    assert abs(left(other, [one, other])) < 1e-9
    assert abs(left(other, [one])) > 0.1
    assert abs(left(one, [one, one])) < 1e-9


@pytest.mark.parametrize("cosine", [0.0, 0.5, 0.89, 0.91, 0.999, 1.0, -0.89, -0.91, -1.0])
def test_gaps_that_pull_alike_make_no_change_many_times_as_long(cosine):
    """Whatever the two are: the longest is that of two directions with a cosine of ``ALIKE``."""
    first = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    second = torch.tensor([[cosine, (1.0 - cosine**2) ** 0.5]], dtype=torch.float64)
    zero = {"w": torch.zeros_like(first)}

    def length(*gaps):
        return float(closing([C], zero, [Gap(f, {"w": g}, {"w": g}) for f, g in gaps])["w"].norm())

    for other in (0.0, 0.3, 1.0):
        assert length((1.0, first), (other, second)) < 4.5 * length((1.0, first))


def test_whitening_closes_it_with_the_least_movement_on_the_retain_inputs(problem):
    weights, inputs, gap, gradient = problem
    zero = {"w": torch.zeros_like(weights)}
    moved = {}
    for name, factors in (("whitened", InputFactors({"w": inputs.T @ inputs}, 1e-6)), ("plain", None)):
        direction = whitened([C], {"w": gradient}, factors)
        change = closing([C], zero, [Gap(float(gap(weights)), {"w": gradient}, direction)])["w"]
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
    direction = whitened([C], {"w": gradient}, InputFactors({"w": inputs.T @ inputs}, 1e-6))
    zero = {"w": torch.zeros_like(weights)}
    return closing([C], zero, [Gap(float(gap(weights)), {"w": gradient}, direction)])["w"]


@pytest.mark.parametrize("step", [0.001, 0.02])
def test_the_retentive_step_descends_by_its_share_of_every_components_norm(step):
    theta, gradient = tiny.tensors(0), tiny.tensors(1)
    change = relative_descent(ALL, theta, whitened(ALL, gradient, None), step)
    for c in ALL:
        moved = torch.cat([change[part.key].double().flatten() for part in c.slices])
        assert float(moved.norm() / tiny.flat(c, theta).norm()) == pytest.approx(step, rel=1e-4)
        assert float(moved @ tiny.flat(c, gradient)) < 0


def test_a_gap_without_gradient_changes_nothing():
    theta, gradient = tiny.tensors(0), tiny.tensors(1)
    zero = {name: torch.zeros_like(tensor) for name, tensor in theta.items()}
    change = relative_descent(ALL, theta, whitened(ALL, gradient, None), 0.02)
    assert closing(ALL, change, [Gap(1.0, zero, whitened(ALL, zero, None))]) == change
    still = relative_descent(ALL, theta, whitened(ALL, zero, None), 0.02)
    assert not any(piece.any() for piece in still.values())


def test_a_change_that_is_not_finite_names_its_slice():
    theta, gradient = tiny.tensors(0), tiny.tensors(1)
    gradient["fc.weight"][0, 0] = torch.nan
    with pytest.raises(NonFiniteError, match=r"the corrective change of 'fc.weight'"):
        relative_descent([tiny.matrix()], theta, whitened([tiny.matrix()], gradient, None), 0.02)


def _fused(weights, goal):
    """Distance of two products to a goal: a sum of squares that is 0 somewhere."""
    inputs = _draw(5, 3, 6)

    def fused():
        leaf = weights["w"].clone().requires_grad_(True)
        loss = (inputs @ leaf.T - goal).square().mean()
        (gradient,) = torch.autograd.grad(loss, leaf)
        return Gradients({"w": gradient}, loss.item())

    return fused


def test_fused_descent_reaches_a_goal_that_can_be_reached_and_leaves_the_weights_as_they_were():
    weights, goal = {"w": _draw(0, 4, 6)}, _draw(6, 3, 4)
    before, fused = weights["w"].clone(), _fused(weights, goal)
    change = fused_descent([C], weights, fused, 60)
    assert torch.equal(weights["w"], before)
    assert fused().loss > 0.5
    weights["w"] += change["w"]
    assert fused().loss < 1e-8
    few = fused_descent([C], {"w": before}, _fused({"w": before}, goal), 1)
    assert not torch.allclose(few["w"], change["w"])  # control: it takes its evaluations


def test_fused_descent_ends_where_enough_is_gained():
    weights, goal, asked = {"w": _draw(0, 4, 6)}, _draw(6, 3, 4), []

    def fused():
        asked.append(_fused(weights, goal)())
        return asked[-1]

    def left(enough):
        asked.clear()
        change = fused_descent([C], weights, fused, 60, enough=enough)
        after = {"w": weights["w"] + change["w"]}
        return _fused(after, goal)().loss / asked[0].loss

    share = left(0.1)
    taken = len(asked)
    assert 0.0 < share <= 0.1
    assert [one.loss > 0.1 * asked[0].loss for one in asked] == [True] * (taken - 1) + [False]
    assert torch.equal(weights["w"], _draw(0, 4, 6))
    assert left(0.0) < 1e-6  # control: without it the search goes on
    assert len(asked) > taken


def test_inputs_that_differ_in_size_take_fewer_evaluations_where_their_covariance_is_known():
    """A goal for one input, what others gave held, as a redirection has it; control: the same without covariances."""
    inputs = _draw(7, 200, 6) * torch.tensor([100.0, 30.0, 10.0, 3.0, 1.0, 0.1])
    target, goal, base = _draw(9, 2, 6), _draw(8, 2, 4), _draw(0, 4, 6)
    weights, known = {"w": base.clone()}, InputFactors({"w": inputs.T @ inputs}, 1e-9)

    def fused():
        leaf = weights["w"].clone().requires_grad_(True)
        drift = (inputs @ (leaf - base).T).square().mean()
        loss = (target @ leaf.T - goal).square().mean() + drift
        (gradient,) = torch.autograd.grad(loss, leaf)
        return Gradients({"w": gradient}, loss.item())

    def left(evaluations, factors):
        weights["w"] = base + fused_descent([C], weights, fused, evaluations, factors)["w"]
        loss = fused().loss
        weights["w"] = base.clone()
        return loss

    least = left(200, known)
    assert least < 0.5 * fused().loss
    assert left(8, known) - least < 0.1 * (left(8, None) - least)


def test_fused_descent_moves_its_slices_alone():
    head = Component("h", "head", "vision", 0, (ParameterSlice("w", 0, 1, 3),))
    weights, goal = {"w": _draw(0, 4, 6)}, _draw(6, 3, 4)
    change = fused_descent([head], weights, _fused(weights, goal), 40)
    assert set(change) == {"w[0:1:3]"}
    assert change["w[0:1:3]"].shape == (2, 6)
    assert torch.equal(weights["w"], _draw(0, 4, 6))
    weights["w"][1:3] += change["w[0:1:3]"]
    error = (_draw(5, 3, 6) @ weights["w"].T - goal).square().mean(dim=0)
    assert error[1:3].max() < 1e-6
    assert error[[0, 3]].min() > 1e-3


def test_fused_descent_names_the_slice_that_is_not_finite():
    weights = {"w": _draw(0, 4, 6)}

    def broken():
        return Gradients({"w": torch.full((4, 6), float("nan"), dtype=torch.float64)}, 1.0)

    with pytest.raises(NonFiniteError, match="corrective change of 'w'"):
        fused_descent([C], weights, broken, 5)
    assert torch.equal(weights["w"], _draw(0, 4, 6))


@pytest.mark.parametrize("steepness", [1e-3, 1.0, 1e3])
def test_the_first_step_goes_where_the_loss_would_be_0_if_it_fell_as_steeply_all_the_way(steepness):
    """However steep the loss is; control: the second evaluation is not at the start."""
    weights, goal, places = {"w": _draw(0, 4, 6)}, _draw(6, 3, 4), []
    fused = _fused(weights, goal)

    def steep():
        places.append(weights["w"].clone())
        found = fused()
        return Gradients({"w": steepness * found.tensors["w"]}, steepness * found.loss)

    fused_descent([C], weights, steep, 2)
    start = fused()
    step = start.loss / start.tensors["w"].square().sum() * start.tensors["w"]
    assert torch.allclose(places[1], places[0] - step)
    assert step.norm() > 0.01
