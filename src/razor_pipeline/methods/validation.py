"""What a step search sees: forgetting, leakage and retention on the validation split.

Shapes: N samples, C classes, F forget samples, R reference samples.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from razor_pipeline.core.cached import FORWARD_BATCH, CachedBatches
from razor_pipeline.core.metrics import auc
from razor_pipeline.interfaces import (
    AnsweringFamily,
    Examinee,
    ForgetSet,
    ModelFamily,
    UnlearningTask,
    by_class,
    class_scores,
)

WORDINGS = 3  # in which an image is asked whether it shows the target
FIGURES = ("forget_accuracy", "knowledge_auc", "retain_accuracy", "retain_margin")


@dataclass(frozen=True)
class Outcome:
    """One evaluation on the validation split.

    Attributes:
        forget_accuracy: highest accuracy on any target's images.
        aucs: for each target, the AUC of telling its images from never-seen ones by their tie to its name: 1 known,
            0.5 indistinguishable. It goes on where accuracy ends. What was forgotten earlier counts as one, by its
            mean: the highest of many AUCs of a dozen images each is high by chance, and whoever comes back shows in
            ``forget_accuracy``. None of a model whose drawings are looked at.
        retain_accuracy: macro accuracy on the other classes.
        retain_margin: mean gap between a retain sample's own class and the best other one; NaN of drawings.
        general_accuracy: of drawings, the share that shows the style asked for; None where none are looked at.
        agreement: highest share of answers which agree that a target's images show it, where that is suggested; None of
            a model that answers no questions. A step search leaves it out: it asks for longer steps than names do.
        reference: for each target, the tie of its never-seen samples to its name, [R]; not a figure of the trace.
        right: whether each image that is kept is told right, by its class; likewise. Empty of drawings.
    """

    forget_accuracy: float
    aucs: tuple[float, ...]
    retain_accuracy: float
    retain_margin: float = math.nan
    general_accuracy: float | None = None
    agreement: float | None = None
    reference: tuple[Tensor, ...] = field(default=(), repr=False, compare=False)
    right: pd.Series = field(default_factory=lambda: pd.Series(dtype=bool), repr=False, compare=False)

    @property
    def knowledge_auc(self) -> float:
        """The highest of ``aucs``; NaN where there is none."""
        return max(self.aucs, default=math.nan)

    def left_to_forget(self, measure: Literal["knowledge_auc", "forget_accuracy"]) -> float:
        """What the step search brings down to its goal."""
        return self.knowledge_auc if measure == "knowledge_auc" else self.forget_accuracy

    def row(self, **where: Any) -> dict[str, Any]:
        """A row of the edit trace."""
        figures = {name: getattr(self, name) for name in FIGURES}
        some = {"general_accuracy": self.general_accuracy, "agreement": self.agreement}
        return where | figures | {name: value for name, value in some.items() if value is not None}


def scores_of_rows(model: Examinee, rows: pd.DataFrame, prompts: Mapping[str, Sequence[str]]) -> Tensor:
    """[N, C] score of every class for manifest rows that are looked at once."""
    return class_scores(model, model.batches(rows, FORWARD_BATCH), prompts)


class Validation:
    """Prepares the validation images once; each call is one forward pass at the current weights.

    Never-seen images are asked for the targets alone: a model that answers pays for every name.

    Args:
        model: at its base weights where ``by_output``.
        task: targets and data.
        by_output: ask for scores that see an edit of any part (:meth:`ModelFamily.by_output`).
    """

    def __init__(self, model: ModelFamily, task: UnlearningTask, by_output: bool = False) -> None:
        self.task = task
        self.classes = list(task.prompts)
        self.targets = (*task.forget, *task.earlier)
        named = pd.concat([task.retain_validation, *(forget.validation for forget in self.targets)])
        named = named.drop_duplicates("sample_id")
        reference = pd.concat([forget.reference for forget in self.targets]).drop_duplicates("sample_id")
        reference = reference[~reference["sample_id"].isin(named["sample_id"])]
        everything = pd.concat([named, reference], ignore_index=True)
        self.count = len(named)
        self.place = {sample: i for i, sample in enumerate(everything["sample_id"])}
        self.flat = [prompt for several in task.prompts.values() for prompt in several]
        own = {prompt for forget in self.targets for prompt in task.prompts[forget.target]}
        self.columns = [column for column, prompt in enumerate(self.flat) if prompt in own]
        self.model: Examinee = model.by_output(everything, self.flat) if by_output else model
        self.named, self.reference = (
            CachedBatches(self.model.batches(rows, FORWARD_BATCH)) for rows in (named, reference)
        )
        self.suggested = {
            forget.target: CachedBatches(model.batches(forget.validation, FORWARD_BATCH))
            for forget in self.targets
            if isinstance(model, AnsweringFamily)
        }

    def __call__(self, model: Examinee | None = None) -> Outcome:
        """Evaluate the model as it is, or another one of its family."""
        if model is None:
            scores_NP = self._scores(self.model, self.named, self.reference)
        else:  # which may outlive this, so that nothing decoded is left with it
            scores_NP = self._scores(model, self.named.batches, self.reference.batches)
        scores_NC = by_class(scores_NP, self.task.prompts)
        retain_RC, own_R = self._retain(scores_NC)
        others_RC = retain_RC.scatter(1, own_R[:, None], -torch.inf)
        own_score_R = retain_RC.gather(1, own_R[:, None])[:, 0]
        margin_R = own_score_R - others_RC.max(dim=1).values
        right = pd.Series((margin_R > 0).numpy(), index=self.task.retain_validation["label"])
        forgotten = [self._forgetting(scores_NC, forget) for forget in self.targets]
        return Outcome(
            forget_accuracy=max(accuracy for accuracy, _ in forgotten),
            aucs=self._told([value for _, value in forgotten]),
            retain_accuracy=float(right.groupby(level=0).mean().mean()),
            retain_margin=float(margin_R.mean()),
            agreement=self._agreement(model or self.model),
            reference=tuple(
                scores_NP[self._index(forget.reference), self.flat.index(forget.prompt)]
                for forget in self.targets
            ),
            right=right,
        )

    def _scores(self, model: Examinee, named: Sequence[Any], reference: Sequence[Any]) -> Tensor:
        """[N, P] score of every prompt; NaN where a never-seen sample is not asked for it."""
        named_NP = model.scores(named, self.flat)
        if not len(reference):
            return named_NP
        told_RT = model.scores(reference, [self.flat[column] for column in self.columns])
        reference_RP = told_RT.new_full((len(told_RT), len(self.flat)), torch.nan)
        reference_RP[:, self.columns] = told_RT
        return torch.cat([named_NP, reference_RP])

    def reference_ties(self, forget: ForgetSet, prompts: Sequence[str]) -> Tensor:
        """[R, P] tie of a target's never-seen samples to other prompts, at the weights as they are.

        A family that keeps what it embedded last takes no pass of the images where no weight has moved since the last
        evaluation.
        """
        index_R = self._index(forget.reference)
        if not len(self.reference):  # other classes stand for what was never seen
            return self.model.scores(self.named, prompts)[index_R]
        return self.model.scores(self.reference, prompts)[index_R - self.count]

    def ties_to_targets(self) -> Tensor:
        """[N, T] tie of the retained rows to each target, likewise."""
        prompts = {forget.target: self.task.prompts[forget.target] for forget in self.task.forget}
        flat = [prompt for several in prompts.values() for prompt in several]
        rows = self._index(self.task.retain_validation)
        return by_class(self.model.scores(self.named, flat), prompts)[rows]

    @torch.no_grad()
    def _agreement(self, model: Examinee) -> float | None:
        if not isinstance(model, AnsweringFamily):
            return None
        shares = []
        for target, batches in self.suggested.items():
            said = [model.agreement(batch, target, turn) for batch in batches for turn in range(WORDINGS)]
            shares.append(float((torch.cat(said) > 0.0).float().mean()))
        return max(shares)

    def _told(self, aucs: Sequence[float]) -> tuple[float, ...]:
        own, before = aucs[: len(self.task.forget)], aucs[len(self.task.forget) :]
        return (*own, fmean(before)) if before else tuple(own)

    def _retain(self, scores_NC: Tensor) -> tuple[Tensor, Tensor]:
        rows = self.task.retain_validation
        own_R = torch.tensor([self.classes.index(label) for label in rows["label"]])
        return scores_NC[self._index(rows)], own_R

    def _forgetting(self, scores_NC: Tensor, forget: ForgetSet) -> tuple[float, float]:
        column = self.classes.index(forget.target)
        target_FC = scores_NC[self._index(forget.validation)]
        accuracy = float((target_FC.argmax(dim=1) == column).float().mean())
        known_F, reference_R = target_FC[:, column], scores_NC[self._index(forget.reference), column]
        return accuracy, auc(known_F.numpy(), reference_R.numpy())

    def _index(self, rows: pd.DataFrame) -> Tensor:
        return torch.from_numpy(np.array([self.place[sample] for sample in rows["sample_id"]]))
