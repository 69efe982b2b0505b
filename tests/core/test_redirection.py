"""ESD's target and UCE's closed form, against their definitions and an independent solve."""

import pytest
import torch

from razor_pipeline.core.redirection import closed_form, negative_guidance, state_sums


def draw(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_negative_guidance_lies_beyond_the_plain_prediction_as_far_as_the_prompt_is_before_it():
    plain, told = draw(0, 2, 3), draw(1, 2, 3)
    torch.testing.assert_close(negative_guidance(plain, told, 1.0), 2.0 * plain - told)
    half = negative_guidance(plain, told, 0.5)
    torch.testing.assert_close(half - plain, -0.5 * (told - plain))
    assert not torch.allclose(half, plain + 0.5 * (told - plain))  # control: the sign that guides towards it


def least_squares(weight_OI, erased_NI, goal_NI, kept_NI, erase, preserve, ridge):
    """The same minimum from the stacked problem, by an orthogonal factorisation instead of the normal equations."""
    size = weight_OI.shape[1]
    inputs = torch.cat(
        [erase**0.5 * erased_NI, preserve**0.5 * kept_NI, ridge**0.5 * torch.eye(size).double()]
    )
    wanted = torch.cat(
        [
            erase**0.5 * goal_NI @ weight_OI.T,
            preserve**0.5 * kept_NI @ weight_OI.T,
            ridge**0.5 * weight_OI.T,
        ]
    )
    return torch.linalg.lstsq(inputs, wanted, driver="gelsd").solution.T


@pytest.mark.parametrize(("erase", "preserve", "ridge"), [(1.0, 1.0, 0.5), (30.0, 1.0, 0.5), (1.0, 0.1, 5.0)])
def test_the_closed_form_is_the_least_squares_solution(erase, preserve, ridge):
    weight, erased, goal, kept, empty = (draw(i, n, 8) for i, n in enumerate((5, 4, 4, 20, 2)))
    found = closed_form(weight, state_sums(erased, goal, kept, empty), erase, preserve, ridge)
    held = torch.cat([kept, *[empty] * 10])  # as often as all else together
    torch.testing.assert_close(found, least_squares(weight, erased, goal, held, erase, preserve, ridge))
    other = least_squares(weight, erased, goal, held, 2.0 * erase, preserve, ridge)
    assert not torch.allclose(found, other)  # control: another weight, another solution


def test_what_is_kept_stays_and_what_is_erased_follows_its_goal():
    weight = draw(0, 5, 8)
    basis = torch.linalg.qr(draw(1, 8, 8)).Q
    erased, kept = basis[:2], basis[2:]  # apart, so that both can be had
    found = closed_form(weight, state_sums(erased, kept[:2], kept, kept[:1]), 1e6, 1e6, 1e-3)
    torch.testing.assert_close(found @ kept.T, weight @ kept.T, atol=1e-5, rtol=0)
    torch.testing.assert_close(found @ erased.T, weight @ kept[:2].T, atol=1e-5, rtol=0)
    assert not torch.allclose(weight @ erased.T, weight @ kept[:2].T, atol=0.1)  # control: before


def test_a_state_that_is_its_own_goal_changes_nothing():
    weight, states = draw(0, 5, 8).float(), draw(1, 4, 8).float()
    found = closed_form(weight, state_sums(states, states, states[:0], states[:1]), 10.0, 1.0, 0.5)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, weight)
