"""The marks of an examination that its own arithmetic decides."""

import numpy as np
import pandas as pd
import pytest

from razor_pipeline.families.exam import Answers, Exam, leakage, worst_membership


@pytest.mark.parametrize(("reference", "value"), [(0.5, 0.0), (0.1, 0.5)])
def test_of_several_targets_the_one_that_leaks_most_counts(reference, value):
    """Against a retrained model that tells a target from strangers the wrong way round, chance leaks more."""
    nonmember = np.arange(20, dtype=np.float32)
    member = {"at chance": nonmember, "as retrained": nonmember - 100.0}
    found = worst_membership(member, dict.fromkeys(member, nonmember), reference)
    assert found.value == value


def test_leaks_are_told_from_other_images_of_the_same_target():
    """However the target lies among strangers; of several targets the one that leaks most counts."""
    ties = np.arange(20, dtype=np.float32)
    held_out = {"not trained on": ties, "trained on": ties}
    member = {"not trained on": ties, "trained on": ties + 5.0}
    found = leakage(member, held_out)
    assert found.value == leakage({"x": ties + 5.0}, {"x": ties}).value > 0.0
    assert found.low <= found.value <= found.high
    assert leakage({"x": ties}, {"x": ties}).value == 0.0


def test_a_target_that_is_still_named_does_not_hide_among_others():
    exam = object.__new__(Exam)  # whose scores are written by hand
    exam.targets, exam.domain = ["a", "b"], "people"
    rows = pd.DataFrame({"label": ["a"] * 4 + ["b"] * 4 + ["c"] * 4, "near_twin": ""})
    exam.rows, exam.unknown_labels = {"people": rows}, np.array(["s"] * 3)
    exam.prompts = {"people": {name: (name,) for name in "abc"}}
    given = np.eye(3, dtype=np.float32)[[2, 2, 2, 2, 1, 2, 2, 2, 2, 2, 2, 2]]
    ties = {name: np.arange(3, dtype=np.float32) for name in "ab"}
    answers = Answers({"people": given}, ties, ties)
    marks = exam.mark(answers, answers)
    assert (marks["forget_accuracy"].value, marks["forget_accuracy"].n) == (0.25, 4)
    assert marks["retain_accuracy"].value == 1.0
