"""That base + edit is the promoted model is checked for every family, whatever names its files give to weights."""

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
from razor_pipeline.requests.verification import _composes, _Made


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
    made = _Made(tmp_path / "made", weights, parent)
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
