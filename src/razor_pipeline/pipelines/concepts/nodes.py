"""Make a text-to-image model forget one concept after the other and put the figures in a table."""

from __future__ import annotations

from typing import Any

import pandas as pd

from razor_pipeline.datasets.retrained import Retrained
from razor_pipeline.params.data import SplittingParams
from razor_pipeline.params.evaluation import EvaluationParams
from razor_pipeline.params.razor import RazorParams
from razor_pipeline.params.studies import ConceptsParams
from razor_pipeline.studies.drawing import Drawing
from razor_pipeline.studies.run import Study, table_of
from razor_pipeline.studies.tables import as_text


def erase_concepts(
    base_model: Any,
    manifest: pd.DataFrame,
    retrained_models: list[Retrained],
    judges: dict[str, Any],
    evaluation_prompts: list[str],
    splitting: SplittingParams,
    razor: RazorParams,
    evaluation: EvaluationParams,
    concepts: ConceptsParams,
) -> tuple[pd.DataFrame, dict[str, Any], str]:
    """A row per target and seed, the table, and the table as text."""
    subject = Drawing(base_model, judges, evaluation.drawing, concepts, evaluation_prompts, retrained_models)
    rows = Study("concepts", subject, manifest, splitting, concepts).run({"razor": razor})
    table = table_of(rows)
    return rows, table, as_text(f"Erasure, {base_model.name}", table)
