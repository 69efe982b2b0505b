"""Score every component of the base model."""

from __future__ import annotations

from typing import Any

import pandas as pd
import torch
from torch import Tensor

from razor_pipeline.interfaces import ModelFamily
from razor_pipeline.methods.anchor import with_anchors
from razor_pipeline.methods.baseline import check_baseline
from razor_pipeline.methods.razor import score
from razor_pipeline.methods.scored import candidate_gradients, candidates, score_table
from razor_pipeline.methods.task import unlearning_task
from razor_pipeline.params import RazorParams


def score_components(
    base_model: ModelFamily, samples: pd.DataFrame, razor: RazorParams, seed: int
) -> tuple[pd.DataFrame, dict[str, Tensor], dict[str, Any]]:
    """Scores of all components, the gradients of the best ones, and what the pass cost."""
    task = with_anchors(base_model, unlearning_task(samples), razor.anchor)
    baseline = check_baseline(base_model, task, razor.allow_no_baseline)
    generator = torch.Generator().manual_seed(seed)
    scored = score(base_model, task, razor.scoring, generator, keep=lambda rows: candidates(rows, razor))
    gradients = candidate_gradients(base_model, scored, razor)
    return score_table(scored), gradients, {"seconds": scored.seconds, "baseline": baseline}
