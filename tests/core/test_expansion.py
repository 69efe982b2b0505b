"""The bounded loop: every reason to stop, and the best state kept."""

import pytest

from razor_pipeline.core.expansion import Attempt, StopReason, expand


def attempts(*found):
    """An attempt function that plays back results, and notes from which state each round went on."""
    seen = []

    def attempt(round_, best):
        seen.append(best)
        return found[round_]

    return attempt, seen


def result(state, gap, forgotten=False, retained=True):
    return Attempt(state, gap, forgotten, retained)


def test_it_stops_at_once_when_the_first_round_meets_the_target():
    attempt, seen = attempts(result("a", 0.0, forgotten=True))
    expansion = expand(attempt, 6)
    assert (expansion.best.state, expansion.rounds, expansion.reason) == ("a", 1, StopReason.TARGET_MET)
    assert seen == [None]


def test_it_grows_while_forgetting_falls_short_and_starts_from_the_best():
    attempt, seen = attempts(result("a", 3.0), result("b", 2.0), result("c", 0.0, forgotten=True))
    expansion = expand(attempt, 6)
    assert (expansion.best.state, expansion.rounds, expansion.reason) == ("c", 3, StopReason.TARGET_MET)
    assert seen == [None, "a", "b"]


def test_a_round_that_brings_nothing_is_not_kept():
    attempt, _ = attempts(result("a", 2.0), result("b", 2.0))
    expansion = expand(attempt, 6)
    assert (expansion.best.state, expansion.reason) == ("a", StopReason.NO_GAIN)


def test_no_component_left_ends_it_and_in_the_first_round_is_an_error():
    attempt, _ = attempts(result("a", 2.0), None)
    assert expand(attempt, 6).reason == StopReason.NO_GAIN
    with pytest.raises(ValueError, match="max_edited_share"):
        expand(lambda *_: None, 6)


def test_forgotten_below_the_retain_floor_says_so():
    attempt, _ = attempts(result("a", 1.0, forgotten=True, retained=False), None)
    assert expand(attempt, 6).reason == StopReason.RETAIN_FLOOR


def test_the_bound_on_rounds_holds():
    attempt, seen = attempts(*(result(str(i), 9.0 - i) for i in range(9)))
    expansion = expand(attempt, 4)
    assert (expansion.rounds, expansion.reason, len(seen)) == (4, StopReason.MAX_ROUNDS, 4)
