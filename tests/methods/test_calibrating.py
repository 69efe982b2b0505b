"""What corrective steps hold in place."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch

from razor_pipeline.atelier import generate
from razor_pipeline.families import ClipFamily, VlmFamily
from razor_pipeline.methods import calibrating
from razor_pipeline.methods.task import drawn_evenly, shuffled, unlearning_task
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


def test_rows_are_drawn_evenly_over_classes():
    sizes = {"a": 40, "b": 20, "c": 20, "d": 3}
    labels = [label for label, size in sizes.items() for _ in range(size)]
    rows = pd.DataFrame({"label": labels, "domain": "people", "sample_id": range(len(labels))})
    first, second = (drawn_evenly(rows, torch.Generator().manual_seed(seed)) for seed in (0, 1))
    assert sorted(first["sample_id"]) == list(rows["sample_id"])
    assert list(first["sample_id"]) != list(second["sample_id"])
    at_random = shuffled(rows, torch.Generator().manual_seed(0))
    off = {"evenly": 0.0, "at random": 0.0}
    for name, order in (("evenly", first), ("at random", at_random)):
        for count in range(1, len(rows)):
            found = order.head(count)["label"].value_counts()
            share = {label: found.get(label, 0) - size * count / len(rows) for label, size in sizes.items()}
            off[name] = max(off[name], *map(abs, share.values()))
    assert off["evenly"] < 2.0 < off["at random"]  # control: a draw that leaves it to chance


def test_each_turn_holds_its_share_of_every_class():
    labels = [f"class {place % 12}" for place in range(96)]
    rows = pd.DataFrame({"label": labels, "domain": "canvas", "sample_id": range(96)})
    rows = drawn_evenly(rows, torch.Generator().manual_seed(0))
    turns = [calibrating._of_turn(rows, turn, 4) for turn in range(4)]
    assert sorted(pd.concat(turns)["sample_id"]) == list(range(96))
    assert [turn["label"].nunique() for turn in turns] == [12] * 4
    strided = [rows.iloc[turn::4]["label"].nunique() for turn in range(4)]
    assert max(strided) == 3  # control: every fourth row of what goes round twelve classes
    few = [len(calibrating._of_turn(rows.head(3), turn, 4)) for turn in range(4)]
    assert sum(few) == 3


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


def test_images_of_the_target_are_held_clear_of_names_that_are_known(task):
    """Not of its own, nor of one that was forgotten earlier: to be called that is no way out."""
    model = ClipFamily.from_pretrained(str(ZOO / "clip"))
    [forget] = task.forget
    earlier = replace(forget, target="Bruno Keller")
    found = calibrating.Calibration(
        model,
        replace(task, earlier=(earlier,)),
        RazorParams.model_validate(PARAMS),
        torch.Generator().manual_seed(0),
        model,
        Validation(model, task),
    )
    assert "Bruno Keller" in task.prompts
    assert set(found.others) == set(task.prompts) - {"Ada Moreau", "Bruno Keller"}
