"""One cell of a study on an assistant: make it forget a name, ask it questions, quantize it and ask again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from razor_pipeline.core.metrics import Estimate
from razor_pipeline.families.asks import KINDS
from razor_pipeline.families.question_exam import QuestionExam
from razor_pipeline.families.vlm import VlmFamily
from razor_pipeline.params.evaluation import QuestionParams
from razor_pipeline.studies.cells import Row
from razor_pipeline.studies.recognition import Recognition

KEPT = (
    "worst_class_loss",
    "target_neutral",
    "retrieval_agreement",
    "membership_auc",
    "privacy_leakage",
    "says_unknown",
    "says_another_name",
    "says_nothing",
    "answer_perplexity",
)
DROPS = {
    "retain_drop": "retain_accuracy",
    "near_twin_drop": "near_twin_accuracy",
    "neutral_drop": "general_accuracy",
    "target_neutral_drop": "target_neutral",
}


@dataclass(frozen=True)
class Assistant(Recognition):
    """A model that names whom an image shows in its answers; see :class:`Recognition`.

    Attributes:
        questions: how many neutral ones are asked.
    """

    base: VlmFamily
    questions: QuestionParams = field(kw_only=True)

    def identity(self) -> Any:
        """Where the models came from, and what they are asked."""
        return [*super().identity(), self.questions]

    def _exam(self, samples: pd.DataFrame) -> Any:
        return QuestionExam(self.base, samples, self.questions)

    def _compare(self, edited: Mapping[str, Estimate], base: Mapping[str, Estimate]) -> Row:
        return compare(edited, base)


def compare(edited: Mapping[str, Estimate], base: Mapping[str, Estimate]) -> Row:
    """Figures of an edited model, shares of 0 to 1, and how far they fell below the base's."""
    kinds = ["forget_accuracy", *(f"forget_accuracy_{kind}" for kind in KINDS)]
    row: Row = {f"edited_{name}": edited[name].value for name in kinds if name in edited}
    row |= {name: edited[name].value for name in KEPT if name in edited}
    row |= {name: base[m].value - edited[m].value for name, m in DROPS.items() if m in base}
    neutral = [name for name in base if name.startswith("neutral_")]
    row |= {f"{name}_drop": base[name].value - edited[name].value for name in neutral}
    if neutral:
        row["neutral_worst_drop"] = max(row[f"{name}_drop"] for name in neutral)
        row["base_neutral"] = base["general_accuracy"].value
    row["degenerate_rise"] = edited["degenerate_share"].value - base["degenerate_share"].value
    row |= {
        "base_forget_accuracy": base["forget_accuracy"].value,
        "base_retain": base["retain_accuracy"].value,
    }
    return row
