"""Train gold standards: the base model's own training, without some of its classes."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from razor_pipeline.families.pretraining import training_rows
from razor_pipeline.fingerprint import code_sha256, content_sha256, digest, environment
from razor_pipeline.interfaces import ModelFamily
from razor_pipeline.manifest import manifest_sha256
from razor_pipeline.params.base import overlaid
from razor_pipeline.params.pretraining import PretrainingParams, RetrainingParams
from razor_pipeline.pipelines.pretraining.nodes import train_model

logger = logging.getLogger(__name__)
TRAINING = "razor_pipeline.pipelines.pretraining.nodes"  # whose code makes a model


def retrain_models(
    manifest: pd.DataFrame,
    pretraining: PretrainingParams,
    retraining: RetrainingParams,
    reports: dict[str, Any],
) -> Iterator[dict[str, tuple[ModelFamily, dict[str, Any]]]]:
    """Group -> a model that never saw its classes, and the report of its training; each is saved before the next.

    One whose report says that it was made from the same is left out: a retraining that was killed goes on.

    Args:
        manifest: the data.
        pretraining: of the base model.
        retraining: groups, and what differs.
        reports: of the models that are saved.

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
    for group, params, made_from in _due(every, manifest, reports):
        report, model, _ = train_model(manifest, params)
        yield {group: (model, report | {"made_from": made_from})}


def _due(
    every: dict[str, PretrainingParams], manifest: pd.DataFrame, reports: dict[str, Any]
) -> Iterator[tuple[str, PretrainingParams, str]]:
    """Group, parameters and digest of what decides the result, of each that is not saved yet."""
    data, code = manifest_sha256(manifest), code_sha256(TRAINING)
    for group, params in every.items():
        built_on = [content_sha256(Path(each)) for each in params.directories]
        made_from = digest([params, data, built_on, code, environment()])
        if reports.get(group, {}).get("made_from") == made_from:
            logger.info("%s: trained and saved before, and nothing has changed that it is made from", group)
        else:
            yield group, params, made_from
