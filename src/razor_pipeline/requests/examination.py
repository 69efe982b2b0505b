"""What a request did: the target, everything forgotten before it, and what is kept, on what no edit has seen.

Shapes: N samples, C classes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from razor_pipeline.core import metrics
from razor_pipeline.core.metrics import Estimate
from razor_pipeline.core.quantize import Scheme, quantized
from razor_pipeline.families import drawing_exam
from razor_pipeline.families.drawing_exam import DrawingExam
from razor_pipeline.families.naming_exam import NamingExam
from razor_pipeline.families.question_exam import Memory, QuestionExam
from razor_pipeline.families.text_to_image import TextToImageFamily
from razor_pipeline.families.vit import VitFamily
from razor_pipeline.families.vlm import VlmFamily
from razor_pipeline.interfaces import ModelFamily, class_scores
from razor_pipeline.manifest import NO_STRANGERS, strangers_tested
from razor_pipeline.params.evaluation import DrawingParams, EvaluationParams, QuestionParams
from razor_pipeline.params.studies import RelearningParams
from razor_pipeline.requests.evidence import IMAGES
from razor_pipeline.studies.relearning import Relearning

Scores = dict[str, NDArray[np.float32]]
Figures = dict[str, Estimate]
SEEDS = 2  # of a prompt's drawings
NO_SEARCH = (
    "Not checked: whether somebody who searches for other prompts, or teaches the model a new word, can have the "
    "target drawn again. encoders_back is the share that shows it once the original text encoders are put back."
)


def examiner(
    base: ModelFamily,
    samples: pd.DataFrame,
    schemes: Sequence[Scheme],
    evaluation: EvaluationParams,
    judges: Mapping[str, VitFamily],
) -> Examiner:
    """Who examines the models of a line: by names, in words where they answer, by drawings where they draw.

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


class Examiner(ABC):
    """One set of questions for a whole batch; the base model's answers are asked for once.

    Args:
        base: the line's base model, against which every drop counts.
        samples: manifest rows, all targets so far and those of the batch with the role ``forget``.
        schemes: quantization schemes.
    """

    measured_on = IMAGES  # in words

    def __init__(self, base: ModelFamily, samples: pd.DataFrame, schemes: Sequence[Scheme]) -> None:
        self.base, self.samples, self.schemes = base, samples, schemes

    @abstractmethod
    def knows(self, label: str) -> Estimate:
        """How often the base model recognises a target."""

    @abstractmethod
    def _exam(self, targets: Sequence[str]) -> Any:
        """Asks about targets, which have been forgotten, and about what is kept."""

    @abstractmethod
    def _marks(
        self, exam: Any, model: Any, label: str | None, earlier: Sequence[str], scheme: Scheme | None = None
    ) -> Figures:
        """Figures of a model; None for the base model, quantized where a scheme is named, whose answers are kept."""

    @abstractmethod
    def _traces(self, exam: Any, model: Any, label: str, relearning: int) -> Figures:
        """What else tells of the target in the edited model."""

    @property
    @abstractmethod
    def not_checked(self) -> str:
        """What the figures do not say, as a sentence; empty where there is nothing to add."""

    def examine(
        self, model: ModelFamily, label: str | None, earlier: Sequence[str], relearning: int = 0
    ) -> dict[str, Figures]:
        """Figures by model: ``base``, ``edited`` and both quantized by every scheme.

        ``forget_accuracy`` of the target, ``earlier_accuracy`` of the earlier target that is recognised most often,
        ``retain_accuracy`` and ``general_accuracy``; of the edited model also what is left of the target: where the
        data has never-seen classes ``membership_auc`` and, where steps are to be counted, ``relearn_steps``; of a model
        that draws ``encoders_back``.

        Args:
            model: the edited model; as it was on exit.
            label: of the target; None where an edit was taken out.
            earlier: labels forgotten before.
            relearning: steps of the relearning attack that are tried at most; 0 for none.
        """
        exam = self._exam([*([] if label is None else [label]), *earlier])
        found = {"base": self._marks(exam, None, label, earlier)}
        found["edited"] = self._marks(exam, model, label, earlier)
        if label is not None:
            found["edited"] |= self._traces(exam, model, label, relearning)
        for scheme in self.schemes:
            small = model.with_module(quantized(model.module, scheme))
            found[f"{scheme}_base"] = self._marks(exam, None, label, earlier, scheme)
            found[f"{scheme}_edited"] = self._marks(exam, small, label, earlier)
        return found

    def _as_it_was(self, scheme: Scheme | None) -> Any:
        """The base model, quantized where a scheme is named."""
        return self.base.with_module(quantized(self.base.module, scheme)) if scheme else self.base

    def _with_later_ones_kept(self, targets: Sequence[str]) -> pd.DataFrame:
        """The samples, the batch's later targets among what is to be kept."""
        role, label = self.samples["role"], self.samples["label"]
        later = (role == "forget") & ~label.isin(targets)
        return self.samples.assign(role=role.mask(later, "retain"))


