"""What is asked of a request's model."""

import numpy as np
import pytest

from razor_pipeline.core.metrics import share
from razor_pipeline.params.evaluation import EvaluationParams
from razor_pipeline.params.requests import GateParams
from razor_pipeline.requests.examination import plain
from razor_pipeline.requests.examiners import examiner
from razor_pipeline.requests.gates import gates
from razor_pipeline.requests.image_examiners import NamingExaminer
from razor_pipeline.requests.report import render_report
from unlearning.places import TARGETS, base, manifest

RECORD = {
    "request": "REQ-2026-0001",
    "outcome": "passed",
    "model": "clip",
    "wording": "",
    "gates": [],
    "earlier_not_measured": [],
    "parent": {"number": 0, "weights": "", "edits": []},
    "edited_weights_sha256": "",
    "audit_anchor": {"line": 1, "sha256": ""},
    "code": {"version": "0", "sha256": ""},
}


def test_the_auc_is_asked_for_where_the_data_has_strangers() -> None:
    """Against known classes a model that never saw the target has any AUC, so no gate may ask; the report says so."""
    target, other = TARGETS[:2]
    rows = manifest()
    few = rows["label"].isin([target, other]) | (rows["role"] == "reference")
    rows = rows[few].assign(role=lambda t: t["role"].mask(t["label"] == target, "forget"))
    for samples, asked in ((rows, True), (rows[rows["role"] != "reference"], False)):
        asked_by = examiner(base(), samples, [], EvaluationParams(), {})
        found = asked_by.examine(base(), target, [])
        assert ("membership_auc" in found["edited"]) is asked
        names = [gate.name for gate in gates(found, GateParams())]
        assert ("target told from strangers, AUC" in names) is asked
        page = render_report(RECORD | {"figures": plain(found), "not_checked": asked_by.not_checked})
        assert ("Not checked" in page) is not asked


@pytest.mark.parametrize(("lost", "passed"), [(8, True), (9, False), (16, False)])
def test_no_class_that_is_kept_may_be_lost(lost: int, passed: bool) -> None:
    """Of 16 images 8 are 28 % beyond doubt."""
    kept = {"retain_accuracy": share(np.arange(800) >= 0)}
    edited = kept | {"worst_class_loss": share(np.arange(16) < lost)}
    limit = GateParams(max_class_loss=0.285)
    [gate] = [
        gate for gate in gates({"base": kept, "edited": edited}, limit) if "any one kept class" in gate.name
    ]
    assert gate.passed is passed
    assert gate.measured == edited["worst_class_loss"].low
    assert gate.n == 16


def test_a_quantized_model_is_held_against_the_base_quantized_alike() -> None:
    """What quantization itself takes from a class is no loss of the edit."""
    target, rows = TARGETS[0], manifest()
    rows = rows.assign(role=rows["role"].mask(rows["label"] == target, "forget"))
    asked_by = examiner(base(), rows, ["int4"], EvaluationParams(), {})
    assert isinstance(asked_by, NamingExaminer)
    perfect = np.eye(len(asked_by.exam.prompts["portraits"]), dtype=np.float32)
    asked_by._of_base[None] = {"portraits": perfect[asked_by.exam.labels("portraits")]}
    asked_by._of_base[None] |= {
        name: scores for name, scores in asked_by.exam.scores(base()).items() if name != "portraits"
    }
    found = asked_by.examine(base(), target, [])
    assert found["int4_edited"]["worst_class_loss"].value == 0.0
    assert found["edited"]["worst_class_loss"].value > 0.0  # control: held against one that was always right


def test_a_drop_that_rounds_to_nothing_has_no_sign() -> None:
    gate = {"name": "drop", "rule": "at most", "limit": 0.02, "n": 240, "passed": True}
    record = RECORD | {"figures": {}, "not_checked": ""}
    for measured, shown in ((-1e-16, "<td>0.0000</td>"), (-0.0042, "<td>-0.0042</td>")):
        assert shown in render_report(record | {"gates": [gate | {"measured": measured}]})
