"""Relearning: an attacker teaches a model a forgotten name again, from a few images of the target."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional

from razor_pipeline.core.attacks.relearning import recovery_curve, steps_to
from razor_pipeline.core.cached import FORWARD_BATCH, CachedBatches
from razor_pipeline.families.naming_exam import NamingExam
from razor_pipeline.families.question_exam import QuestionExam
from razor_pipeline.interfaces import ReferenceFamily, class_scores
from razor_pipeline.manifest import asked_once
from razor_pipeline.params.studies import RelearningParams


def relearning_loss(
    family: ReferenceFamily, rows: pd.DataFrame, prompts: Sequence[str], column: int
) -> Callable[[], Tensor]:
    """Cross-entropy of the target's name on its images, against all other names, at the model's current weights.

    Args:
        family: the model.
        rows: images of the target, all of them one batch.
        prompts: one for every class.
        column: the target's place among them.
    """
    [shots] = family.batches(rows, len(rows))
    aim_B = torch.full((len(rows),), column, device=family.device)
    return lambda: functional.cross_entropy(family.class_logits(shots, prompts), aim_B)


class Relearning:
    """Fine-tuning on the last few of the target's edit images, by the name, against all other names.

    The attacker whom RAZOR simulates has the first ones (:mod:`razor_pipeline.methods.simulated_attacker`).
    """

    def __init__(
        self, exam: NamingExam | QuestionExam, samples: pd.DataFrame, params: RelearningParams
    ) -> None:
        self.exam, self.params = exam, params
        target = exam.targets[0]
        self.names = list(exam.prompts[exam.domain])
        own = asked_once(samples[(samples["label"] == target) & (samples["domain"] == exam.domain)])
        self.shots = own[own["split"] == "edit"].tail(params.images)
        self.unseen = own[own["split"] == "test"]
        self.column = self.names.index(target)

    def identity(self) -> Hashable:
        """The images that he has and asks for, and every prompt: the same attack for the same."""
        prompts = tuple((name, *texts) for name, texts in self.exam.prompts[self.exam.domain].items())
        return (tuple(self.shots["sample_id"]), tuple(self.unseen["sample_id"]), prompts)

    def __call__(self, family: ReferenceFamily) -> int:
        """Steps until the target's unseen images are named again; ``steps + 1`` where they never are."""
        unseen = CachedBatches(family.batches(self.unseen, FORWARD_BATCH))
        prompts = self.exam.prompts[self.exam.domain]
        named = [several[0] for several in prompts.values()]

        def accuracy() -> float:
            found = class_scores(family, unseen, prompts).argmax(dim=1)
            return float((found == self.column).float().mean())

        params = self.params
        curve = recovery_curve(
            dict(family.module.named_parameters()),
            relearning_loss(family, self.shots, named, self.column),
            accuracy,
            params.steps,
            params.learning_rate,
            params.threshold,
        )
        return steps_to(curve, params.threshold)
