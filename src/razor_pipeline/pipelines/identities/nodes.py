"""Forget one person after the other and put the figures in a table."""

from __future__ import annotations

from typing import Any

import pandas as pd

from razor_pipeline.datasets.retrained import Retrained
from razor_pipeline.interfaces import ModelFamily
from razor_pipeline.params.data import SplittingParams
from razor_pipeline.params.evaluation import EvaluationParams
from razor_pipeline.params.razor import RazorParams
from razor_pipeline.params.studies import StudyParams
from razor_pipeline.studies.run import Study, table_of
from razor_pipeline.studies.subjects import naming
from razor_pipeline.studies.tables import as_text


def erase_identities(
    base_model: ModelFamily,
    manifest: pd.DataFrame,
    retrained_models: list[Retrained],
    splitting: SplittingParams,
    razor: RazorParams,
    evaluation: EvaluationParams,
    identities: StudyParams,
) -> tuple[pd.DataFrame, dict[str, Any], str]:
    """A row per target and seed, the table, and the table as text."""
    subject = naming(base_model, retrained_models, evaluation, identities)
    study = Study("identities", subject, manifest, splitting, identities)
    rows = study.run({"razor": razor})
    table = table_of(rows)
    return rows, table, as_text(f"Erasure, {base_model.name}", table)
