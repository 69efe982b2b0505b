"""What a request did: the target, everything forgotten before it, and what is kept, on what no edit has seen."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd

from razor_pipeline.core.metrics import Estimate
from razor_pipeline.core.quantize import Scheme, quantized
from razor_pipeline.interfaces import ModelFamily
from razor_pipeline.requests.evidence import IMAGES

Figures = dict[str, Estimate]


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
        """Figures of a model; None for the base model, whose answers are kept.

        Where a scheme is named, the model is quantized by it, and so is the base that it is held against.
        """

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
        ``retain_accuracy``, ``worst_class_loss`` and ``general_accuracy``; of the edited model also what is left of the
        target: where the data has never-seen classes ``membership_auc`` and, where steps are to be counted,
        ``relearn_steps``; of a model that draws ``encoders_back``.

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
            found[f"{scheme}_edited"] = self._marks(exam, small, label, earlier, scheme)
        return found

    def _as_it_was(self, scheme: Scheme | None) -> Any:
        """The base model, quantized where a scheme is named."""
        return self.base.with_module(quantized(self.base.module, scheme)) if scheme else self.base

    def _with_later_ones_kept(self, targets: Sequence[str]) -> pd.DataFrame:
        """The samples, the batch's later targets among what is to be kept."""
        role, label = self.samples["role"], self.samples["label"]
        later = (role == "forget") & ~label.isin(targets)
        return self.samples.assign(role=role.mask(later, "retain"))


def plain(figures: dict[str, Figures]) -> dict[str, dict[str, dict[str, Any]]]:
    """Figures as JSON."""
    return {
        model: {name: asdict(estimate) for name, estimate in marks.items()}
        for model, marks in figures.items()
    }
