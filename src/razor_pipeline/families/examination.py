"""Examine a base model, its edit and their quantized copies with one set of questions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pandas as pd
from torch import Tensor

from razor_pipeline.core.metrics import Estimate
from razor_pipeline.core.quantize import Scheme, quantized, unpacked
from razor_pipeline.core.weight_edit import WeightEdit, applied
from razor_pipeline.families.exam import Answers, Exam, metric_rows
from razor_pipeline.interfaces import ModelFamily
from razor_pipeline.params import EvaluationParams


def examine(
    base: ModelFamily,
    edit: WeightEdit,
    packed: Mapping[Scheme, Mapping[str, Tensor]],
    samples: pd.DataFrame,
    params: EvaluationParams,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Metrics and top captions of all models.

    Columns: model, metric, value, low, high, n; and sample_id, group, model, rank, caption, score.

    Args:
        base: the base model; as it was on exit.
        edit: the edit.
        packed: scheme -> packed weights of the quantized edited model.
        samples: manifest rows with roles.
        params: how many pictures of each group are shown.
    """
    exam = Exam(base, samples)
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
    return pd.DataFrame(rows), _captions(exam, {"base": answers, "edited": edited}, params.panel_images)


def _quantized(
    exam: Exam, base: ModelFamily, scheme: Scheme, state: Mapping[str, Tensor]
) -> Iterator[tuple[str, dict[str, Estimate]]]:
    """Marks of the quantized base and of the quantized edited model; both against the quantized base."""
    plain = exam.put_to(base.with_module(quantized(base.module, scheme)))
    yield f"{scheme}_base", exam.mark(plain, plain)
    edited = exam.put_to(base.with_module(unpacked(base.module, state, scheme)))
    yield f"{scheme}_edited", exam.mark(edited, plain)


def _captions(exam: Exam, answers: Mapping[str, Answers], count: int) -> pd.DataFrame:
    groups = exam.panel(count)
    tables = [exam.top_captions(given, list(groups)).assign(model=model) for model, given in answers.items()]
    table = pd.concat(tables, ignore_index=True)
    return table.assign(group=table["sample_id"].map(groups))[
        ["sample_id", "group", "model", "rank", "caption", "score"]
    ]
