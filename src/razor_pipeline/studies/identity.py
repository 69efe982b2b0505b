"""One cell of a study: make a model forget one target, examine it, attack it, quantize it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from torch.nn import functional

from razor_pipeline.core.attacks.relearning import recovery_curve, steps_to
from razor_pipeline.core.metrics import Estimate
from razor_pipeline.core.quantize import quantized
from razor_pipeline.core.weight_edit import applied
from razor_pipeline.families.exam import Answers, Exam
from razor_pipeline.interfaces import EditResult, ModelFamily, class_scores
from razor_pipeline.methods.razor import razor, score
from razor_pipeline.methods.task import unlearning_task
from razor_pipeline.params import RazorParams, RelearningParams, Scheme

Row = dict[str, Any]
DROPS = {
    "retain_drop": "retain_accuracy",
    "near_twin_drop": "near_twin_accuracy",
    "general_drop": "general_accuracy",
}
KEPT = ("forget_accuracy", "forget_accuracy_top5", "retrieval_agreement", "membership_auc", "privacy_leakage")


@dataclass(frozen=True)
class Subject:
    """What one cell works on.

    Attributes:
        base: the model that knows the target.
        samples: manifest rows with roles.
        retrained: the gold standard, trained without the target, or None.
    """

    base: ModelFamily
    samples: pd.DataFrame
    retrained: ModelFamily | None = None


def erase(
    subject: Subject,
    params: RazorParams,
    seed: int,
    schemes: tuple[Scheme, ...],
    attack: RelearningParams | None,
) -> Row:
    """Edit, examine, quantize and attack; one flat row of figures."""
    base = subject.base
    task = unlearning_task(subject.samples)
    # Two generators of one seed, as the two pipeline steps have: a cell is what `kedro run` gives.
    scored = score(base, task, params.scoring, torch.Generator().manual_seed(seed))
    result = razor(base, task, params, torch.Generator().manual_seed(seed), scored)
    exam = Exam(base, subject.samples)
    answers = exam.put_to(base)
    row = _cost(result, base)
    relearn = _Relearning(exam, subject.samples, attack) if attack else None
    if subject.retrained is not None:
        row |= _gold(exam, subject.retrained, answers, relearn)
    reference = row.get("retrained_auc", 0.5)
    with applied(dict(base.module.named_parameters()), result.edit):
        edited = exam.put_to(base)
        row |= compare(exam.mark(edited, answers, reference), exam.mark(answers, answers))
        row |= {"relearn_steps": relearn(base)} if relearn else {}
        if "retrained_relearn_steps" in row:
            row["relearn_margin"] = row["relearn_steps"] - row["retrained_relearn_steps"]
        small = {scheme: exam.put_to(base.with_module(quantized(base.module, scheme))) for scheme in schemes}
    for scheme, given in small.items():
        plain = exam.put_to(base.with_module(quantized(base.module, scheme)))
        marks = compare(exam.mark(given, plain, reference), exam.mark(plain, plain))
        row |= {f"{scheme}_{name}": value for name, value in marks.items()}
    return row


def compare(edited: dict[str, Estimate], base: dict[str, Estimate]) -> Row:
    """``edited_<metric>`` for what stands alone, ``<metric>_drop`` = base - edited for what is kept."""
    row: Row = {f"edited_{name}" if "accuracy" in name else name: edited[name].value for name in KEPT}
    row |= {name: base[m].value - edited[m].value for name, m in DROPS.items() if m in base}
    return row | {"base_forget_accuracy": base["forget_accuracy"].value}


def _cost(result: EditResult, base: ModelFamily) -> Row:
    total = sum(parameter.numel() for parameter in base.module.parameters())
    return {
        "edited_fraction": result.edit.weights / total,
        "components": len(result.edit.components),
        "rounds": result.rounds,
        "stop_reason": str(result.stop_reason),
        "evaluations": len(result.trace),
        "score_seconds": result.seconds["score"],
        "edit_seconds": result.seconds["edit"],
    }


def _gold(exam: Exam, retrained: ModelFamily, base: Answers, relearn: _Relearning | None) -> Row:
    marks = exam.mark(exam.put_to(retrained), base)
    row = {
        "retrained_auc": marks["membership_auc"].value,
        "retrained_forget_accuracy": marks["forget_accuracy"].value,
    }
    row["retrained_retain_accuracy"] = marks["retain_accuracy"].value
    return row | ({"retrained_relearn_steps": relearn(retrained)} if relearn else {})


class _Relearning:
    """Fine-tuning on a few of the target's edit images, by the name, against all other names."""

    def __init__(self, exam: Exam, samples: pd.DataFrame, params: RelearningParams) -> None:
        self.exam, self.params = exam, params
        target = exam.targets[0]
        self.names = list(exam.prompts[exam.domain])
        own = samples[(samples["label"] == target) & (samples["domain"] == exam.domain)]
        self.shots = own[own["split"] == "edit"].head(params.images)
        self.unseen = own[own["split"] == "test"]
        self.column = self.names.index(target)

    def __call__(self, family: ModelFamily) -> int:
        """Steps until the target's unseen images are named again; ``steps + 1`` where they never are."""
        shots, unseen = family.batches(self.shots, 64)[0], family.batches(self.unseen, 256)
        prompts = self.exam.prompts[self.exam.domain]
        aim_B = torch.full((len(shots),), self.column)
        named = [several[0] for several in prompts.values()]

        def loss() -> torch.Tensor:
            return functional.cross_entropy(family.class_logits(shots, named), aim_B)

        def accuracy() -> float:
            found = class_scores(family, unseen, prompts).argmax(dim=1)
            return float((found == self.column).float().mean())

        params = self.params
        curve = recovery_curve(
            dict(family.module.named_parameters()),
            loss,
            accuracy,
            params.steps,
            params.learning_rate,
            params.threshold,
        )
        return steps_to(curve, params.threshold)
