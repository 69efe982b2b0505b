"""The step search: what it returns was measured and meets the goal, within its evaluations and its bound."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from razor_pipeline.core.step_search import smallest_step


class _Falling:
    """1 below a threshold, 0 from it on; keeps what was asked."""

    def __init__(self, threshold: float) -> None:
        self.threshold, self.asked = threshold, []

    def __call__(self, step: float) -> float:
        self.asked.append(step)
        return float(step < self.threshold)


@given(threshold=st.floats(1e-4, 1.0), evaluations=st.integers(2, 12))
def test_the_result_was_measured_and_meets_the_goal(threshold, evaluations):
    measure = _Falling(threshold)
    step = smallest_step(measure, 0.5, 0.02, 0.32, evaluations)
    assert len(measure.asked) <= evaluations
    assert max(measure.asked) <= 0.32
    met = [asked for asked in measure.asked if asked >= threshold]
    assert step == (min(met) if met else None)


@pytest.mark.parametrize("threshold", [0.003, 0.011, 0.02, 0.0217, 0.1, 0.31])
def test_it_closes_in_on_the_smallest(threshold):
    few, many = (smallest_step(_Falling(threshold), 0.5, 0.02, 0.32, n) for n in (6, 12))
    assert threshold <= many <= few
    assert many <= 1.1 * threshold
    assert (
        smallest_step(_Falling(threshold), 0.5, 0.32, 0.32, 1) > many
    )  # control: no bisection, no closing in


def test_a_goal_out_of_reach_is_none_and_costs_no_more_than_the_bracket():
    measure = _Falling(9.9)
    assert smallest_step(measure, 0.5, 0.02, 0.1, 12) is None
    assert measure.asked == [0.02, 0.04, 0.08, 0.1]


def test_a_first_step_beyond_the_largest_is_not_tried():
    measure = _Falling(9.9)
    assert smallest_step(measure, 0.5, 0.5, 0.1, 12) is None
    assert measure.asked == [0.1]


def test_a_measure_that_rises_again_still_yields_a_step_that_meets_the_goal():
    wavy = {0.02: 1.0, 0.04: 0.0}
    step = smallest_step(lambda s: wavy.get(s, 1.0), 0.5, 0.02, 0.32, 8)
    assert step == 0.04


def test_equality_meets_the_goal():
    assert smallest_step(lambda _: 0.5, 0.5, 0.02, 0.32, 2) == 0.01
