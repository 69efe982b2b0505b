"""The fused update: formula, relative norm, projection, and bits that come back."""

import pytest
import torch

from razor_pipeline.core.components import matrix_component
from razor_pipeline.core.edit import fused_direction, move, restore, snapshot
from razor_pipeline.core.gradients import NonFiniteError

from . import tiny

ALL = [*tiny.heads(), tiny.matrix()]


def _parameters(dtype=torch.float32):
    return tiny.tensors(0, dtype)


def _pieces(component, direction):
    return torch.cat([direction[part.key].double().flatten() for part in component.slices])


def test_the_direction_is_the_fused_gradient_at_the_norm_of_the_weights():
    theta, forget, retain, mismatch = (tiny.tensors(seed) for seed in range(4))
    direction = fused_direction(ALL, theta, forget, [(1.0, retain), (0.3, mismatch)], weight=0.7)
    for c in ALL:
        d = 0.7 * tiny.flat(c, forget) - tiny.flat(c, retain) - 0.3 * tiny.flat(c, mismatch)
        wanted = d * tiny.flat(c, theta).norm() / d.norm()
        torch.testing.assert_close(_pieces(c, direction), wanted, rtol=1e-4, atol=1e-5)
        other = -d * tiny.flat(c, theta).norm() / d.norm()
        assert not torch.allclose(_pieces(c, direction), other, atol=1e-2)  # control: the peers' sign error


@pytest.mark.parametrize("step", [0.001, 0.02, 0.32])
def test_a_step_moves_every_component_by_its_share_of_its_own_norm(step):
    theta, forget, retain = (tiny.tensors(seed) for seed in range(3))
    before = {c.name: tiny.flat(c, theta).clone() for c in ALL}
    origin = snapshot(theta, ALL)
    move(theta, ALL, origin, fused_direction(ALL, theta, forget, [(1.0, retain)]), step)
    for c in ALL:
        moved = (tiny.flat(c, theta) - before[c.name]).norm()
        assert float(moved) == pytest.approx(step * float(before[c.name].norm()), rel=1e-3)


def test_steps_start_from_the_origin_and_do_not_add_up():
    theta, forget = tiny.tensors(0), tiny.tensors(1)
    origin, direction = snapshot(theta, ALL), fused_direction(ALL, theta, forget, [])
    move(theta, ALL, origin, direction, 0.3)
    move(theta, ALL, origin, direction, 0.1)
    once = tiny.tensors(0)
    move(once, ALL, origin, direction, 0.1)
    assert all(torch.equal(theta[name], once[name]) for name in theta)


def test_only_the_component_itself_moves():
    theta, direction_of = tiny.tensors(0), tiny.heads()[1]
    direction = fused_direction([direction_of], theta, tiny.tensors(1), [])
    move(theta, [direction_of], snapshot(theta, [direction_of]), direction, 0.1)
    untouched = tiny.tensors(0)
    assert torch.equal(theta["q.weight"][:4], untouched["q.weight"][:4])
    assert torch.equal(theta["out.weight"][:, :4], untouched["out.weight"][:, :4])
    assert torch.equal(theta["fc.weight"], untouched["fc.weight"])
    assert (theta["out.weight"][:, 4:] != untouched["out.weight"][:, 4:]).any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_step_zero_and_restore_bring_every_bit_back(dtype):
    theta = _parameters(dtype)
    theta["q.bias"][0] = -0.0
    origin = snapshot(theta, ALL)
    direction = fused_direction(ALL, theta, tiny.tensors(1, dtype), [])
    for back in (lambda: move(theta, ALL, origin, direction, 0.0), lambda: restore(theta, ALL, origin)):
        move(theta, ALL, origin, direction, 0.1)
        assert any((theta[name] != tensor).any() for name, tensor in _parameters(dtype).items())  # control
        back()
        wanted = _parameters(dtype)
        wanted["q.bias"][0] = -0.0
        bits = torch.int32 if dtype == torch.float32 else torch.int16
        assert all(torch.equal(theta[name].view(bits), wanted[name].view(bits)) for name in theta)


def test_a_snapshot_is_a_copy():
    theta = tiny.tensors(0)
    saved = snapshot(theta, ALL)
    theta["fc.weight"].zero_()
    assert saved["fc.weight"].any()


def test_projection_leaves_the_retain_loss_where_it_is_to_first_order():
    """L_r along the step: the change falls with the square of the step if projected, linearly if not."""
    c = matrix_component("c", "vision", 0, ["w"])
    generator = torch.Generator().manual_seed(0)
    data = torch.randn(20, 6, generator=generator, dtype=torch.float64)
    w = torch.randn(6, generator=generator, dtype=torch.float64)

    def retain_loss(at):
        return (data @ at).square().mean()

    theta = {"w": w}
    retain = {"w": 2 * data.T @ (data @ w) / len(data)}
    forget = {"w": torch.randn(6, generator=generator, dtype=torch.float64) + 0.3 * retain["w"]}

    def slope(project: bool, step: float) -> float:
        d = fused_direction([c], theta, forget, [(0.0, retain)], project=project)["w"]
        return float(retain_loss(w + step * d) - retain_loss(w)) / step

    assert slope(True, 1e-4) == pytest.approx(0.1 * slope(True, 1e-3), rel=1e-2)  # quadratic: slope -> 0
    assert abs(slope(True, 1e-6)) < 1e-4
    assert abs(slope(False, 1e-6)) > 0.1  # control


def test_projection_is_per_component_and_keeps_what_is_orthogonal():
    theta, forget, retain = (tiny.tensors(seed) for seed in range(3))
    direction = fused_direction(ALL, theta, forget, [(0.0, retain)], project=True)
    for c in ALL:
        d, r, f = _pieces(c, direction), tiny.flat(c, retain), tiny.flat(c, forget)
        assert abs(float(d @ r)) < 1e-4 * float(d.norm() * r.norm())
        assert float(d @ f) > 0  # still ascends the forget loss


def test_vanishing_gradients_give_no_direction():
    theta = tiny.tensors(0)
    zero = {name: torch.zeros_like(t) for name, t in theta.items()}
    for project in (False, True):
        direction = fused_direction(ALL, theta, zero, [(1.0, zero)], project=project)
        assert not any(piece.any() for piece in direction.values())


def test_the_forget_term_can_be_left_out():
    theta, retain = tiny.tensors(0), tiny.tensors(2)
    direction = fused_direction(ALL, theta, None, [(1.0, retain)])
    c = tiny.matrix()
    cosine = torch.cosine_similarity(_pieces(c, direction), -tiny.flat(c, retain), dim=0)
    assert float(cosine) == pytest.approx(1.0)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_a_direction_that_is_not_finite_names_its_slice(bad):
    theta, forget = tiny.tensors(0), tiny.tensors(1)
    forget["out.weight"][0, 5] = bad
    with pytest.raises(NonFiniteError, match=r"the edit direction of '.*\[.*4:8\]'"):
        fused_direction(tiny.heads(), theta, forget, [])
