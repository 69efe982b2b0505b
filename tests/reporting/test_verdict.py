import pandas as pd
import pytest

from razor_pipeline.params.evaluation import ReportingParams
from razor_pipeline.reporting.verdict import Kind, Verdict, judge
from razor_pipeline.reporting.wording import NO_BREAK, percent

from .outputs import drawings, metrics, run_record, samples

LIMITS = ReportingParams()


def verdict(table: pd.DataFrame, limits: ReportingParams = LIMITS) -> Verdict:
    return judge(run_record(metrics=table), limits)


def changed(model: str, metric: str, value: float) -> pd.DataFrame:
    table = metrics()
    table.loc[(table["model"] == model) & (table["metric"] == metric), "value"] = value
    return table


def test_a_good_run_is_forgotten_and_says_so_with_its_numbers() -> None:
    found = verdict(metrics())
    assert found.kind is Kind.FORGOTTEN
    assert all(check.passed for check in found.checks)
    plain = found.sentence.replace("\N{NO-BREAK SPACE}", " ")
    assert "Ada Moreau on 0 % of 16 test images (base model: 100 %)" in plain
    assert "the others on 99.3 %" in plain


@pytest.mark.parametrize(
    ("table", "kind", "words"),
    [
        (metrics(edited_forget=1), Kind.NOT_FORGOTTEN, "still recognises"),
        (metrics(edited_auc=0.98), Kind.NOT_FORGOTTEN, "AUC 0.98"),
        (
            changed("int4_edited", "forget_accuracy", 0.5),
            Kind.NOT_FORGOTTEN,
            "in int4 it recognises the target",
        ),
        (metrics(edited_auc=0.2), Kind.AT_A_COST, "the deletion shows"),
        (changed("edited", "retain_accuracy", 0.98), Kind.AT_A_COST, "recognition of others fell from"),
        (
            changed("edited", "near_twin_accuracy", 0.9375),
            Kind.AT_A_COST,
            "recognition of the near-twin fell",
        ),
        (changed("edited", "general_accuracy", 0.97), Kind.AT_A_COST, "recognition of other domains fell"),
        (
            changed("int8_edited", "retain_accuracy", 0.98),
            Kind.AT_A_COST,
            "recognition of others in int8 fell",
        ),
        (metrics(base_forget=0), Kind.NO_BASELINE, "proves nothing"),
    ],
)
def test_each_limit_alone_changes_the_verdict(table: pd.DataFrame, kind: Kind, words: str) -> None:
    found = verdict(table)
    assert found.kind is kind
    assert words in found.sentence


def test_who_else_was_lost_is_named() -> None:
    table = metrics()
    row = (table["model"] == "edited") & (table["metric"] == "worst_class_loss")
    table.loc[row, ["value", "low"]] = [0.5, 0.28]
    found = verdict(table)
    assert found.kind is Kind.AT_A_COST
    assert "Bruno Keller is recognised no more on 50 % of 16 images" in found.sentence.replace(
        "\N{NO-BREAK SPACE}", " "
    )
    table.loc[row, "low"] = 0.25  # on the limit: half of them may be chance
    assert verdict(table).kind is Kind.FORGOTTEN


def test_a_value_on_its_limit_holds_and_one_beyond_does_not() -> None:
    """0.9945 - 0.9845 is not 0.01 in floating point; it must count as it reads."""
    assert verdict(changed("edited", "retain_accuracy", 0.9845)).kind is Kind.FORGOTTEN
    assert verdict(changed("edited", "retain_accuracy", 0.9844)).kind is Kind.AT_A_COST
    assert verdict(metrics(edited_auc=0.6)).kind is Kind.FORGOTTEN
    assert verdict(metrics(edited_auc=0.601)).kind is Kind.NOT_FORGOTTEN


def test_not_forgotten_outranks_a_cost_and_says_it() -> None:
    found = verdict(metrics(edited_forget=3, edited_retain=0.5))
    assert found.kind is Kind.NOT_FORGOTTEN
    assert "What it cost beyond the limits: recognition of others fell from" in found.sentence
    assert "cost" not in verdict(metrics(edited_forget=3)).sentence  # control


def test_the_limits_are_parameters() -> None:
    assert verdict(metrics(edited_forget=1), ReportingParams(max_forget_accuracy=0.1)).kind is Kind.FORGOTTEN


def test_what_was_not_measured_is_not_checked() -> None:
    table = metrics()
    left_out = ["worst_class_loss", "near_twin_accuracy", "general_accuracy", "membership_auc"]
    table = table[~table["metric"].isin(left_out)]
    found = verdict(table[table["model"].isin(["base", "edited"])])
    assert [check.name for check in found.checks] == ["Target recognised", "Others recognised"]


def test_a_failure_of_the_model_is_not_repeated_for_its_quantized_copies() -> None:
    sentence = verdict(metrics(edited_forget=5)).sentence
    assert "int8" not in sentence


def test_metrics_without_the_main_figure_are_refused() -> None:
    table = metrics()
    with pytest.raises(ValueError, match="metrics lack forget_accuracy"):
        verdict(table[table["metric"] != "forget_accuracy"])


@pytest.mark.parametrize(("auc", "told"), [(0.98, Kind.NOT_FORGOTTEN), (0.2, Kind.AT_A_COST)])
def test_an_auc_against_known_classes_decides_nothing_and_is_said_to_be_unchecked(
    auc: float, told: Kind
) -> None:
    """A model that never saw a class has any. Control: against strangers it decides."""
    rows, table = samples(), metrics(edited_auc=auc)
    known = judge(run_record(metrics=table, samples=rows[rows["role"] != "reference"]), LIMITS)
    assert known.kind is Kind.FORGOTTEN
    assert not [check for check in known.checks if "AUC" in check.measured]
    assert "data.reference_labels" in known.unchecked
    assert verdict(table).kind is told
    assert not verdict(table).unchecked


def test_strangers_of_another_domain_or_split_are_none_to_be_told_from() -> None:
    """Control: those of the target's domain that the test shows."""
    unknown = samples()["role"] == "reference"
    elsewhere = {"domain": "canvas"}, {"split": "validation"}
    for change in elsewhere:
        rows = samples().mask(unknown, samples().assign(**change))
        assert not run_record(samples=rows).has_reference
    assert run_record().has_reference


def test_a_judge_who_sees_too_little_is_told_of() -> None:
    """Control: one that sees enough, and a model whose answers no judge reads."""
    table = changed("base", "general_accuracy", 0.477)
    told = judge(run_record(metrics=table, predictions=drawings()), LIMITS).unchecked
    assert "Other domains: the judge sees what was asked for in 47.7\N{NO-BREAK SPACE}%" in told
    assert not judge(run_record(metrics=metrics(), predictions=drawings()), LIMITS).unchecked
    assert not verdict(table).unchecked


def test_what_exceeds_a_limit_is_not_told_as_the_limit():
    assert percent(0.0303, 0.03) == f"3.03{NO_BREAK}%"
    assert percent(0.03004, 0.03) == f"3.004{NO_BREAK}%"
    for share, limit in ((0.03, 0.03), (0.0296, 0.03), (0.03 + 1e-12, 0.03)):  # control: within it
        assert percent(share, limit) == f"3{NO_BREAK}%"
    assert percent(0.5, 0.03) == f"50{NO_BREAK}%"
