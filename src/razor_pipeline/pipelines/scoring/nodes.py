"""Choose what takes the target's place, and score every component of the base model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pandas as pd

from razor_pipeline.families.drawing_exam import looking_at
from razor_pipeline.interfaces import ModelFamily
from razor_pipeline.methods.anchor import chosen_anchors
from razor_pipeline.methods.saved_scores import ScoringResult, scoring_result
from razor_pipeline.methods.task import unlearning_task
from razor_pipeline.params.evaluation import EvaluationParams
from razor_pipeline.params.razor import RazorParams
from razor_pipeline.pipelines.scoring.processes import scored_in_processes


def choose_anchors(
    base_model: ModelFamily,
    samples: pd.DataFrame,
    judges: dict[str, Any],
    razor: RazorParams,
    evaluation: EvaluationParams,
) -> dict[str, str]:
    """Target -> the concept that its prompts are led to; empty where a model does not draw."""
    see = looking_at(base_model, samples, judges, evaluation.drawing)
    return chosen_anchors(base_model, replace(unlearning_task(samples), see=see), razor.anchor)


def score_components(
    base_model: ModelFamily, samples: pd.DataFrame, anchors: dict[str, str], razor: RazorParams, seed: int
) -> ScoringResult:
    """Scores of all components, the gradients of the best ones, and what the pass cost."""
    several = razor.scoring.processes > 1
    return (scored_in_processes if several else scoring_result)(base_model, samples, razor, seed, anchors)
