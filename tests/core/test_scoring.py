"""The ratio-aware score by hand, and what it must and must not depend on."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from razor_pipeline.core.components import matrix_component
from razor_pipeline.core.scoring import ratio_aware_score, score_components

from . import tiny


def _score(theta, forget, retain, alpha):
    c = matrix_component("c", "vision", 0, ["w"])
    as_tensors = [{"w": torch.tensor(x)} for x in (theta, forget, retain)]
    return score_components([c], *as_tensors, alpha, eps=0.0)[0]


def test_the_formula_by_hand():
    # ||g_f|| = 5, ||theta|| = 2, cos = 3/5.
    row = _score([0.0, 2.0], [3.0, 4.0], [2.0, 0.0], 0.5)
    assert (row.theta_norm, row.forget_norm, row.retain_norm) == (2.0, 5.0, 2.0)
    assert row.cosine == pytest.approx(0.6)
    assert row.score == pytest.approx(2.5 * math.sqrt(0.4))


@pytest.mark.parametrize(("alpha", "wanted"), [(0.0, 2.5), (0.5, 0.0), (1.0, 0.0)])
def test_gradients_that_agree_score_nothing_unless_alpha_is_zero(alpha, wanted):
    assert _score([0.0, 2.0], [3.0, 4.0], [6.0, 8.0], alpha).score == pytest.approx(wanted, abs=1e-6)


def test_opposed_gradients_score_highest():
    by_cosine = [ratio_aware_score(1.0, 1.0, cosine, 0.5, 1e-8) for cosine in (1.0, 0.5, 0.0, -0.5, -1.0)]
    assert by_cosine == sorted(by_cosine)
    assert by_cosine[-1] == pytest.approx(math.sqrt(2.0))


def test_a_cosine_above_one_by_rounding_is_no_complex_number():
    assert ratio_aware_score(1.0, 1.0, 1.0 + 1e-12, 0.5, 1e-8) == 0.0


def test_vanishing_gradients_and_weights_are_finite():
    assert _score([1.0, 0.0], [0.0, 0.0], [1.0, 0.0], 0.5).score == 0.0
    assert _score([1.0, 0.0], [1.0, 0.0], [0.0, 0.0], 0.5).cosine == 0.0
    assert math.isfinite(ratio_aware_score(1.0, 0.0, 0.0, 0.5, 1e-8))


@given(st.floats(0.01, 100.0), st.floats(0.01, 100.0), st.sampled_from([0.0, 0.3, 1.0]))
def test_it_scales_with_the_forget_gradient_and_not_with_the_retain_gradient(a, b, alpha):
    components = [*tiny.heads(), tiny.matrix()]
    theta, forget, retain = (tiny.tensors(seed) for seed in range(3))
    rows = score_components(components, theta, forget, retain, alpha)
    scaled = [{name: factor * t for name, t in x.items()} for factor, x in ((a, forget), (b, retain))]
    again = score_components(components, theta, *scaled, alpha)
    assert [row.component for row in again] == [row.component for row in rows]
    assert [row.score for row in again] == pytest.approx([a * row.score for row in rows], rel=1e-4)


def test_a_head_is_scored_by_its_own_slices():
    theta, forget, retain = (tiny.tensors(seed) for seed in range(3))
    before = {row.component: row for row in score_components(tiny.heads(), theta, forget, retain, 0.5)}
    forget["q.weight"][4:] *= 10  # head 1 alone
    after = {row.component: row for row in score_components(tiny.heads(), theta, forget, retain, 0.5)}
    name = "vision.0.attention.head{}".format
    assert after[name(0)].score == before[name(0)].score
    assert after[name(1)].score > before[name(1)].score
    assert after[name(0)].forget_norm == pytest.approx(float(tiny.flat(tiny.heads()[0], forget).norm()))


def test_rows_come_ranked_and_ties_by_name():
    parts = [matrix_component(name, "vision", 0, [name]) for name in ("b", "a", "c")]
    ones = {name: torch.ones(2) for name in "abc"}
    rows = score_components(parts, ones, ones | {"c": 2 * torch.ones(2)}, ones, 0.0)
    assert [(row.component, row.rank) for row in rows] == [("c", 0), ("a", 1), ("b", 2)]


def test_ranks_are_counted_in_each_tower_too():
    parts = [
        matrix_component(name, tower, 0, [name])
        for name, tower in zip("abcd", ("vision", "text", "vision", "text"), strict=True)
    ]
    ones = {name: torch.ones(2) for name in "abcd"}
    rows = score_components(parts, ones, {n: (4 - i) * t for i, (n, t) in enumerate(ones.items())}, ones, 0.0)
    assert [(row.component, row.tower_rank) for row in rows] == [("a", 0), ("b", 0), ("c", 1), ("d", 1)]
