"""The mathematics of the peers: SalUn's mask, SSD's importances and dampening, SLUG's front."""

import pytest
import torch

from razor_pipeline.core.dampening import dampened, importances
from razor_pipeline.core.gradients import NonFiniteError
from razor_pipeline.core.pareto import pareto_front, pareto_fronts
from razor_pipeline.core.saliency import saliency_mask
from razor_pipeline.core.scoring import ComponentScore


def _draw(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_the_mask_keeps_the_largest_gradients_of_all_tensors_together(share):
    gradients = {"a": _draw(0, 10, 6), "b": 3.0 * _draw(1, 40)}
    mask = saliency_mask(gradients, share)
    inside = torch.cat([gradients[n].abs()[mask[n]] for n in gradients])
    outside = torch.cat([gradients[n].abs()[~mask[n]] for n in gradients])
    assert len(inside) == round(share * 100)
    assert not len(outside) or inside.min() > outside.max()
    assert (
        share == 1.0 or mask["b"].double().mean() > mask["a"].double().mean()
    )  # one threshold, not one a tensor


class Sample(list):
    """A batch of samples (x, y)."""


def test_importances_are_the_mean_of_squared_per_sample_gradients_in_closed_form():
    weight, inputs = _draw(0, 3), _draw(1, 5, 3)
    found = importances(
        lambda batch: (batch[0] @ weight).square(), [Sample([x]) for x in inputs], {"w": weight}
    )
    per_sample = 2.0 * (inputs @ weight)[:, None] * inputs
    torch.testing.assert_close(found["w"], per_sample.square().mean(dim=0))
    of_mean = per_sample.mean(dim=0).square()
    assert not torch.allclose(found["w"], of_mean)  # control: the square of the mean is something else
    assert not weight.requires_grad


def test_importances_refuse_batches_nothing_and_nan():
    weight = _draw(0, 3)
    with pytest.raises(ValueError, match="one sample a batch, not 2"):
        importances(lambda _: weight.sum(), [Sample([1, 2])], {"w": weight})
    with pytest.raises(ValueError, match="at least one sample"):
        importances(lambda _: weight.sum(), [], {"w": weight})
    with pytest.raises(NonFiniteError, match="importance of 'w'"):
        importances(lambda _: (weight * float("nan")).sum(), [Sample([1])], {"w": weight})


def test_dampening_is_equation_7():
    theta = {"w": torch.tensor([1.0, 2.0, -4.0, 8.0, 1.0])}
    forget = {"w": torch.tensor([1.0, 30.0, 40.0, 10.0, 0.0])}
    retain = {"w": torch.tensor([1.0, 1.0, 2.0, 1.0, 0.0])}
    out = dampened(theta, forget, retain, selection=10.0, dampening=1.0)["w"]
    torch.testing.assert_close(out, torch.tensor([1.0, 2.0 / 30.0, -4.0 * 2.0 / 40.0, 8.0, 1.0]))
    never_larger = dampened(theta, forget, retain, selection=0.1, dampening=100.0)["w"]
    assert (never_larger.abs() <= theta["w"].abs()).all()


def _row(name, importance, cosine, tower="t"):
    return ComponentScore(name, "matrix", tower, 0, 1, 1.0, importance, 1.0, cosine, 0.0, 0, 0)


def test_the_front_holds_what_no_other_beats_in_both():
    rows = [
        _row("dominated", 1.0, 0.5),
        _row("strong", 4.0, 0.9),
        _row("safe", 0.5, 0.01),
        _row("both", 3.0, -0.2),  # the sign of the cosine does not count
        _row("weak twin", 3.0, 0.3),
    ]
    front = [row.component for row in pareto_front(rows)]
    assert front == ["strong", "both", "safe"]
    for row in rows:  # against a plain loop
        beaten = any(
            o.forget_norm >= row.forget_norm and abs(o.cosine) <= abs(row.cosine) and o != row for o in rows
        )
        assert (row.component in front) is not beaten


def test_a_tower_has_its_own_front_whatever_the_other_one_is_worth():
    rows = [_row("v", 4.0, 0.1, "vision"), _row("w", 1.0, 0.5, "vision"), _row("t", 2.0, 0.2, "text")]
    assert [[row.component for row in front] for front in pareto_fronts(rows)] == [["v"], ["t"]]
    assert [row.component for row in pareto_front(rows)] == [
        "v"
    ]  # control: one front for both leaves the text out
