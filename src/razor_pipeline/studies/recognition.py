"""One cell of a study on a model that recognises: make it forget a target, examine it, relearn, quantize it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import pandas as pd

from razor_pipeline.core.metrics import Estimate
from razor_pipeline.core.quantize import quantized
from razor_pipeline.core.weight_edit import applied
from razor_pipeline.datasets.retrained import Retrained, never_saw, origins, whole
from razor_pipeline.families.naming_exam import NamingExam
from razor_pipeline.interfaces import ModelFamily, ReferenceFamily
from razor_pipeline.params.razor import AcceptanceParams
from razor_pipeline.params.studies import StudyParams
from razor_pipeline.studies.cells import Row
from razor_pipeline.studies.edits import cost, edit
from razor_pipeline.studies.relearning import Relearning

DROPS = {
    "retain_drop": "retain_accuracy",
    "near_twin_drop": "near_twin_accuracy",
    "general_drop": "general_accuracy",
}
GAP = (
    "forget_accuracy",
    "forget_accuracy_top5",
    "retain_accuracy",
    "near_twin_accuracy",
    "general_accuracy",
    "target_neutral",
    "membership_auc",
)
KEPT = (
    "forget_accuracy",
    "forget_accuracy_top5",
    "worst_class_loss",
    "retrieval_agreement",
    "membership_auc",
    "privacy_leakage",
)


@dataclass(frozen=True)
class Recognition:
    """A model that names what images show, its gold standards, and how it is quantized and attacked.

    Attributes:
        base: the model that knows the targets.
        retrained: gold standards; the first that never saw a target serves as its reference.
        params: schemes and attack.
    """

    base: ReferenceFamily
    retrained: Sequence[Retrained]
    params: StudyParams
    _said: dict[str, dict[Any, Any]] = field(default_factory=lambda: defaultdict(dict), compare=False)
    _relearnt: dict[Any, int] = field(default_factory=dict, compare=False)

    def identity(self) -> Any:
        """Where the models came from."""
        return [whole(self.base), origins(self.retrained)]

    def erase(self, samples: pd.DataFrame, method: AcceptanceParams, seed: int) -> Row:
        """Edit, examine, relearn, quantize and examine again; one flat row of figures."""
        base, params = self.base, self.params
        result = edit(base, samples, method, seed)
        exam = self._exam(samples)
        before = self._examined_once(exam, base, "base")
        unedited = exam.mark(before, before)
        row = cost(result, base)
        relearn = Relearning(exam, samples, params.relearning) if params.relearning else None
        gold = never_saw(self.retrained, exam.targets)
        apart = gold.beside(exam.targets) if gold else frozenset[str]()
        standard = {}
        if gold:
            retrained = self._examined_once(exam, gold.model, f"without {sorted(gold.excluded)}")
            standard = exam.mark(retrained, before, leave_out=apart)
            row |= of_retrained(standard, unedited)
            row |= {"retrained_relearn_steps": self._relearnt_once(relearn, gold)} if relearn else {}
        reference = row.get("retrained_auc", 0.5)
        with applied(dict(base.module.named_parameters()), result.edit):
            given = exam.put_to(base)
            row |= self._compare(exam.mark(given, before, reference), unedited)
            row |= {"relearn_steps": relearn(base)} if relearn else {}
            if gold:
                row |= beside(standard, exam.mark(given, before, reference, leave_out=apart))
            if "retrained_relearn_steps" in row:
                row["relearn_margin"] = row["relearn_steps"] - row["retrained_relearn_steps"]
            small = {s: exam.put_to(base.with_module(quantized(base.module, s))) for s in params.schemes}
        for scheme, found in small.items():
            plain = self._examined_once(exam, base.with_module(quantized(base.module, scheme)), scheme)
            marks = self._compare(exam.mark(found, plain, reference), exam.mark(plain, plain))
            row |= {f"{scheme}_{name}": value for name, value in marks.items()}
        return row

    def _exam(self, samples: pd.DataFrame) -> Any:
        return NamingExam(self.base, samples)

    def _compare(self, edited: Mapping[str, Estimate], base: Mapping[str, Estimate]) -> Row:
        return compare(edited, base)

    def _examined_once(self, exam: Any, model: ModelFamily, name: str) -> Any:
        """What a model says that no target changes, base or retrained: most of it is asked for every target."""
        return exam.put_to(model, self._said[name])

    def _relearnt_once(self, relearn: Relearning, gold: Retrained) -> int:
        """Steps of the gold standard, which neither a method nor a seed changes."""
        key = (tuple(sorted(gold.excluded)), relearn.identity())
        if key not in self._relearnt:
            self._relearnt[key] = relearn(cast(ReferenceFamily, gold.model))
        return self._relearnt[key]


def compare(edited: Mapping[str, Estimate], base: Mapping[str, Estimate]) -> Row:
    """``edited_<metric>`` for what stands alone, ``<metric>_drop`` = base - edited for what is kept."""
    row: Row = {f"edited_{name}" if "accuracy" in name else name: edited[name].value for name in KEPT}
    row |= {name: base[m].value - edited[m].value for name, m in DROPS.items() if m in base}
    return row | {"base_forget_accuracy": base["forget_accuracy"].value}


def of_retrained(standard: Mapping[str, Estimate], unedited: Mapping[str, Estimate]) -> Row:
    """What a row says of the gold standard itself."""
    row = {
        "retrained_auc": standard["membership_auc"].value,
        "retrained_forget_accuracy": standard["forget_accuracy"].value,
        "retrained_retain_accuracy": standard["retain_accuracy"].value,
    }
    if "target_neutral" in standard:  # nor does it describe whom it never saw as well
        worse = unedited["target_neutral"].value - standard["target_neutral"].value
        row["retrained_target_neutral_drop"] = worse
    return row


def beside(standard: Mapping[str, Estimate], edited: Mapping[str, Estimate]) -> Row:
    """The gap to the gold standard and, on the samples that it was marked on, what is read beside its AUC."""
    told = {name: edited[name].value for name in ("membership_auc", "privacy_leakage") if name in edited}
    return told | {"gap_to_retraining": gap_to(standard, edited)}


def gap_to(standard: Mapping[str, Estimate], edited: Mapping[str, Estimate]) -> float:
    """Mean absolute difference from the retrained model over all shares and the AUC; 0 is as good as retraining."""
    gaps = [abs(edited[name].value - standard[name].value) for name in GAP if name in standard]
    return sum(gaps) / len(gaps)
