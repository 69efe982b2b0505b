"""What a request did: the target, everything forgotten before it, and what is kept, on the test split.

Shapes: N samples, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from razor_pipeline.core import metrics
from razor_pipeline.core.metrics import Estimate
from razor_pipeline.core.quantize import Scheme, quantized
from razor_pipeline.families.naming_exam import NamingExam
from razor_pipeline.interfaces import ModelFamily, class_scores
from razor_pipeline.params.studies import RelearningParams
from razor_pipeline.studies.relearning import Relearning

Scores = dict[str, NDArray[np.float32]]
Figures = dict[str, Estimate]


@dataclass
class Examiner:
    """One set of questions for a whole batch; the base model's answers are asked for once.

    Args:
        base: the line's base model, against which every drop counts.
        samples: manifest rows, all targets so far and those of the batch with the role ``forget``.
        schemes: quantization schemes.
    """

    base: ModelFamily
    samples: pd.DataFrame
    schemes: Sequence[Scheme]
    _of_base: dict[Scheme | None, Scores] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.exam = NamingExam(self.base, self.samples)
        self.labels = self.exam.rows[self.exam.domain]["label"].to_numpy()

    def knows(self, label: str) -> Estimate:
        """How often the base model recognises a target."""
        return self._recognised(self._base(None), label)

    def examine(
        self, model: ModelFamily, label: str | None, earlier: Sequence[str], relearning: int = 0
    ) -> dict[str, Figures]:
        """Figures by model: ``base``, ``edited`` and both quantized by every scheme.

        ``forget_accuracy`` of the target, ``earlier_accuracy`` of the earlier target that is recognised most often,
        ``retain_accuracy`` and ``general_accuracy``; of the edited model also ``membership_auc`` of the target and,
        where steps are to be counted, ``relearn_steps``.

        Args:
            model: the edited model; as it was on exit.
            label: of the target; None where an edit was taken out.
            earlier: labels forgotten before.
            relearning: steps of the relearning attack that are tried at most; 0 for none.
        """
        found = {"base": self._marks(self._base(None), label, earlier)}
        found["edited"] = self._marks(self.exam.scores(model), label, earlier)
        if label is not None:
            found["edited"]["membership_auc"] = self._membership(model, label)
        if label is not None and relearning:
            own = self.samples[(self.samples["label"] == label) | (self.samples["role"] != "forget")]
            attack = Relearning(NamingExam(model, own), own, RelearningParams(steps=relearning))
            steps = float(attack(model))
            found["edited"]["relearn_steps"] = Estimate(steps, steps, steps, 1)
        for scheme in self.schemes:
            small = self.exam.scores(model.with_module(quantized(model.module, scheme)))
            found[f"{scheme}_base"] = self._marks(self._base(scheme), label, earlier)
            found[f"{scheme}_edited"] = self._marks(small, label, earlier)
        return found

    def _base(self, scheme: Scheme | None) -> Scores:
        """Of the base model, quantized where a scheme is named."""
        if scheme not in self._of_base:
            asked = self.base.with_module(quantized(self.base.module, scheme)) if scheme else self.base
            self._of_base[scheme] = self.exam.scores(asked)
        return self._of_base[scheme]

    def _recognised(self, scores: Scores, label: str) -> Estimate:
        own = self.labels == label
        return metrics.share(
            metrics.top_k_hits(scores[self.exam.domain][own], self.exam.labels(self.exam.domain)[own])
        )

    def _marks(self, scores: Scores, label: str | None, earlier: Sequence[str]) -> Figures:
        exam, domain = self.exam, self.exam.domain
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

    def _membership(self, model: ModelFamily, label: str) -> Estimate:
        exam = self.exam
        prompts = {label: exam.prompts[exam.domain][label]}
        member, nonmember = (
            class_scores(model, batches, prompts)[:, 0].numpy()
            for batches in (exam.members[label], exam.unknown)
        )
        return metrics.membership_auc(member, nonmember)


def plain(figures: dict[str, Figures]) -> dict[str, dict[str, dict[str, Any]]]:
    """Figures as JSON."""
    return {
        model: {name: asdict(estimate) for name, estimate in marks.items()}
        for model, marks in figures.items()
    }
