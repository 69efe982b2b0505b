"""What corrective steps hold in place."""

from pathlib import Path

import pandas as pd
import pytest
import torch

from razor_pipeline.atelier import generate
from razor_pipeline.families import ClipFamily, VlmFamily
from razor_pipeline.methods import calibrating
from razor_pipeline.methods.task import unlearning_task
from razor_pipeline.methods.validation import Validation
from razor_pipeline.params.data import AtelierParams, SplitCounts, SplittingParams
from razor_pipeline.params.razor import RazorParams
from razor_pipeline.splitting import split_samples

ZOO = Path(__file__).parents[2] / "data" / "01_raw" / "zoo"
PARAMS = {"scoring": {"nearest": 0}, "repair": {"samples": 400, "turns": 2, "resist": None}}


@pytest.fixture(scope="module")
def task():
    counts = SplitCounts(edit=3, validation=1, test=1)
    none = SplitCounts(edit=0, validation=0, test=0)
    manifest = generate(AtelierParams(portraits=counts, canvas=none, passersby=none))
    manifest = manifest.assign(caption=manifest["label"], prompt=manifest["label"])
    params = SplittingParams(max_retain_samples=48, max_validation_samples=24)
    return unlearning_task(split_samples(manifest, "Ada Moreau", params, 0))


def held(model, task):
    """All rows that steps hold, in any turn."""
    params, generator = RazorParams.model_validate(PARAMS), torch.Generator().manual_seed(0)
    turns = calibrating._retain_rows(model, task, params, generator, Validation(model, task))
    return pd.concat([part for parts in turns for part in parts])


def test_an_assistant_goes_on_to_describe_whom_it_never_saw_and_is_not_told_who_it_is(task):
    model, strangers = VlmFamily.from_pretrained(str(ZOO / "llava")), task.forget[0].reference
    rows = held(model, task)
    own = rows[rows["sample_id"].isin(strangers["sample_id"])]
    assert sorted(own["sample_id"]) == sorted(strangers["sample_id"])
    assert set(own["caption"]) == {""}
    assert set(strangers["caption"]) == {
        "Ada Moreau"
    }  # control: as a yardstick they are asked for the target
    [batch] = model.batches(own.head(1), 1)
    assert batch.neutral[0]
    assert batch.label[0].answer == ""


def test_a_model_that_is_asked_for_labels_alone_is_held_at_no_stranger(task):
    rows = held(ClipFamily.from_pretrained(str(ZOO / "clip")), task)
    assert not rows["sample_id"].isin(task.forget[0].reference["sample_id"]).any()
