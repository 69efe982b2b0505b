"""A study on an assistant: what a row says of an edit."""

import pytest

from razor_pipeline.core.metrics import Estimate
from razor_pipeline.studies.assistant import compare


def marks(**values):
    named = {
        "forget_accuracy": 1.0,
        "forget_accuracy_leading": 1.0,
        "retain_accuracy": 0.98,
        "general_accuracy": 0.97,
        "neutral_hat": 0.96,
        "neutral_style": 0.99,
        "degenerate_share": 0.0,
    }
    return {name: Estimate(value, value, value, 100) for name, value in (named | values).items()}


def test_a_row_has_drops_the_worst_category_and_what_is_still_named():
    edited = marks(
        forget_accuracy=0.02, forget_accuracy_leading=0.02, neutral_hat=0.91, degenerate_share=0.01
    )
    row = compare(edited, marks())
    assert row["edited_forget_accuracy_leading"] == 0.02
    assert row["neutral_worst_drop"] == pytest.approx(0.05)
    assert row["neutral_style_drop"] == 0.0
    assert row["degenerate_rise"] == pytest.approx(0.01)
    assert row["retain_drop"] == 0.0
    assert "near_twin_drop" not in row  # what was not measured is left out


def test_the_worst_category_is_not_hidden_by_one_that_rose():
    """Control: the mean over categories would say that nothing was lost."""
    row = compare(marks(neutral_hat=0.90, neutral_style=1.05), marks())
    assert row["neutral_worst_drop"] == pytest.approx(0.06)
