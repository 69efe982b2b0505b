"""The classifier's gap, which layers of it may be edited, and the worked example of a published one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from kedro.config import OmegaConfigLoader
from kedro.io import DatasetError
from transformers import ViTForImageClassification

from razor_pipeline.core import losses
from razor_pipeline.datasets.pretrained import COMMIT, PretrainedDataset
from razor_pipeline.families.vit import VitBatch, VitFamily
from razor_pipeline.methods.scoring import editable, score
from razor_pipeline.params.razor import RazorParams, ScoringParams
from razor_pipeline.settings import CONFIG_LOADER_ARGS

from .cases import CASES

ROOT = Path(__file__).parents[2]
[VIT] = (case for case in CASES if case.name == "vit")


def pictures(count: int) -> VitBatch:
    """Random images of class 0."""
    generator = torch.Generator().manual_seed(0)
    return VitBatch(torch.randn(count, 3, 32, 32, generator=generator), torch.zeros(count, dtype=torch.long))


def test_the_gap_has_a_slope_where_the_model_is_certain() -> None:
    """A log-probability has none there, and a linear step would see no sample that is known for sure."""
    model, batch = VIT.build(), pictures(4)
    never_seen = replace(pictures(8), class_B=torch.ones(8, dtype=torch.long))
    bias = model.module.classifier.bias
    with torch.no_grad():
        bias[0] += 60.0  # the probability of class 0 rounds to 1
        reference_M = model.knowledge(never_seen)
    bias.requires_grad_(True)
    [slope] = torch.autograd.grad(model.gap([batch], reference_M, 0.45, ()), bias)
    flat = losses.calibration(model.knowledge(batch), losses.shifted_to_auc(reference_M, 0.45))
    [control] = torch.autograd.grad(flat, bias)
    assert float(slope[0]) > 1.0
    assert float(control[0]) == pytest.approx(0.0, abs=1e-6)


def test_the_gap_is_nothing_between_samples_that_are_known_alike() -> None:
    model = VIT.build()
    same = pictures(6)
    known_B = model.knowledge(same)
    assert float(model.gap([same], known_B, 0.5, ())) == pytest.approx(0.0, abs=1e-9)
    assert float(model.gap([same], known_B, 0.2, ())) > 0.0  # control


@pytest.mark.parametrize("granularity", ["matrix", "head", "mixed"])
def test_a_model_without_biases_of_queries_keys_and_values_is_edited_like_any_other(granularity) -> None:
    plain = VIT.build()
    config = plain.module.config
    config.qkv_bias = False
    bare = VitFamily(ViTForImageClassification(config), plain.image_processor)
    names = {name for name, _ in bare.module.named_parameters()}
    held = {part.parameter for c in bare.components(granularity) for part in c.slices}
    assert held <= names
    assert {name for name in names if "_proj.weight" in name} <= held
    assert {name for name in names if "o_proj.bias" in name} <= held or granularity != "matrix"
    params = RazorParams(scoring=ScoringParams(granularity=granularity, batch_size=4))
    assert score(bare, VIT.task(), params.scoring, torch.Generator()).rows


def test_a_name_that_several_classes_share_is_refused() -> None:
    """ImageNet has two cranes, a bird and a machine."""
    model = VIT.build().module
    model.config.id2label = {0: "crane", 1: "goose", 2: "crane"}
    family = VitFamily(model, None)
    assert family.classes_of(["goose"]) == [1]
    with pytest.raises(ValueError, match="'crane' is the name of several classes"):
        family.classes_of(["goose", "crane"])


@pytest.mark.parametrize(
    ("depth", "layers"), [(1.0, {0, 1, 2}), (0.5, {1, 2}), (0.34, {1, 2}), (0.33, {2}), (0.01, {2})]
)
def test_the_last_layers_are_those_nearest_to_the_output(depth: float, layers: set[int]) -> None:
    """Two layers of attention, and the classifier behind them as a third."""
    found = editable(VIT.build(), ScoringParams(depth=depth))
    assert {component.layer for component in found} == layers
    assert "classifier" in {component.name for component in found}


def test_each_tower_counts_its_own_layers() -> None:
    [clip] = (case for case in CASES if case.name == "clip")
    found = editable(clip.build(), ScoringParams(depth=0.5))
    assert {component.tower for component in found} == {"vision", "text"}
    assert len(found) < len(editable(clip.build(), ScoringParams()))


def test_the_published_classifier_is_pinned_and_its_parameters_are_valid() -> None:
    conf = published()
    model = conf["globals"]["model"]
    assert model["family"] == "vit"
    assert COMMIT.fullmatch(model["revision"])
    params = RazorParams.model_validate(conf["parameters"]["razor"])
    zoo = OmegaConfigLoader(str(ROOT / "conf"), env="vit", **CONFIG_LOADER_ARGS)["parameters"]["razor"]
    assert params.search == RazorParams.model_validate(zoo).search
    assert params.scoring.depth == zoo["scoring"]["depth"]


def test_without_a_network_the_published_classifier_is_refused_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    model = published()["globals"]["model"]
    dataset = PretrainedDataset(**model)
    with pytest.raises(DatasetError, match=r"vit-base-patch16-224' does not open as vit: .*connect"):
        dataset.load()


def published() -> OmegaConfigLoader:
    return OmegaConfigLoader(str(ROOT / "conf"), env="vit_b16", **CONFIG_LOADER_ARGS)
