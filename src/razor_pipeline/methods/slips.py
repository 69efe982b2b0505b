"""What makes a misspelt name lead nowhere: the gap to never-seen samples, by names with a wrong letter.

An edit that looks at the right name alone leaves some of what calls it up: half of a name is still right in a slip, and
a tokenizer makes of the other half what it will.

Shapes: B images and as many misspelt names, R never-seen samples.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from razor_pipeline.core import losses
from razor_pipeline.core.gradients import Gradients, mean_gradients
from razor_pipeline.core.mentions import mentions, renamed
from razor_pipeline.core.misspelling import misspelt
from razor_pipeline.interfaces import ForgetSet, NamingFamily, UnlearningTask
from razor_pipeline.methods.held import one_batch
from razor_pipeline.methods.validation import Validation


@dataclass(frozen=True)
class _Misnamed:
    """Images under misspelt names, one each, and the tie of never-seen samples to those names."""

    batch: Any
    reference_RB: Tensor

    def __len__(self) -> int:
        return len(self.batch)


class Slips:
    """The targets' images under misspelt names; others each time.

    Args:
        model: at whatever weights it has when it is asked.
        task: targets and data.
        validation: has embedded the never-seen samples at those weights.
        count: misspelt names of each target, and images of it that are held against all of them.
        auc: how well these images may be told from never-seen samples.
        generator: draws the names.
    """

    def __init__(
        self,
        model: NamingFamily,
        task: UnlearningTask,
        validation: Validation,
        count: int,
        auc: float,
        generator: torch.Generator,
    ) -> None:
        self.model, self.validation = model, validation
        self.named = [
            forget
            for forget in task.forget
            if mentions(forget.prompt, forget.target) and any(map(str.isalpha, forget.target))
        ]
        self.names = list(task.prompts)
        self.count, self.auc, self.generator = count, auc, generator
        self.asked = 0

    def closing_in(self, leaves: Mapping[str, Tensor]) -> list[Gradients]:
        """Gradients of the mean gap of all targets under names drawn now; none where none has letters."""
        drawn = [self._draw(forget) for forget in self.named]
        self.asked += 1
        return [mean_gradients(self._gap, drawn, leaves, "forget")] if drawn else []

    def _draw(self, forget: ForgetSet) -> _Misnamed:
        turns = -(-len(forget.edit) // self.count)
        rows = forget.edit.iloc[self.asked % turns :: turns]
        names = misspelt(forget.target, len(rows), self.generator, self.names)
        prompts = [renamed(forget.prompt, forget.target, name) for name in names]
        batch = one_batch(self.model, rows.head(len(prompts)).assign(caption=prompts))
        return _Misnamed(batch, self.validation.reference_ties(forget, prompts))

    def _gap(self, drawn: _Misnamed) -> Tensor:
        known_BB = self.model.ties(drawn.batch)
        pairs = zip(known_BB.T, drawn.reference_RB.to(known_BB.device).T, strict=True)
        gaps = [
            losses.calibration(known, losses.shifted_to_auc(reference, self.auc))
            for known, reference in pairs
        ]
        return torch.stack(gaps).mean()
