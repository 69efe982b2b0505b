"""Train gold standards: the base model's own training, without some of its classes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from razor_pipeline.families.pretraining import training_rows
from razor_pipeline.interfaces import ModelFamily
from razor_pipeline.params.base import overlaid
from razor_pipeline.params.pretraining import PretrainingParams, RetrainingParams
from razor_pipeline.pipelines.pretraining.nodes import train_model


def retrain_models(
    manifest: pd.DataFrame, pretraining: PretrainingParams, retraining: RetrainingParams
) -> Iterator[dict[str, tuple[ModelFamily, dict[str, Any]]]]:
    """Group -> a model that never saw its classes, and the report of its training; each is saved before the next.

    Raises:
        ValueError: ``retraining.groups`` is empty.
        DataError: a group names a class that is not in the data.
    """
    if not retraining.groups:
        raise ValueError("retraining.groups is empty; name there what each gold standard is trained without")
    as_base = overlaid(pretraining.model_dump(mode="json"), retraining.differences)
    every = {
        group: PretrainingParams.model_validate(as_base | {"exclude": labels})
        for group, labels in retraining.groups.items()
    }
    for params in every.values():
        training_rows(manifest, params)  # a misspelt class is refused before the first is trained
    for group, params in every.items():
        model, report, _ = train_model(manifest, params)
        yield {group: (model, report)}
