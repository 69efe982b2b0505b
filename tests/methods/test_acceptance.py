"""The rule that all methods choose by: one mean of three shares, and no part of it goes before another."""

import numpy as np
import pandas as pd
import pytest

from razor_pipeline.core.metrics import share
from razor_pipeline.methods.acceptance import shortfall
from razor_pipeline.methods.validation import Outcome
from razor_pipeline.params.razor import AcceptanceParams

PARAMS = AcceptanceParams(auc_goal=0.45, auc_tolerance=0.05, max_retain_drop=0.01)


def outcome(forget=0.0, auc=0.45, retain=0.98, earlier=0.45):
    return Outcome(forget, (auc, earlier), retain, 0.0)


BASE = outcome(1.0, 1.0, 0.98)


def test_what_meets_all_limits_is_accepted():
    short = shortfall(outcome(auc=0.41, retain=0.975), BASE, PARAMS)
    assert short.gap == 0.0
    assert short.forgotten


@pytest.mark.parametrize(
    ("given", "gap"),
    [
        ({"forget": 0.3}, 0.1),
        ({"auc": 0.8}, 0.1),
        ({"auc": 0.1}, 0.1),  # below the window is a leak as well, whatever another target's is
        ({"auc": 0.45, "earlier": 0.8}, 0.1),
        ({"retain": 0.67}, 0.1),
        ({"forget": 0.3, "auc": 0.8, "retain": 0.67}, 0.3),
    ],
)
def test_the_gap_is_the_mean_of_the_three(given, gap):
    assert shortfall(outcome(**given), BASE, PARAMS).gap == pytest.approx(gap)


def test_where_drawings_are_looked_at_the_general_accuracy_takes_the_place_of_the_auc():
    base = Outcome(1.0, (), 0.98, general_accuracy=0.98)
    assert shortfall(Outcome(0.0, (), 0.98, general_accuracy=0.975), base, PARAMS).kept
    lost = shortfall(Outcome(0.0, (), 0.98, general_accuracy=0.67), base, PARAMS)
    assert lost.gap == pytest.approx(0.1)
    assert lost.forgotten
    assert not lost.kept


@pytest.mark.parametrize(
    ("lost", "images", "kept"),
    [
        (10, 12, False),
        (6, 12, False),  # 0.254 of them beyond doubt
        (5, 12, True),
        (1, 2, True),  # half of two are no proof
    ],
)
def test_no_class_may_be_lost_whatever_the_mean_over_all_says(lost, images, kept):
    labels = ["Bob"] * images + [f"other {place // 12}" for place in range(12 * 99)]
    right = pd.Series(True, index=labels)
    less = pd.Series(np.arange(len(labels)) >= lost, index=labels)
    base, found = (Outcome(0.0, (0.45,), mean, right=one) for mean, one in ((1.0, right), (0.992, less)))
    short = shortfall(found, base, PARAMS)
    assert short.kept is kept
    assert short.gap == pytest.approx(0.0 if kept else (share(np.arange(images) < lost).low - 0.25) / 3.0)
    assert shortfall(found, base, AcceptanceParams(max_class_loss=1.0, auc_tolerance=0.05)).kept  # control


def test_who_is_still_agreed_to_be_there_is_not_forgotten():
    agrees = Outcome(0.0, (0.45,), 0.98, agreement=0.3)
    short = shortfall(agrees, BASE, PARAMS)
    assert short.gap == pytest.approx(0.1)
    assert not short.forgotten
    assert agrees.left_to_forget("forget_accuracy") == 0.0
    assert shortfall(Outcome(0.0, (0.45,), 0.98, agreement=0.0), BASE, PARAMS).forgotten  # control


def test_what_prompts_say_of_a_class_is_no_proof_that_it_is_lost():
    """Where a model draws, all rows of a prompt have one score: a dozen of them are one."""
    right = pd.Series(True, index=["Mosaic"] * 12 + ["Pop Art"] * 12)
    base = Outcome(1.0, (), 0.98, general_accuracy=0.98, right=right)
    lost = Outcome(0.0, (), 0.98, general_accuracy=0.98, right=right & (right.index != "Mosaic"))
    assert shortfall(lost, base, PARAMS, reference=False).kept
    assert not shortfall(lost, base, PARAMS).kept  # control


def test_leakage_is_not_bought_with_all_of_what_is_kept():
    """Compared part by part, in this order, the second would have won: it leaks a little less."""
    keeps, destroys = outcome(auc=0.80, retain=0.95), outcome(auc=0.70, retain=0.2)
    assert shortfall(keeps, BASE, PARAMS).gap < shortfall(destroys, BASE, PARAMS).gap


def test_where_accuracy_alone_decides_the_auc_plays_no_part():
    assert shortfall(outcome(auc=1.0), BASE, PARAMS, reference=False).gap == 0.0
    assert shortfall(outcome(auc=1.0), BASE, AcceptanceParams(auc_tolerance=None)).gap == 0.0
    assert shortfall(outcome(auc=1.0), BASE, PARAMS).gap > 0.0
