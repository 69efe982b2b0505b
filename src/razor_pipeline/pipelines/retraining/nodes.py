"""Train gold standards: the base model's own training, without some of its classes."""

from __future__ import annotations

from typing import Any

import pandas as pd

from razor_pipeline.interfaces import ModelFamily
from razor_pipeline.params.pretraining import PretrainingParams, RetrainingParams
from razor_pipeline.pipelines.pretraining.nodes import train_model


def retrain_models(
    manifest: pd.DataFrame, pretraining: PretrainingParams, retraining: RetrainingParams
) -> dict[str, tuple[ModelFamily, dict[str, Any]]]:
    """Group -> a model that never saw its classes, and the report of its training."""
    made = {}
    for group, labels in retraining.groups.items():
        params = pretraining.model_copy(update={"exclude": labels})
        model, report, _ = train_model(manifest, params)
        made[group] = (model, report)
    return made
