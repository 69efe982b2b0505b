"""The examiner of models that draw, who lets judges look.

Shapes: N drawings.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from razor_pipeline.core import metrics
from razor_pipeline.core.metrics import Estimate
from razor_pipeline.core.quantize import Scheme
from razor_pipeline.families.drawing_exam import DrawingExam, Memory
from razor_pipeline.families.text_to_image import TextToImageFamily
from razor_pipeline.families.vit import VitFamily
from razor_pipeline.params.evaluation import DrawingParams
from razor_pipeline.requests.examination import Examiner, Figures

SEEDS = 2  # of a prompt's drawings
OF_A_TARGET = 24  # drawings at least: an object in one style has one prompt
NO_SEARCH = (
    "Not checked: whether somebody who searches for other prompts, or teaches the model a new word, can have the "
    "target drawn again. encoders_back is the share that shows it once the original text encoders are put back."
)


class DrawingExaminer(Examiner):
    """Has every prompt of the targets' domain drawn from two seeds or more, and judges look; see :class:`Examiner`.

    A subset of the prompts will not do, whatever reports are content with: what is kept grows less with every request,
    and its gates ask for a hundredth. A blank drawing counts as the target.
    """

    measured_on = (
        f"drawings of every prompt of the data, made from two seeds, at least {OF_A_TARGET} of each target, and judged "
        "as parameters.json says"
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
            "target_drawings": OF_A_TARGET,
        }
        self.drawing = drawing.unpublished.model_copy(update=every)
        self.judges = judges
        self._drawn: dict[Scheme | None, Memory] = defaultdict(dict)

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
        before = exam.put_to(self._as_it_was(scheme), self._drawn[scheme])
        drawings = before if model is None else exam.put_to(model)
        shares, recognised = exam.shares(drawings), exam.recognised(drawings)
        found = {name: shares[name] for name in ("retain_accuracy", "general_accuracy")}
        found["worst_class_loss"] = exam.most_lost(before, drawings)[1]
        if label is not None:
            found["forget_accuracy"] = recognised[label]
        if earlier:
            found["earlier_accuracy"] = metrics.worst([recognised[name] for name in earlier])
        return found

    def _traces(self, exam: Any, model: Any, label: str, relearning: int) -> Figures:  # noqa: ARG002
        """How often the target is drawn again by whoever puts the base model's text encoders back; no gate asks."""
        return {"encoders_back": self._exam([label]).target_share(model.with_frozen_encoders())}
