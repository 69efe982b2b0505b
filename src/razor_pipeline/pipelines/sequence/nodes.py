"""Make a text-to-image model forget several concepts, request after request."""

from __future__ import annotations

from typing import Any

import pandas as pd

from razor_pipeline.params.data import SplittingParams
from razor_pipeline.params.evaluation import EvaluationParams
from razor_pipeline.params.razor import RazorParams
from razor_pipeline.params.studies import ConceptsParams, SequenceParams
from razor_pipeline.reporting.sequence import sequence_curve
from razor_pipeline.studies.drawing import Drawing
from razor_pipeline.studies.run import studied
from razor_pipeline.studies.sequence import forget_in_sequence
from razor_pipeline.studies.tables import step_by_step


def forget_one_after_the_other(
    base_model: Any,
    manifest: pd.DataFrame,
    judges: dict[str, Any],
    evaluation_prompts: list[str],
    splitting: SplittingParams,
    razor: RazorParams,
    evaluation: EvaluationParams,
    sequence: SequenceParams,
) -> tuple[pd.DataFrame, bytes, str]:
    """A row per request and seed, the curve, and the table.

    Raises:
        SplittingError: there are no targets, or one is not in the data.
    """
    targets = studied(manifest, sequence.targets, "sequence")
    asked = ConceptsParams(protocol=sequence.protocol)
    subject = Drawing(base_model, judges, evaluation.drawing, asked, evaluation_prompts)
    parts = [
        forget_in_sequence(subject, manifest, targets, splitting, razor, seed).assign(seed=seed)
        for seed in sequence.seeds
    ]
    rows = pd.concat(parts, ignore_index=True)
    return rows, sequence_curve(rows), step_by_step(f"Requests in sequence, {base_model.name}", rows)
