"""Examine base, edited and quantized models on the test split."""

from __future__ import annotations

from typing import Any

import pandas as pd
from torch import Tensor

from razor_pipeline.core.quantize import Scheme
from razor_pipeline.core.weight_edit import WeightEdit
from razor_pipeline.families.examination import examine
from razor_pipeline.interfaces import ModelFamily
from razor_pipeline.params.evaluation import EvaluationParams


def evaluate_models(
    base_model: ModelFamily,
    weight_edit: WeightEdit,
    quantized_models: dict[Scheme, dict[str, Tensor]],
    samples: pd.DataFrame,
    judges: dict[str, Any],
    evaluation_prompts: list[str],
    evaluation: EvaluationParams,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """All metrics of all models, and what the report shows of them."""
    return examine(base_model, weight_edit, quantized_models, samples, judges, evaluation, evaluation_prompts)
