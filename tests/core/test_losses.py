"""The losses against plain loops, and the two zeros that the edit relies on."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from razor_pipeline.core import losses, metrics


def _unit(rows: int, seed: int, width: int = 6) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return functional.normalize(torch.randn(rows, width, generator=generator, dtype=torch.float64), dim=-1)


def _alike(group):
    group_B = torch.tensor(list(group))
    return group_B[:, None] == group_B


def _loop_info_nce(image, text, scale, group) -> float:
    """Both directions, one pair at a time, other pairs of the same group left out of the denominator."""
    total, n = 0.0, len(image)
    for i in range(n):
        for left, right in ((image, text), (text, image)):
            own = scale * float(left[i] @ right[i])
            rest = [scale * float(left[i] @ right[j]) for j in range(n) if j == i or group[j] != group[i]]
            total += math.log(sum(math.exp(x - own) for x in rest))
    return total / (2 * n)


@given(seed=st.integers(0, 500), group=st.lists(st.integers(0, 3), min_size=2, max_size=7))
def test_info_nce_equals_a_plain_loop(seed, group):
    image, text = _unit(len(group), seed), _unit(len(group), seed + 1000)
    found = losses.symmetric_info_nce(image, text, torch.tensor(5.0), _alike(group))
    assert float(found) == pytest.approx(_loop_info_nce(image, text, 5.0, group), abs=1e-6)


def test_info_nce_is_symmetric_in_its_two_sides():
    image, text, group = _unit(5, 0), _unit(5, 1), torch.arange(5)
    one_way = losses.symmetric_info_nce(image, text, torch.tensor(7.0), _alike(group))
    assert torch.allclose(one_way, losses.symmetric_info_nce(text, image, torch.tensor(7.0), _alike(group)))
    half = functional.cross_entropy(7.0 * image @ text.T, group)
    assert not torch.allclose(half, functional.cross_entropy(7.0 * text @ image.T, group))  # control


def test_a_group_is_no_negative_of_its_own():
    image, text = _unit(4, 0), _unit(4, 1)
    twice = [torch.cat([x, x]) for x in (image, text)]
    alone = losses.symmetric_info_nce(image, text, torch.tensor(5.0), _alike(range(4)))
    # Every pair twice: negatives of other groups count double, those of the own group not at all.
    masked = losses.symmetric_info_nce(*twice, torch.tensor(5.0), _alike([0, 1, 2, 3] * 2))
    assert float(masked) == pytest.approx(_loop_info_nce(*twice, 5.0, [0, 1, 2, 3] * 2), abs=1e-6)
    unmasked = losses.symmetric_info_nce(*twice, torch.tensor(5.0), _alike(range(8)))
    assert unmasked > masked + 0.05 > alone  # control: false negatives would cost


def test_a_single_group_has_no_loss():
    zero = losses.symmetric_info_nce(_unit(3, 0), _unit(3, 1), torch.tensor(5.0), _alike([0, 0, 0]))
    assert float(zero) == pytest.approx(0.0, abs=1e-12)


def test_the_forget_loss_is_low_while_the_model_remembers():
    assert losses.misalignment(torch.tensor([1.0, 1.0])) == 0.0
    assert losses.misalignment(torch.tensor([1.0, -1.0])) == 1.0


def test_drift_and_its_gradient_are_zero_at_the_frozen_model():
    now = torch.randn(4, 4, requires_grad=True)
    drift = losses.similarity_drift(now, now.detach().clone())
    (gradient,) = torch.autograd.grad(drift, now)
    assert drift == 0.0
    assert not gradient.any()
    (moved,) = torch.autograd.grad(losses.similarity_drift(now, now.detach() + 0.1), now)
    assert moved.all()  # control


floats = st.lists(st.floats(-1.0, 1.0, width=32), min_size=1, max_size=9)


@given(values=floats, copies=st.integers(1, 3), order=st.randoms(use_true_random=False))
def test_calibration_is_zero_for_equal_distributions(values, copies, order):
    target = values * copies
    order.shuffle(target)
    assert losses.calibration(torch.tensor(target), torch.tensor(values)) == 0.0


@given(target=floats, reference=floats)
def test_calibration_is_the_squared_wasserstein_distance(target, reference):
    """Against both empirical distributions blown up to one common size, where ranks pair off."""
    n, m = len(target), len(reference)
    blown = [torch.tensor(sorted(x * k), dtype=torch.float64) for x, k in ((target, m), (reference, n))]
    found = losses.calibration(torch.tensor(target), torch.tensor(reference))
    assert float(found) == pytest.approx(float((blown[0] - blown[1]).square().mean()), abs=1e-5)


def test_calibration_sees_spread_where_the_means_agree():
    tight, wide = torch.tensor([0.5, 0.5, 0.5, 0.5]), torch.tensor([0.2, 0.4, 0.6, 0.8])
    assert tight.mean() == wide.mean()
    assert losses.calibration(tight, wide) == pytest.approx(0.05)


def test_no_sample_is_led_above_its_own_bound():
    target, reference = torch.tensor([0.9, 0.1, 0.5]), torch.tensor([0.2, 0.4, 0.8])
    bound = torch.tensor([0.6, 0.6, 0.3])  # the first is to have 0.8 by its rank, the last 0.4
    found = losses.calibration(target, reference, bound)
    assert float(found) == pytest.approx((0.3**2 + 0.1**2 + 0.2**2) / 3)
    assert float(losses.calibration(target, reference, bound + 1.0)) == pytest.approx(
        float(losses.calibration(target, reference))  # control: a bound above the quantiles bounds nothing
    )
    two = torch.tensor([0.8, 0.2])  # of other sizes: each of three covers two thirds of a sample of two
    found = losses.calibration(target, two, torch.tensor([0.5, 1.0, 1.0]))
    assert float(found) == pytest.approx((2 * 0.4**2 + 2 * 0.1**2 + 0.3**2 + 0.3**2) / 6)


def test_calibration_moves_the_target_alone():
    target = torch.tensor([0.9, 0.8], requires_grad=True)
    reference = torch.tensor([0.1, 0.2, 0.3], requires_grad=True)
    to_target, to_reference = torch.autograd.grad(
        losses.calibration(target, reference), (target, reference), allow_unused=True
    )
    assert (to_target > 0).all()  # descending lowers what is known too well
    assert to_reference is None


@pytest.mark.parametrize("auc", [0.05, 0.25, 0.5, 0.7, 0.95])
def test_a_shift_to_an_auc_gives_that_auc_between_normal_distributions(auc):
    generator = torch.Generator().manual_seed(0)
    reference = 0.3 + 0.1 * torch.randn(4000, generator=generator, dtype=torch.float64)
    target = losses.shifted_to_auc(
        0.3 + 0.1 * torch.randn(4000, generator=generator, dtype=torch.float64), auc
    )
    assert metrics.auc(target.numpy(), reference.numpy()) == pytest.approx(auc, abs=0.02)
    assert torch.equal(losses.shifted_to_auc(reference, 0.5), reference)


def test_log_odds_are_those_of_the_softmax_and_stay_finite_where_it_saturates():
    logits = torch.randn(5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    own = torch.tensor([0, 3, 1, 1, 2])
    p = logits.softmax(dim=1).gather(1, own[:, None])[:, 0]
    assert torch.allclose(losses.log_odds(logits, own), (p / (1.0 - p)).log())
    certain = torch.tensor([[200.0, 0.0, -3.0]])
    assert float(losses.log_odds(certain, torch.tensor([0]))) == pytest.approx(199.95, abs=0.01)
    assert torch.isinf(torch.logit(certain.softmax(dim=1)))[
        0, 0
    ]  # control: through the probability it is not


def test_log_odds_of_log_probabilities_are_the_same_and_finite():
    log_p = torch.tensor([-40.0, -3.0, -0.5, 0.0])
    found = losses.as_log_odds(log_p)
    p = log_p[:3].double().exp()
    assert torch.allclose(found[:3].double(), (p / (1.0 - p)).log(), atol=1e-5)
    assert torch.isfinite(found).all()
    assert float(found[3]) == pytest.approx(13.8, abs=0.1)