class ImageExaminer(Examiner):
    """Shows images; see :class:`Examiner`."""

    @abstractmethod
    def _alone(self, samples: pd.DataFrame) -> NamingExam | QuestionExam:
        """An exam of these samples, of which one label is a target."""

    @property
    def not_checked(self) -> str:
        """That nobody is there to be told from, where the data has no never-seen classes."""
        return "" if strangers_tested(self.samples) else NO_STRANGERS

    def _traces(self, exam: Any, model: Any, label: str, relearning: int) -> Figures:
        found: Figures = {}
        # Against known classes no AUC is wrong: a model that never saw the target has any.
        if strangers_tested(self.samples):
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
        scores, domain = self._base(scheme) if model is None else exam.scores(model), exam.domain
        kept = ~np.isin(self.labels, [name for name in (label, *earlier) if name is not None])
        found = {"retain_accuracy": metrics.macro_accuracy(scores[domain][kept], exam.labels(domain)[kept])}
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
        asked, said = (self._as_it_was(scheme), self._said[scheme]) if model is None else (model, {})
        answers = exam.put_to(asked, said)
        marks = exam.mark(answers, answers)
        found = {name: marks[name] for name in ("retain_accuracy", "general_accuracy") if name in marks}
        recognised = {name: metrics.worst(list(exam.named(answers, name).values())) for name in exam.targets}
        if label is not None:
            found["forget_accuracy"] = recognised[label]
        if earlier:
            found["earlier_accuracy"] = metrics.worst([recognised[name] for name in earlier])
        return found


class DrawingExaminer(Examiner):
    """Has every prompt of the targets' domain drawn from the first two seeds, and judges look; see :class:`Examiner`.

    A subset of the prompts will not do, whatever reports are content with: what is kept grows less with every request,
    and its gates ask for a hundredth. A blank drawing counts as the target.
    """

    measured_on = (
        "drawings of every prompt of the data, made from two seeds and judged as parameters.json says"
    )

    def __init__(
        self,
        base: TextToImageFamily,
        samples: pd.DataFrame,
        schemes: Sequence[Scheme],
        drawing: DrawingParams,
        judges: Mapping[str, VitFamily],
    ) -> None:
        super().__init__(base, samples, schemes)
        every = {
            "protocol": "unlearncanvas",
            "seeds": drawing.seeds[:SEEDS],
            "fid": False,
            "clip_score": None,
        }
        self.drawing = drawing.model_copy(update=every)
        self.judges = judges
        self._drawn: dict[Scheme | None, drawing_exam.Memory] = defaultdict(dict)

    @property
    def not_checked(self) -> str:
        """That prompts may be searched for."""
        return NO_SEARCH

    def knows(self, label: str) -> Estimate:
        """How often the base model draws a target that it is asked for."""
        exam = self._exam([label])
        return exam.recognised(exam.put_to(self._as_it_was(None), self._drawn[None]))[label]

    def _exam(self, targets: Sequence[str]) -> DrawingExam:
        # Where nothing is forgotten any more, what was taken out is left out of what is kept: an exam has a target.
        samples = self._with_later_ones_kept(targets) if targets else self.samples
        return DrawingExam(samples, self.judges, self.drawing)

    def _marks(
        self, exam: Any, model: Any, label: str | None, earlier: Sequence[str], scheme: Scheme | None = None
    ) -> Figures:
        drawings = (
            exam.put_to(self._as_it_was(scheme), self._drawn[scheme]) if model is None else exam.put_to(model)
        )
        shares, recognised = exam.shares(drawings), exam.recognised(drawings)
        found = {name: shares[name] for name in ("retain_accuracy", "general_accuracy")}
        if label is not None:
            found["forget_accuracy"] = recognised[label]
        if earlier:
            found["earlier_accuracy"] = metrics.worst([recognised[name] for name in earlier])
        return found

    def _traces(self, exam: Any, model: Any, label: str, relearning: int) -> Figures:  # noqa: ARG002
        """How often the target is drawn again by whoever puts the base model's text encoders back; no gate asks."""
        return {"encoders_back": self._exam([label]).target_share(model.with_frozen_encoders())}


def _membership(exam: NamingExam | QuestionExam, model: ModelFamily, label: str) -> Estimate:
    prompts = {label: exam.prompts[exam.domain][label]}
    member, nonmember = (
        class_scores(model, batches, prompts)[:, 0].numpy() for batches in (exam.members[label], exam.unknown)
    )
    return metrics.membership_auc(member, nonmember)


def plain(figures: dict[str, Figures]) -> dict[str, dict[str, dict[str, Any]]]:
    """Figures as JSON."""
    return {
        model: {name: asdict(estimate) for name, estimate in marks.items()}
        for model, marks in figures.items()
    }
