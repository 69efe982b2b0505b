"""Run what the ledger holds due."""

from __future__ import annotations

from typing import Any

import pandas as pd

from razor_pipeline.interfaces import ModelFamily
from razor_pipeline.params.data import DataParams, SplittingParams
from razor_pipeline.params.evaluation import EvaluationParams, QuantizationParams
from razor_pipeline.params.razor import RazorParams
from razor_pipeline.params.requests import RequestsParams
from razor_pipeline.requests.run import run_due


def run_requests(
    base_model: ModelFamily,
    manifest: pd.DataFrame,
    judges: dict[str, Any],
    requests: RequestsParams,
    data: DataParams,
    splitting: SplittingParams,
    razor: RazorParams,
    quantization: QuantizationParams,
    evaluation: EvaluationParams,
    seed: int,
) -> tuple[pd.DataFrame, str]:
    """The versions of the line with their figures, and the dashboard."""
    schemes = quantization.schemes
    return run_due(base_model, manifest, requests, data, splitting, razor, schemes, evaluation, judges, seed)
