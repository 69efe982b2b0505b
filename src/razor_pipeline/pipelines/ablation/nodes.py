"""What every part of the method is worth."""

from __future__ import annotations

from typing import Any

import pandas as pd

from razor_pipeline.interfaces import ModelFamily
from razor_pipeline.params.data import SplittingParams
from razor_pipeline.params.evaluation import EvaluationParams
from razor_pipeline.params.razor import RazorParams
from razor_pipeline.params.studies import AblationParams
from razor_pipeline.studies.run import Study, table_of, variants_of
from razor_pipeline.studies.subjects import naming
from razor_pipeline.studies.tables import side_by_side


def ablate(
    base_model: ModelFamily,
    manifest: pd.DataFrame,
    splitting: SplittingParams,
    razor: RazorParams,
    evaluation: EvaluationParams,
    ablation: AblationParams,
) -> tuple[pd.DataFrame, dict[str, Any], str]:
    """A row per variant, target and seed, a table per variant, and all of them side by side as text."""
    variants = variants_of(razor, ablation)
    subject = naming(base_model, [], evaluation, ablation)
    rows = Study("ablation", subject, manifest, splitting, ablation).run(variants)
    tables = {str(name): table_of(part) for name, part in rows.groupby("variant", sort=False)}
    return rows, tables, side_by_side(f"Ablation, {base_model.name}", tables)
