"""Who examines the models of a line: one examiner for each way in which a model shows what it knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from razor_pipeline.core.quantize import Scheme
from razor_pipeline.families.text_to_image import TextToImageFamily
from razor_pipeline.families.vit import VitFamily
from razor_pipeline.families.vlm import VlmFamily
from razor_pipeline.interfaces import ModelFamily
from razor_pipeline.params.evaluation import EvaluationParams
from razor_pipeline.requests.drawing_examiner import DrawingExaminer
from razor_pipeline.requests.examination import Examiner
from razor_pipeline.requests.image_examiners import NamingExaminer, QuestionExaminer


def examiner(
    base: ModelFamily,
    samples: pd.DataFrame,
    schemes: Sequence[Scheme],
    evaluation: EvaluationParams,
    judges: Mapping[str, VitFamily],
) -> Examiner:
    """The examiner of a line: by names, in words where its models answer, by drawings where they draw.

    Args:
        base: the line's base model, against which every drop counts.
        samples: manifest rows, all targets so far and those of the batch with the role ``forget``.
        schemes: quantization schemes.
        evaluation: how many neutral questions are asked, and how drawings are made.
        judges: who looks at drawings.
    """
    if isinstance(base, VlmFamily):
        return QuestionExaminer(base, samples, schemes, evaluation.questions)
    if isinstance(base, TextToImageFamily):
        return DrawingExaminer(base, samples, schemes, evaluation.drawing, judges)
    return NamingExaminer(base, samples, schemes)
