"""The edit of one cell, as `kedro run` makes it, and what it cost."""

from __future__ import annotations

import pandas as pd
import torch

from razor_pipeline.interfaces import EditResult, ModelFamily
from razor_pipeline.methods.anchor import with_anchors
from razor_pipeline.methods.razor import razor, score
from razor_pipeline.methods.registry import run_method
from razor_pipeline.methods.task import unlearning_task
from razor_pipeline.params import AcceptanceParams, RazorParams
from razor_pipeline.studies.cells import Row


def edit(base: ModelFamily, samples: pd.DataFrame, params: AcceptanceParams, seed: int) -> EditResult:
    """The edit of the method that the parameters are for.

    RAZOR scores and edits with two generators of one seed, as the two pipeline steps have them.
    """
    task = unlearning_task(samples)
    if not isinstance(params, RazorParams):
        return run_method(base, task, params, torch.Generator().manual_seed(seed))
    task = with_anchors(base, task, params.anchor)
    scored = score(base, task, params.scoring, torch.Generator().manual_seed(seed))
    return razor(base, task, params, torch.Generator().manual_seed(seed), scored)


def cost(result: EditResult, base: ModelFamily) -> Row:
    """Size, rounds and seconds of an edit."""
    total = sum(parameter.numel() for parameter in base.module.parameters())
    return {
        "edited_fraction": result.edit.weights / total,
        "components": len(result.edit.components),
        "rounds": result.rounds,
        "stop_reason": str(result.stop_reason),
        "evaluations": len(result.trace),
        "score_seconds": result.seconds["score"],
        "edit_seconds": result.seconds["edit"],
    }
