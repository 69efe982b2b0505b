"""Examiners that show images, and ask for names or in words.

Shapes: N samples, C classes.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from razor_pipeline.core import metrics
from razor_pipeline.core.metrics import Estimate
from razor_pipeline.core.quantize import Scheme
from razor_pipeline.families.naming_exam import NamingExam, Scores
from razor_pipeline.families.question_exam import Memory, QuestionExam
from razor_pipeline.families.vlm import VlmFamily
from razor_pipeline.interfaces import ModelFamily, class_scores
from razor_pipeline.manifest import NO_REFERENCE, reference_tested
from razor_pipeline.params.evaluation import QuestionParams
from razor_pipeline.params.studies import RelearningParams
from razor_pipeline.requests.examination import Examiner, Figures
from razor_pipeline.studies.relearning import Relearning


class ImageExaminer(Examiner):
    """Shows images; see :class:`Examiner`."""

    @abstractmethod
    def _alone(self, samples: pd.DataFrame) -> NamingExam | QuestionExam:
        """An exam of these samples, of which one label is a target."""

    @property
    def not_checked(self) -> str:
        """That nobody is there to be told from, where the data has no never-seen classes."""
        return "" if reference_tested(self.samples) else NO_REFERENCE

    def _traces(self, exam: Any, model: Any, label: str, relearning: int) -> Figures:
        found: Figures = {}
        # Against known classes no AUC is wrong: a model that never saw the target has any.
        if reference_tested(self.samples):
            found["membership_auc"] = _membership(exam, model, label)
        if relearning:
            own = self.samples[(self.samples["label"] == label) | (self.samples["role"] != "forget")]
            attack = Relearning(self._alone(own), own, RelearningParams(steps=relearning))
            steps = float(attack(model))
            found["relearn_steps"] = Estimate(steps, steps, steps, 1)
        return found


class NamingExaminer(ImageExaminer):
    """Asks what images show; see :class:`Examiner`."""

    def __init__(self, base: ModelFamily, samples: pd.DataFrame, schemes: Sequence[Scheme]) -> None:
        super().__init__(base, samples, schemes)
        self.exam = NamingExam(base, samples)
        self.labels = self.exam.rows[self.exam.domain]["label"].to_numpy()
        self._of_base: dict[Scheme | None, Scores] = {}

    def knows(self, label: str) -> Estimate:
        """How often the base model recognises a target."""
        return self._recognised(self._base(None), label)

    def _exam(self, targets: Sequence[str]) -> NamingExam:  # noqa: ARG002
        return self.exam

    def _alone(self, samples: pd.DataFrame) -> NamingExam:
        return NamingExam(self.base, samples)

    def _base(self, scheme: Scheme | None) -> Scores:
        if scheme not in self._of_base:
            self._of_base[scheme] = self.exam.scores(self._as_it_was(scheme))
        return self._of_base[scheme]

    def _recognised(self, scores: Scores, label: str) -> Estimate:
        own = self.labels == label
        return metrics.share(
            metrics.top_k_hits(scores[self.exam.domain][own], self.exam.labels(self.exam.domain)[own])
        )

    def _marks(
        self, exam: Any, model: Any, label: str | None, earlier: Sequence[str], scheme: Scheme | None = None
    ) -> Figures:
        before, domain = self._base(scheme), exam.domain
        scores = before if model is None else exam.scores(model)
        forgotten = [name for name in (label, *earlier) if name is not None]
        kept = ~np.isin(self.labels, forgotten)
        found = {
            "retain_accuracy": metrics.macro_accuracy(scores[domain][kept], exam.labels(domain)[kept]),
            "worst_class_loss": exam.most_lost(before, scores, forgotten)[1],
        }
        if label is not None:
            found["forget_accuracy"] = self._recognised(scores, label)
        if earlier:
            found["earlier_accuracy"] = metrics.worst([self._recognised(scores, one) for one in earlier])
        others = [name for name in exam.rows if name != domain]
        if others:
            hits = [metrics.top_k_hits(scores[name], exam.labels(name)) for name in others]
            found["general_accuracy"] = metrics.share(np.concatenate(hits))
        return found


class QuestionExaminer(ImageExaminer):
    """Asks in words; see :class:`Examiner`.

    A target is recognised as often as the worst kind of question names it, and the batch's later targets are asked
    about as everybody who is kept. ``general_accuracy`` is that of neutral questions.
    """

    def __init__(
        self, base: VlmFamily, samples: pd.DataFrame, schemes: Sequence[Scheme], questions: QuestionParams
    ) -> None:
        super().__init__(base, samples, schemes)
        self.assistant, self.questions = base, questions
        self._said: dict[Scheme | None, Memory] = defaultdict(dict)

    def knows(self, label: str) -> Estimate:
        """How often the base model names a target whom it is asked for, in phrasings that it may have learnt."""
        exam = self._exam([label])
        return exam.named(exam.put_to(self.assistant, self._said[None]), label)["seen"]

    def _exam(self, targets: Sequence[str]) -> QuestionExam:
        return self._alone(self._with_later_ones_kept(targets))

    def _alone(self, samples: pd.DataFrame) -> QuestionExam:
        return QuestionExam(self.assistant, samples, self.questions)

    def _marks(
        self, exam: Any, model: Any, label: str | None, earlier: Sequence[str], scheme: Scheme | None = None
    ) -> Figures:
        before = exam.put_to(self._as_it_was(scheme), self._said[scheme])
        answers = before if model is None else exam.put_to(model, {})
        marks = exam.mark(answers, before)
        kept = ("retain_accuracy", "worst_class_loss", "general_accuracy")
        found = {name: marks[name] for name in kept if name in marks}
        recognised = {name: metrics.worst(list(exam.named(answers, name).values())) for name in exam.targets}
        if label is not None:
            found["forget_accuracy"] = recognised[label]
        if earlier:
            found["earlier_accuracy"] = metrics.worst([recognised[name] for name in earlier])
        return found


def _membership(exam: NamingExam | QuestionExam, model: ModelFamily, label: str) -> Estimate:
    prompts = {label: exam.prompts[exam.domain][label]}
    member, nonmember = (
        class_scores(model, batches, prompts)[:, 0].numpy()
        for batches in (exam.members[label], exam.reference)
    )
    return metrics.membership_auc(member, nonmember)
