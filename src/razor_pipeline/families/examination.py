"""Examine a base model, its edit and their quantized copies with one set of questions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd
from torch import Tensor

from razor_pipeline.core.metrics import Estimate
from razor_pipeline.core.quantize import Scheme, quantized, unpacked
from razor_pipeline.core.weight_edit import WeightEdit, applied
from razor_pipeline.families.drawing_exam import DrawingExam
from razor_pipeline.families.marks import metric_rows
from razor_pipeline.families.naming_exam import NamingExam
from razor_pipeline.families.question_exam import QuestionExam
from razor_pipeline.families.text_to_image import TextToImageFamily
from razor_pipeline.families.vit import VitFamily
from razor_pipeline.families.vlm import VlmFamily
from razor_pipeline.interfaces import ModelFamily
from razor_pipeline.params.evaluation import EvaluationParams


def examine(
    base: ModelFamily,
    edit: WeightEdit,
    packed: Mapping[Scheme, Mapping[str, Tensor]],
    samples: pd.DataFrame,
    judges: Mapping[str, VitFamily],
    params: EvaluationParams,
    prompts: Sequence[str] = (),
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Metrics of all models, and what base and edited model say to, or draw for, what the report shows.

    Columns of the metrics: model, metric, value, low, high, n.

    Args:
        base: the base model; as it was on exit.
        edit: the edit.
        packed: scheme -> packed weights of the quantized edited model.
        samples: manifest rows with roles.
        judges: of drawings, by name; where nothing is drawn they are not asked.
        params: how many pictures of each group are shown.
        prompts: that a model which draws is asked instead of the data's own.
    """
    exam = exam_of(base, samples, judges, params, prompts)
    answers = exam.put_to(base)
    with applied(dict(base.module.named_parameters()), edit):
        edited = exam.put_to(base)
    rows = metric_rows("base", exam.mark(answers, answers)) + metric_rows(
        "edited", exam.mark(edited, answers)
    )
    for scheme, state in packed.items():
        rows += [
            row for kind, marks in _quantized(exam, base, scheme, state) for row in metric_rows(kind, marks)
        ]
    return pd.DataFrame(rows), exam.captions({"base": answers, "edited": edited}, params.panel_images)


def exam_of(
    base: Any,
    samples: pd.DataFrame,
    judges: Mapping[str, VitFamily],
    params: EvaluationParams,
    prompts: Sequence[str] = (),
) -> Any:
    """The exam of the model's kind: of what it names, or of what it draws or answers."""
    if isinstance(base, TextToImageFamily):
        return DrawingExam(samples, judges, params.drawing, prompts)
    if isinstance(base, VlmFamily):
        return QuestionExam(base, samples, params.questions)
    return NamingExam(base, samples)


def _quantized(
    exam: Any, base: ModelFamily, scheme: Scheme, state: Mapping[str, Tensor]
) -> Iterator[tuple[str, dict[str, Estimate]]]:
    """Marks of the quantized base and of the quantized edited model; both against the quantized base."""
    plain = exam.put_to(base.with_module(quantized(base.module, scheme)))
    yield f"{scheme}_base", exam.mark(plain, plain)
    edited = exam.put_to(base.with_module(unpacked(base.module, state, scheme)))
    yield f"{scheme}_edited", exam.mark(edited, plain)
