"""What a study works on, by the kind of its model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from razor_pipeline.datasets.retrained import Retrained
from razor_pipeline.families.vlm import VlmFamily
from razor_pipeline.interfaces import ModelFamily, ReferenceFamily
from razor_pipeline.params.evaluation import EvaluationParams
from razor_pipeline.params.studies import StudyParams
from razor_pipeline.studies.assistant import Assistant
from razor_pipeline.studies.recognition import Recognition
from razor_pipeline.studies.run import Subject


def naming(
    base: ModelFamily, retrained: Sequence[Retrained], evaluation: EvaluationParams, params: StudyParams
) -> Subject:
    """A model that names what images show: one that answers questions, or one that recognises.

    Raises:
        ValueError: the model draws; what it names would be its own prompts, which any edit leads where it aims.
    """
    if base.yardstick == "anchor":
        raise ValueError(
            f"a model of the family '{base.name}' draws, and this study looks at what a model names in images; run "
            "the pipeline concepts instead (make evaluate-diffusion)"
        )
    if isinstance(base, VlmFamily):
        return Assistant(base, retrained, params, questions=evaluation.questions)
    return Recognition(cast(ReferenceFamily, base), retrained, params)
