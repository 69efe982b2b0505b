"""One cell of a study on an assistant: make it forget a name, ask it questions, quantize it and ask again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from razor_pipeline.core.metrics import Estimate
from razor_pipeline.core.quantize import quantized
from razor_pipeline.core.weight_edit import applied
from razor_pipeline.datasets.retrained import Retrained, never_saw, origins, whole
from razor_pipeline.families.asks import KINDS
from razor_pipeline.families.question_exam import Memory, QuestionAnswers, QuestionExam
from razor_pipeline.families.vlm import VlmFamily
from razor_pipeline.params.evaluation import QuestionParams
from razor_pipeline.params.razor import AcceptanceParams
from razor_pipeline.params.studies import StudyParams
from razor_pipeline.studies.cells import Row
from razor_pipeline.studies.edits import cost, edit
from razor_pipeline.studies.recognition import beside, of_retrained
from razor_pipeline.studies.relearning import Relearning

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
class Assistant:
    """A model that answers questions, and how it is examined and quantized.

    Attributes:
        base: the model that knows the targets.
        questions: how many neutral ones are asked.
        params: schemes.
        retrained: gold standards; the first that never saw a target serves as its reference.
    """

    base: VlmFamily
    questions: QuestionParams
    params: StudyParams
    retrained: Sequence[Retrained] = ()
    _said: dict[str, Memory] = field(default_factory=lambda: defaultdict(dict), compare=False)

    def identity(self) -> Any:
        """Where the models came from, and what they are asked."""
        return [whole(self.base), self.questions, origins(self.retrained)]

    def erase(self, samples: pd.DataFrame, method: AcceptanceParams, seed: int) -> Row:
        """Edit, ask, quantize and ask again; one flat row of figures."""
        base = self.base
        result = edit(base, samples, method, seed)
        exam = QuestionExam(base, samples, self.questions)
        before = self._answered_once(exam, base, "base")
        gold = never_saw(self.retrained, exam.targets)
        apart = gold.beside(exam.targets) if gold else frozenset[str]()
        standard = {}
        if gold:
            assert isinstance(gold.model, VlmFamily)
            answers = self._answered_once(exam, gold.model, f"without {sorted(gold.excluded)}")
            standard = exam.mark(answers, before, leave_out=apart)
        unedited = exam.mark(before, before)
        row = cost(result, base)
        relearn = Relearning(exam, samples, self.params.relearning) if self.params.relearning else None
        if gold:
            row |= of_retrained(standard)
            row |= {"retrained_relearn_steps": relearn(gold.model)} if relearn else {}
            if "target_neutral" in standard:  # nor does it describe whom it never saw as well
                worse = unedited["target_neutral"].value - standard["target_neutral"].value
                row["retrained_target_neutral_drop"] = worse
        reference = row.get("retrained_auc", 0.5)
        with applied(dict(base.module.named_parameters()), result.edit):
            given = exam.put_to(base)
            row |= compare(exam.mark(given, before, reference), unedited)
            row |= {"relearn_steps": relearn(base)} if relearn else {}
            if "retrained_relearn_steps" in row:
                row["relearn_margin"] = row["relearn_steps"] - row["retrained_relearn_steps"]
            small = {s: base.with_module(quantized(base.module, s)) for s in self.params.schemes}
            after = {scheme: exam.put_to(model) for scheme, model in small.items()}
        if gold:
            row |= beside(standard, exam.mark(given, before, reference, leave_out=apart))
        for scheme, found in after.items():
            plain = self._answered_once(exam, base.with_module(quantized(base.module, scheme)), scheme)
            marks = compare(exam.mark(found, plain, reference), exam.mark(plain, plain))
            row |= {f"{scheme}_{name}": value for name, value in marks.items()}
        return row

    def _answered_once(self, exam: QuestionExam, model: VlmFamily, name: str) -> QuestionAnswers:
        """What a model says that no target changes, base or retrained: most questions are asked of every target."""
        return exam.put_to(model, self._said[name])


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
