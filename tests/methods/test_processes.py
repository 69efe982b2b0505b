"""RAZOR scored in several processes: the components and the edit of one process."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from core.test_processes import difference, in_processes
from families.cases import portraits, tiny_clip

from razor_pipeline.methods.calibrating import Calibration
from razor_pipeline.methods.razor import chosen, razor
from razor_pipeline.methods.report import signed
from razor_pipeline.methods.saved_scores import restore_scored, scoring_result
from razor_pipeline.methods.scoring import score
from razor_pipeline.methods.task import unlearning_task
from razor_pipeline.methods.validation import Validation
from razor_pipeline.params.data import SplittingParams
from razor_pipeline.params.razor import RazorParams
from razor_pipeline.splitting import split_samples

WHITENED = (
    1e-4  # of the weights' norm: whitening multiplies what rounding differs by up to 1 / damping = 1000
)
PARAMS = RazorParams.model_validate(
    {
        "scoring": {"batch_size": 10, "nearest": 2},
        "components": 3,
        "search": {"evaluations": 2},
        "repair": {"steps": 1, "samples": 16},
        "max_rounds": 1,
        "allow_no_baseline": True,
    }
)


@cache
def few_samples():
    """Seven people of a few portraits each: the last batch of the retain pass is smaller than the others."""
    rows = portraits()
    known = rows[rows["role"] == "retain"]
    rows = known[known["label"].isin(known["label"].unique()[:7])].reset_index(drop=True)
    rows.loc[rows.groupby("label").tail(1).index, "split"] = "test"
    return split_samples(rows, [rows["label"].iloc[0]], SplittingParams(min_forget_images=2), 0)


def result(samples):
    return scoring_result(tiny_clip(), samples, PARAMS, 0, {})


def edited(found):
    """The edit that follows from a scoring result."""
    model = tiny_clip()
    table, gradients, report = found
    scored = restore_scored(model, table, gradients, PARAMS, report["seconds"])
    task = unlearning_task(few_samples())
    return razor(model, task, PARAMS, torch.Generator().manual_seed(0), scored).edit


@pytest.fixture(scope="module")
def alone():
    """What one process finds, and its edit."""
    found = result(few_samples())
    return found, edited(found)


@pytest.mark.parametrize("count", [2, 4])
def test_components_gradients_and_edit_are_those_of_one_process(alone, count, tmp_path):
    (table, gradients, report), edit = alone
    assert len(edit.components) == 3
    for found in in_processes(count, lambda _: result(few_samples()), tmp_path):
        assert list(found[0]["component"]) == list(table["component"])
        assert difference(gradients, found[1]) < 1e-6
        assert found[2]["baseline"] == report["baseline"]
        assert found[2]["world_size"] == count
    again = edited(found)
    assert again.components == edit.components
    assert difference(edit.after, again.after) < WHITENED


def test_the_manifest_says_how_many_processes_scored(alone):
    (*_, report), edit = alone
    task = unlearning_task(few_samples())

    def said(count):
        return signed(edit, tiny_clip(), task, PARAMS, 0, "1", count).manifest["world_size"]

    assert said(report["world_size"]) == 1
    assert said(16) == 16  # on all machines, whatever one's processes are


@pytest.mark.parametrize("per_tower", [False, True])
@pytest.mark.parametrize("share", [0.01, 0.05, 1.0])
def test_what_passes_between_two_steps_is_enough_to_choose_as_the_method_does(per_tower, share):
    """Also where the budget leaves room for none but the smallest components, which stand far behind."""
    params = PARAMS.model_copy(update={"components": 1, "per_tower": per_tower, "max_edited_share": share})
    model, samples = tiny_clip(), few_samples()
    rows = score(model, unlearning_task(samples), params.scoring, torch.Generator().manual_seed(0)).rows
    table, gradients, report = scoring_result(model, samples, params, 0, {})
    restored = restore_scored(model, table, gradients, params, report["seconds"])
    assert chosen(model, params, restored.rows) == chosen(model, params, rows) != ()
    assert len(restored.rows) < len(rows)


def test_control_without_the_last_rows_gradients_and_edit_are_others(alone):
    (_, gradients, _), edit = alone
    samples = few_samples()
    retain = samples[(samples["role"] == "retain") & (samples["split"] == "edit")]
    over = len(retain) % PARAMS.scoring.batch_size
    assert over
    fewer = result(samples.drop(retain.index[-over:]))
    both = {name: gradients[name] for name in gradients if name in fewer[1] and name.startswith("retain/")}
    assert difference(both, fewer[1]) > 1e-2
    other = edited(fewer)
    assert other.components != edit.components or difference(edit.after, other.after) > 10 * WHITENED


def test_what_an_edit_holds_is_bounded_however_many_rows_there_are():
    task = unlearning_task(few_samples())
    params = PARAMS.model_copy(update={"repair": PARAMS.repair.model_copy(update={"samples": 4})})
    for some in (params, PARAMS):
        clip = tiny_clip()
        validation = Validation(clip, task)
        turns = Calibration(clip, task, some, torch.Generator().manual_seed(0), clip, validation).turns
        held = sum(len(batch) for turn in turns for batch in turn)
        assert held <= 2 * some.repair.samples
    assert held > 8  # control
