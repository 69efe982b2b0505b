"""Score every component of the base model."""

from __future__ import annotations

import pandas as pd

from razor_pipeline.interfaces import ModelFamily
from razor_pipeline.methods.scored import ScoringResult, scoring_result
from razor_pipeline.params import RazorParams
from razor_pipeline.pipelines.scoring.processes import scored_in_processes


def score_components(
    base_model: ModelFamily, samples: pd.DataFrame, razor: RazorParams, seed: int
) -> ScoringResult:
    """Scores of all components, the gradients of the best ones, and what the pass cost."""
    several = razor.scoring.processes > 1
    return (scored_in_processes if several else scoring_result)(base_model, samples, razor, seed)
