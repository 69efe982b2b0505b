"""That base + edit is the promoted model is checked for every family, whatever names its files give to weights."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from families.cases import CASES, Case

from razor_pipeline.core.weight_edit import WeightEdit
from razor_pipeline.datasets.weight_edit import WeightEditDataset
from razor_pipeline.requests import chain
from razor_pipeline.requests.chain import EDIT, EVIDENCE, MODEL
from razor_pipeline.requests.tables import Version
from razor_pipeline.requests.verification import _composes, _let_through, _Made, _of_this_model


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_base_and_edit_make_the_promoted_model_and_no_other(
    case: Case, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    family = case.build()
    family.save_pretrained(tmp_path / "base")
    component = family.components("matrix")[0]
    parameters = dict(family.module.named_parameters())
    dtype = family.stored_dtype
    before = {
        part.key: part.view(parameters[part.parameter]).detach().to("cpu", dtype, copy=True)
        for part in component.slices
    }
    after = {key: piece + 0.125 for key, piece in before.items()}
    edit = WeightEdit(tuple(component.slices), before, after, (component.name,), {"family": family.name})
    edit.apply(parameters)
    family.save_pretrained(tmp_path / "made" / MODEL)
    WeightEditDataset(filepath=str(tmp_path / "made" / EVIDENCE / EDIT)).save(edit)
    weights = chain.directory_sha256(tmp_path / "made" / MODEL)
    parent = Version(number=0, path=str(tmp_path / "base"))
    made = _Made(tmp_path / "made", weights, parent, "REQ-2026-0001")
    capfd.readouterr()
    assert _composes(made) is None
    assert capfd.readouterr().err == ""  # no bar per file of weights
    with torch.no_grad():  # control: a bit elsewhere
        next(p for name, p in parameters.items() if name != component.slices[0].parameter).flatten()[0] += (
            0.125
        )
    family.save_pretrained(tmp_path / "made" / MODEL)
    other = chain.directory_sha256(tmp_path / "made" / MODEL)
    fault = _composes(replace(made, weights=other))
    assert fault == "applying the edit gives other weights"


GATE = {"name": "target recognised", "measured": 0.5, "rule": "at most", "limit": 0.7, "n": 8}


@pytest.mark.parametrize(
    ("outcome", "gates", "subject", "failed", "fault"),
    [
        ("passed", [GATE], "REQ-2026-0001", False, None),
        ("failed", [GATE | {"measured": 0.9}], "REQ-2026-0001", True, None),
        ("not_measured", [], "without REQ-2026-0001", False, None),
        ("failed", [GATE | {"measured": 0.9}], "REQ-2026-0001", False, "that it failed: target recognised"),
        ("passed", [GATE | {"measured": 0.9}], "REQ-2026-0001", False, "that it failed: target recognised"),
        ("not_measured", [], "REQ-2026-0001", False, "held against no gate"),
        ("passed", [], "without REQ-2026-0001", False, "held against no gate"),
        ("passed", [GATE], "REQ-2026-0001", True, "it failed, and its evidence says passed"),
    ],
)
def test_what_failed_its_gates_does_not_verify_as_what_serves(
    tmp_path: Path,
    outcome: str,
    gates: list[dict[str, object]],
    subject: str,
    failed: bool,
    fault: str | None,
) -> None:
    """Who can write to the database can append lines that let it serve, and their hashes and anchors hold."""
    parent = Version(number=0, path="x", weights="a", edits="[]")
    record = {
        "outcome": outcome,
        "gates": [gate | {"passed": True} for gate in gates],
        "request": subject,
        "edited_weights_sha256": "b",
        "parent": chain.told(parent),
    }
    (tmp_path / EVIDENCE).mkdir()
    (tmp_path / EVIDENCE / "evidence.json").write_text(json.dumps(record), encoding="utf-8")
    made = _Made(tmp_path, "b", parent, subject, failed)
    found = _let_through(made)
    assert found is None if fault is None else fault in (found or "")
    assert _of_this_model(made) is None
    assert "REQ-2026-0009" in (_of_this_model(replace(made, subject="REQ-2026-0009")) or "")
