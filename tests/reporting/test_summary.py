import json

import pandas as pd

from razor_pipeline.params.evaluation import ReportingParams
from razor_pipeline.reporting.record import RunRecord
from razor_pipeline.reporting.summary import flat_summary
from razor_pipeline.reporting.verdict import judge

from .outputs import edit_report, metrics, run_record

WITH_INTERVALS = (
    "forget_accuracy",
    "forget_accuracy_top5",
    "retain_accuracy",
    "general_accuracy",
    "retrieval_agreement",
    "privacy_leakage",
    "membership_auc",
    "near_twin_accuracy",
)
PLAIN = [
    "family",
    "scenario",
    "target",
    "method",
    "seed",
    "components_edited",
    "components_total",
    "components_hardened",
    "edited_fraction",
    "rounds",
    "stop_reason",
    "score_seconds",
    "edit_seconds",
    "peak_rss_mb",
    "delta_mb",
    "verdict",
]


def flat(run: RunRecord) -> dict[str, object]:
    return flat_summary(run, judge(run, ReportingParams()))


def test_it_has_every_promised_key_and_is_flat_json() -> None:
    found = flat(run_record())
    wanted = {
        f"{m}_{k}{e}" for m in ("base", "edited") for k in WITH_INTERVALS for e in ("", "_low", "_high")
    }
    quantized = {
        f"quantized.{s}.{m}_{k}" for s in ("int8", "int4") for m in ("base", "edited") for k in WITH_INTERVALS
    }
    assert wanted | quantized | set(PLAIN) <= set(found)
    assert all(isinstance(value, str | int | float) for value in found.values())
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_values_are_those_of_their_own_model() -> None:
    found = flat(run_record())
    assert (found["base_forget_accuracy"], found["edited_forget_accuracy"]) == (1.0, 0.0)
    assert found["quantized.int4.edited_retain_accuracy"] == 0.9929 - 0.001
    report = edit_report()
    assert found["edited_fraction"] == report["weights_edited"] / report["weights_total"]
    assert found["delta_mb"] == 3.4


def test_what_was_not_measured_is_absent_rather_than_null() -> None:
    table = metrics()
    found = flat(run_record(metrics=table[table["metric"] != "general_accuracy"]))
    assert not [key for key in found if "general_accuracy" in key]


def test_nf4_has_no_share_of_changed_bins() -> None:
    quantization = pd.DataFrame(
        {"scheme": ["int8", "nf4"], "changed_bin_share": [0.8, None], "mb": [2.9, 1.9]}
    )
    found = flat(run_record(quantization=quantization))
    assert found["quantized.nf4.mb"] == 1.9
    assert "quantized.nf4.changed_bin_share" not in found
    assert found["quantized.int8.changed_bin_share"] == 0.8
