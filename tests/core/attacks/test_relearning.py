"""Relearning: the curve is one of real steps, and the model comes back bit for bit."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch

from razor_pipeline.core.attacks.relearning import recovery_curve, relearner, steps_to


@pytest.fixture
def leaf():
    return torch.nn.Parameter(torch.tensor([0.0, 5.0]), requires_grad=False)


def _curve(leaf, steps=20, enough=1.0, rate=0.1):
    """Tune towards (1, 5); 'accuracy' is how far the first weight has come."""
    return recovery_curve(
        {"w": leaf}, lambda: (leaf[0] - 1.0).square(), lambda: float(leaf.detach()[0]), steps, rate, enough
    )


def test_the_curve_starts_before_any_step_and_counts_each(leaf):
    curve = _curve(leaf, steps=5)
    assert len(curve) == 6
    assert curve[0] == 0.0
    assert curve[1] == pytest.approx(0.1, rel=1e-4)  # Adam's first step is the learning rate
    assert curve == sorted(curve)


def test_it_ends_when_enough_has_come_back(leaf):
    curve = _curve(leaf, enough=0.25)
    assert curve[-1] > 0.25
    assert all(value <= 0.25 for value in curve[:-1])
    assert len(curve) < 21


def test_the_weights_are_back_bit_for_bit_and_a_second_attack_sees_no_trace(leaf):
    before = leaf.detach().clone()
    first = _curve(leaf)
    assert torch.equal(leaf, before)
    assert leaf.grad is None
    assert leaf.requires_grad is False
    assert _curve(leaf) == first


def test_the_weights_are_back_also_after_an_error(leaf):
    before, calls = leaf.detach().clone(), []

    def accuracy() -> float:
        calls.append(leaf.detach().clone())
        if len(calls) == 3:
            raise RuntimeError("stop")
        return 0.0

    with pytest.raises(RuntimeError, match="stop"):
        recovery_curve({"w": leaf}, lambda: (leaf[0] - 1.0).square(), accuracy, 5, 0.1)
    assert not torch.equal(calls[-1], before)  # control: it had moved
    assert torch.equal(leaf, before)
    assert leaf.requires_grad is False


@pytest.mark.parametrize(
    ("curve", "steps"), [([0.9], 0), ([0.0, 0.5, 0.9, 0.3], 2), ([0.0, 0.8], 2), ([0.0, 0.1, 0.2], 3)]
)
def test_steps_to_counts_to_the_first_value_beyond_the_threshold(curve, steps):
    """Equality is not beyond, and a curve that never gets there counts its whole length."""
    assert steps_to(curve, 0.8) == steps


def test_a_gradient_is_freed_as_soon_as_its_weight_has_moved(monkeypatch):
    torch.manual_seed(0)
    module = torch.nn.Sequential(*(torch.nn.Linear(4, 4) for _ in range(3))).requires_grad_(False)
    other, x_B4 = deepcopy(module).requires_grad_(True), torch.randn(5, 4)
    held, move = [], torch.optim.Adam.step

    def loss(of):
        return of(of(x_B4)).square().mean()  # every weight is used twice

    def counted(self, *args):
        held.append(sum(p.grad is not None for one in (module, other) for p in one.parameters()))
        return move(self, *args)

    monkeypatch.setattr(torch.optim.Adam, "step", counted)
    optimizer = torch.optim.Adam(other.parameters(), 0.1)
    for _ in range(2):
        loss(other).backward()
        optimizer.step()
        optimizer.zero_grad()
    assert held == [6, 6]  # control: where all move together, all gradients are held
    held.clear()
    with relearner(dict(module.named_parameters()), lambda: loss(module), 0.1) as step:
        step()
        step()
        assert all(torch.equal(a, b) for a, b in zip(module.parameters(), other.parameters(), strict=True))
    assert held == [1] * 12
