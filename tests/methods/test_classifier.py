"""RAZOR on the zoo's classifier: one class is forgotten, the others are kept, and what a step looks at is bounded."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import torch
from kedro.config import OmegaConfigLoader

from razor_pipeline.atelier import generate
from razor_pipeline.core.weight_edit import applied
from razor_pipeline.families import VitFamily
from razor_pipeline.families.naming_exam import NamingExam
from razor_pipeline.manifest import arranged
from razor_pipeline.methods.calibrating import Calibration
from razor_pipeline.methods.razor import razor
from razor_pipeline.methods.task import unlearning_task
from razor_pipeline.methods.validation import Validation
from razor_pipeline.params.data import AtelierParams, DataParams, SplitCounts, SplittingParams
from razor_pipeline.params.razor import RazorParams
from razor_pipeline.settings import CONFIG_LOADER_ARGS
from razor_pipeline.splitting import split_samples

from .conftest import ZOO

TARGET = "teapot"  # in no table
CONF = OmegaConfigLoader(str(Path(__file__).parents[2] / "conf"), env="vit", **CONFIG_LOADER_ARGS)
PARAMS = RazorParams.model_validate(CONF["parameters"]["razor"])


@pytest.fixture(scope="module")
def drawings() -> pd.DataFrame:
    none = SplitCounts(edit=0, validation=0, test=0)
    canvas = SplitCounts(edit=4, validation=1, test=2)
    return arranged(generate(AtelierParams(portraits=none, canvas=canvas)), DataParams(captions="class"))


@pytest.fixture(scope="module")
def samples(drawings: pd.DataFrame) -> pd.DataFrame:
    sizes = SplittingParams(max_retain_samples=176, max_validation_samples=88)
    return split_samples(drawings, TARGET, sizes, 0)


def judge() -> VitFamily:
    return VitFamily.from_pretrained(str(ZOO / "vit_objects"))


def test_a_class_is_forgotten_and_the_others_are_kept(samples: pd.DataFrame) -> None:
    model = judge()
    exam = NamingExam(model, samples)
    before = exam.put_to(model)
    result = razor(model, unlearning_task(samples), PARAMS, torch.Generator().manual_seed(0))
    with applied(dict(model.module.named_parameters()), result.edit):
        after = exam.put_to(model)
    base, edited = exam.mark(before, before), exam.mark(after, before)
    assert base["forget_accuracy"].value > 0.9  # control: it was known
    assert edited["forget_accuracy"].value <= 0.05
    assert edited["forget_accuracy_top5"].value <= 0.05  # nor is it the second guess
    assert base["retain_accuracy"].value - edited["retain_accuracy"].value <= 0.01
    assert {name.split(".")[1] for name in result.edit.components if "attention" in name} <= {"2", "3"}
    total = sum(parameter.numel() for parameter in model.module.parameters())
    assert result.edit.weights <= PARAMS.max_edited_share * total


@pytest.mark.parametrize(("samples_of_a_kind", "expected"), [(16, 16), (512, 48)])
def test_a_step_looks_at_so_many_images_of_the_target_evenly_spread(
    samples: pd.DataFrame, samples_of_a_kind: int, expected: int
) -> None:
    task = unlearning_task(samples)
    params = PARAMS.model_copy(
        update={"repair": PARAMS.repair.model_copy(update={"samples": samples_of_a_kind})}
    )
    model = judge()
    validation = Validation(model, task)
    step = Calibration(model, task, params, torch.Generator().manual_seed(0), model, validation)
    [target] = step.forget
    assert sum(len(batch) for batch in target) == expected
    assert max(len(batch) for batch in target) <= params.scoring.batch_size
    assert step.slips is None  # it is asked for classes, not by text


def test_a_class_that_the_model_has_not_can_be_a_stranger(drawings: pd.DataFrame) -> None:
    """Its images are asked for the target alone; no caption of theirs is read."""
    unseen = drawings["label"] == "cat"
    labels = {"caption": "zebra", "prompt": "zebra", "label": "zebra", "role": "reference"}
    strangers = drawings[unseen & (drawings["split"] != "edit")].assign(**labels)
    sizes = SplittingParams(max_retain_samples=60, max_validation_samples=60)
    samples = split_samples(pd.concat([drawings[~unseen], strangers]), TARGET, sizes, 0)
    model = judge()
    with pytest.raises(ValueError, match="'zebra' is not a class"):
        model.batches(strangers, 8)  # control
    exam = NamingExam(model, samples)
    assert set(exam.reference_labels) == {"zebra"}
    answers = exam.put_to(model)
    assert exam.mark(answers, answers)["membership_auc"].value > 0.9


def test_classes_that_a_gold_standard_never_saw_do_not_count(samples: pd.DataFrame) -> None:
    """Nothing that the model says of them changes a figure, and all of the others do."""
    model = judge()
    exam = NamingExam(model, samples)
    answers = exam.put_to(model)
    rows = exam.rows[exam.domain]["label"]
    blind = exam.put_to(model)
    blind.scores[exam.domain][(rows == "cat").to_numpy()] = 0.0  # as good as guessed
    blind.nonmember[TARGET][exam.reference_labels == "cat"] = 99.0
    whole, left = exam.mark(blind, answers), exam.mark(blind, answers, leave_out={"cat"})
    assert left == exam.mark(answers, answers, leave_out={"cat"})
    assert left["retain_accuracy"].value > whole["retain_accuracy"].value + 0.05  # control
    assert left["membership_auc"].value > whole["membership_auc"].value
