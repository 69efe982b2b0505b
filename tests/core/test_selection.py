"""Selection: best first, never beyond the budget, the threshold or what is edited already."""

from hypothesis import given
from hypothesis import strategies as st

from razor_pipeline.core.scoring import ComponentScore
from razor_pipeline.core.selection import select


def _row(name: str, rank: int, score: float, weights: int = 10, tower: str = "vision") -> ComponentScore:
    return ComponentScore(name, "matrix", tower, 0, weights, 1.0, 1.0, 1.0, 0.0, score, rank)


ROWS = [_row("a", 0, 4.0), _row("b", 1, 3.0, 50), _row("c", 2, 2.0), _row("d", 3, 1.0, 10, "text")]


def test_the_best_come_first():
    assert select(ROWS, 2, 100) == ("a", "b")


def test_what_exceeds_the_budget_is_passed_over_for_the_next_that_fits():
    assert select(ROWS, 4, 30) == ("a", "c", "d")
    assert select(ROWS, 4, 60) == ("a", "b")


def test_the_threshold_is_strict():
    assert select(ROWS, 4, 100, tau=2.0) == ("a", "b")
    assert select(ROWS, 4, 100, tau=1.99) == ("a", "b", "c")
    assert select(ROWS, 4, 100, tau=9.0) == ()


def test_edited_components_are_left_out():
    assert select(ROWS, 2, 100, exclude=("a", "c")) == ("b", "d")


def test_per_tower_takes_turns():
    assert select(ROWS, 2, 100, per_tower=True) == ("a", "d")
    assert select(ROWS, 2, 100) == ("a", "b")  # control: one ranking forgets the weaker tower


@given(
    weights=st.lists(st.integers(1, 40), min_size=1, max_size=12),
    count=st.integers(1, 12),
    budget=st.integers(0, 200),
    per_tower=st.booleans(),
)
def test_the_budget_holds(weights, count, budget, per_tower):
    towers = ("vision", "text")
    rows = [_row(str(i), i, float(-i), w, towers[i % 2]) for i, w in enumerate(weights)]
    chosen = select(rows, count, budget, per_tower=per_tower)
    assert len(chosen) == len(set(chosen)) <= count
    assert sum(weights[int(name)] for name in chosen) <= budget
    if len(chosen) < count:  # then no other fits
        left = budget - sum(weights[int(name)] for name in chosen)
        assert all(w > left for i, w in enumerate(weights) if str(i) not in chosen)
