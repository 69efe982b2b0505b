"""Selection: best first, never beyond the budget, the threshold or what is edited already."""

from hypothesis import given
from hypothesis import strategies as st

from razor_pipeline.core.scoring import ComponentScore
from razor_pipeline.core.selection import select, selectable


def _table(*rows: tuple[str, float, int, str]) -> list[ComponentScore]:
    """Of name, score, weights and tower, the highest score first."""
    towers = [tower for *_, tower in rows]
    return [
        ComponentScore(
            name, "matrix", tower, 0, weights, 1.0, 1.0, 1.0, 0.0, score, i, towers[:i].count(tower)
        )
        for i, (name, score, weights, tower) in enumerate(rows)
    ]


ROWS = _table(
    ("a", 4.0, 10, "vision"), ("b", 3.0, 50, "vision"), ("c", 2.0, 10, "vision"), ("d", 1.0, 10, "text")
)


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
    rows = _table(*((str(i), float(-i), w, ("vision", "text")[i % 2]) for i, w in enumerate(weights)))
    chosen = select(rows, count, budget, per_tower=per_tower)
    assert len(chosen) == len(set(chosen)) <= count
    assert sum(weights[int(name)] for name in chosen) <= budget
    if len(chosen) < count:  # then no other fits
        left = budget - sum(weights[int(name)] for name in chosen)
        assert all(w > left for i, w in enumerate(weights) if str(i) not in chosen)


@given(
    parts=st.lists(
        st.tuples(st.integers(1, 40), st.sampled_from(["vision", "text"])), min_size=1, max_size=12
    ),
    count=st.integers(1, 4),
    tau=st.none() | st.floats(-12.0, 0.0),
    per_tower=st.booleans(),
)
def test_of_what_could_be_chosen_the_same_is_chosen_as_of_all_whatever_the_budget(
    parts, count, tau, per_tower
):
    rows = _table(*((str(i), float(-i), w, tower) for i, (w, tower) in enumerate(parts)))
    left = set(selectable(rows, count, tau, per_tower))
    few = [row for row in rows if row.component in left]
    for budget in range(sum(w for w, _ in parts) + 1):
        assert select(few, count, budget, tau, per_tower) == select(rows, count, budget, tau, per_tower)


def test_what_no_budget_could_choose_is_left_out():
    assert selectable(ROWS, 1) == ("a",)
    assert selectable(ROWS, 1, per_tower=True) == ("a",)
    large = _table(("a", 4.0, 50, "vision"), ("b", 3.0, 10, "vision"), ("c", 2.0, 20, "vision"))
    assert selectable(large, 1) == ("a", "b")  # however few may be edited
