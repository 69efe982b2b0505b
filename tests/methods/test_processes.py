"""RAZOR scored in several processes: the components and the edit of one process."""

from __future__ import annotations

import pytest
import torch
from core.test_processes import difference, in_processes
from families.cases import portraits, tiny_clip

from razor_pipeline.methods.razor import razor, score
from razor_pipeline.methods.scored import restore_scored, scoring_result
from razor_pipeline.methods.task import unlearning_task
from razor_pipeline.params import RazorParams, SplittingParams
from razor_pipeline.splitting import split_samples

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


@pytest.fixture(scope="module")
def samples():
    """Seven people of four portraits each to edit with: two of three batches are whole."""
    rows = portraits()
    known = rows[rows["role"] == "retain"]
    rows = known[known["label"].isin(known["label"].unique()[:7])].reset_index(drop=True)
    rows = rows.assign(split=rows["split"].mask(rows["sample_id"].duplicated(), "test"))
    held = rows.groupby("label").tail(1).index
    rows.loc[held, "split"] = "test"
    rows = rows.assign(sha256=rows["sample_id"])
    return split_samples(rows, [rows["label"].iloc[0]], SplittingParams(min_forget_images=2), 0)


def edited(samples, result):
    """The edit that follows from a scoring result."""
    model = tiny_clip()
    table, gradients, report = result
    scored = restore_scored(model, table, gradients, PARAMS, report["seconds"])
    task = unlearning_task(samples)
    return razor(model, task, PARAMS, torch.Generator().manual_seed(0), scored).edit


def test_components_gradients_and_edit_are_those_of_one_process(samples, tmp_path):
    table, gradients, report = one = scoring_result(tiny_clip(), samples, PARAMS, 0)
    edit = edited(samples, one)
    assert len(edit.components) == 3
    for count in (2, 4):
        for found in in_processes(count, lambda _: scoring_result(tiny_clip(), samples, PARAMS, 0), tmp_path):
            assert list(found[0]["component"]) == list(table["component"])
            assert difference(gradients, found[1]) < 1e-6
            assert found[2]["baseline"] == report["baseline"]
        again = edited(samples, found)
        assert again.components == edit.components
        assert difference(edit.after, again.after) < 1e-5


def test_control_without_the_last_rows_the_gradients_are_others(samples):
    task = unlearning_task(samples)
    whole = score(tiny_clip(), task, PARAMS.scoring, torch.Generator().manual_seed(0))
    count = (len(task.retain) // 10) * 10
    assert count < len(task.retain)
    fewer = PARAMS.scoring.model_copy(update={"retain_samples": count})
    part = score(tiny_clip(), task, fewer, torch.Generator().manual_seed(0))
    assert difference(whole.retain, part.retain) > 1e-3
    assert difference(whole.covariances, part.covariances) > 1e-3
