"""What makes a suggested name lead nowhere: the gap to never-seen samples in agreeing that an image shows the target.

A model that no longer names somebody may still say yes to "Isn't this Ada Moreau?": to name an image and to compare it
with a name are learnt apart, and an edit that looks at the former alone leaves the latter where it was.

Shapes: N forget samples, M never-seen samples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from razor_pipeline.core import losses
from razor_pipeline.core.gradients import Gradients, mean_gradients, one_at_a_time
from razor_pipeline.interfaces import AnsweringFamily, UnlearningTask
from razor_pipeline.methods.held import spread_evenly

# How well the target's images may be told from never-seen ones by the answer. Lower than by their names: in words and
# before images that no step has seen the model agrees more readily than in those that the steps hold (decision 0021).
AUC = 0.25
# Log-odds that no image of the target is led above: some strangers are agreed to be anybody, and the target is not to
# be one of them (decision 0026). A yes is three times less likely than a no there.
DENIED = -1.0


@dataclass(frozen=True)
class _Suggested:
    """Batches of a target's images and of what was never seen, all to be asked whether they show the target."""

    target: str
    own: Sequence[Any]
    reference: Sequence[Any]

    def __len__(self) -> int:
        return sum(map(len, self.own))


class Suggestions:
    """The targets' images, each asked whether it shows its target.

    Args:
        model: at whatever weights it has when it is asked.
        task: targets and data.
        count: images of each target, and never-seen ones, at most; they stay in memory, decoded.
        batch_size: of the passes.
    """

    def __init__(self, model: AnsweringFamily, task: UnlearningTask, count: int, batch_size: int) -> None:
        def held(rows: pd.DataFrame) -> list[Any]:
            return list(model.batches(spread_evenly(rows, count), batch_size))

        self.model, self.turn = model, 0
        self.sets = [_Suggested(one.target, held(one.edit), held(one.reference)) for one in task.forget]

    def closing_in(self, leaves: Mapping[str, Tensor]) -> list[Gradients]:
        """Gradients of the mean gap of all targets."""
        self.turn += 1  # the same images in other words
        return [mean_gradients(self._gap, self.sets, leaves, "forget")]

    def _gap(self, suggested: _Suggested) -> Tensor:
        agreement = partial(self.model.agreement, label=suggested.target, turn=self.turn)
        with torch.no_grad():
            reference_M = torch.cat([agreement(batch) for batch in suggested.reference])
        known_N = one_at_a_time(agreement, suggested.own)
        return losses.calibration(known_N, losses.shifted_to_auc(reference_M, AUC).clamp(max=DENIED))
