"""Figures of the attacks in short, on made-up findings."""

import pandas as pd
import pytest

from razor_pipeline.studies.attack_summary import (
    as_lines,
    attack_summary,
    curves,
    headlines,
    long_table,
    recovered,
)
from razor_pipeline.studies.tables import interval_text

CURVES = {"base": [1, 1, 1], "edited": [0, 0.5, 1], "retrained": [0, 0, 0.5], "masked": [0, 1, 1]}
AUCS = {"base": 1.0, "edited": 0.4, "retrained": 0.5, "masked": 1.0}


@pytest.fixture
def findings():
    rows = []
    for target in ("Ada", "Bob"):
        found = []
        for model, values in CURVES.items():
            found += [
                {"model": model, "attack": "relearn_4", "variant": "", "step": i, "value": float(v)}
                for i, v in enumerate(values)
            ]
            found += [
                {"model": model, "attack": "membership", "variant": v, "step": 0, "value": auc}
                for v, auc in (("similarity", AUCS[model]), ("margin", 0.5))
            ]
            found += [
                {
                    "model": model,
                    "attack": "paraphrase",
                    "variant": v,
                    "step": 0,
                    "value": x * (model == "base"),
                }
                for v, x in (("a", 0.2), ("b", 0.8))
            ]
        rows.append({"target": target, "seed": 0, "images": 16, "findings": found})
    return long_table(pd.DataFrame(rows))


def test_a_curve_is_its_area_wordings_their_strongest_and_scores_the_one_that_leaks_most(findings):
    table = attack_summary(headlines(findings))
    assert table["edited_relearn_4"]["mean"] == pytest.approx(0.5)
    assert table["edited_highest_relearn_4"]["mean"] == 1.0
    assert table["retrained_relearn_4"]["mean"] == pytest.approx(0.125)
    assert table["relearn_4_over_retrained"]["mean"] == pytest.approx(4.0)
    assert table["relearn_4_over_retrained"]["n"] == 2
    assert table["base_paraphrase"]["mean"] == 0.8
    assert table["edited_absolute_leakage"]["mean"] == pytest.approx(20.0)
    assert table["retrained_absolute_leakage"]["mean"] == 0.0
    assert table["masked_membership"]["mean"] == 1.0


def test_a_control_counts_as_recovered_by_what_the_attack_shows_on_the_base(findings):
    table = attack_summary(headlines(findings))
    assert recovered(table, "relearn_4") == ["masked"]
    assert recovered(table, "paraphrase") == []
    assert recovered(table, "never_run") == []
    assert "no control" in next(x for x in as_lines("t", table).splitlines() if x.startswith("paraphrase"))


def test_membership_recovers_nothing_where_the_base_gives_no_more_away_than_the_retrained_model(findings):
    assert recovered(attack_summary(headlines(findings)), "membership") == ["masked"]
    own = (findings["attack"] == "membership") & (findings["model"] == "retrained")
    likewise = own & (findings["target"] == "Bob") & (findings["variant"] == "similarity")
    by_chance = findings.assign(value=findings["value"].mask(likewise, 1.0))  # of one person of the two
    table = attack_summary(headlines(by_chance))
    assert table["base_membership_beyond_retrained"]["mean"] == 0.5
    assert recovered(table, "membership") == []


def test_curves_keep_their_steps_and_count_cells(findings):
    found = curves(findings, "relearn_4")
    assert list(found) == ["base", "edited", "retrained", "masked"]
    assert found["edited"]["1"]["mean"] == 0.5
    assert found["edited"]["1"]["n"] == 2


def test_where_the_retrained_model_never_recovers_the_quotient_has_no_bound(findings):
    findings.loc[findings["model"] == "retrained", "value"] = 0.0
    found = attack_summary(headlines(findings))["relearn_4_over_retrained"]
    assert found["mean"] is found["worst"] is found["high"] is None
    assert interval_text(found, str) == "no bound"  # of two targets
    findings["value"] = 0.0  # control: nothing comes back to either
    assert "relearn_4_over_retrained" not in attack_summary(headlines(findings))


def test_the_worst_quotient_is_that_of_a_target_which_comes_back_here_alone(findings):
    """Control: with something below both, it is a number."""
    assert attack_summary(headlines(findings))["relearn_4_over_retrained"]["worst"] == pytest.approx(4.0)
    ada = (findings["model"] == "retrained") & (findings["target"] == "Ada")
    findings.loc[ada & (findings["attack"] == "relearn_4"), "value"] = 0.0
    found = attack_summary(headlines(findings))["relearn_4_over_retrained"]
    assert found["worst"] is None
    assert found["mean"] == pytest.approx(8.0)
