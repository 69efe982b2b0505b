"""What makes the forgotten hard to relearn: the loss of a simulated attacker, ascended where he ends up.

The attacker fine-tunes all weights with Adam on a few forget images, by the target's name. With g the gradient of his
loss L and sign(g) the direction of his first steps, what he gains is ``L(theta) - L(theta')``, theta' = theta - eta
sign(g). The signs do not move with theta, so the gradient of his gain is ``g(theta) - g(theta')`` without second
derivatives (first-order, as in arXiv 1803.02999); the corrective step takes the part ``g(theta')`` and leaves what
stands at theta to the gap. Training against a simulated relearner: Tamirisa et al., arXiv 2408.00761.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from razor_pipeline.core.attacks.relearning import relearner
from razor_pipeline.core.gradients import mean_gradients
from razor_pipeline.interfaces import ReferenceFamily, UnlearningTask
from razor_pipeline.manifest import asked_once
from razor_pipeline.methods.held import one_batch
from razor_pipeline.params.razor import ResistParams


@dataclass(frozen=True)
class _Shot:
    """Images of a target, and its place among the classes for each."""

    batch: Any
    aim_B: Tensor

    def __len__(self) -> int:
        """Targets count alike, as in his own loss."""
        return 1


class SimulatedAttacker:
    """Relearns the targets' names from a few of their images.

    Args:
        model: the model that he gets, at whatever weights it has when he is called.
        task: targets and data.
        params: how hard he tries.
    """

    def __init__(self, model: ReferenceFamily, task: UnlearningTask, params: ResistParams) -> None:
        self.model, self.params = model, params
        self.shown: dict[str, Tensor] = {}
        self.asked = 0
        self.prompts = [several[0] for several in task.prompts.values()]
        classes = list(task.prompts)
        self.shots = []
        for forget in task.forget:
            rows = asked_once(forget.edit).head(params.images)
            aim_B = torch.full((len(rows),), classes.index(forget.target), device=model.device)
            self.shots.append(_Shot(one_batch(model, rows), aim_B))

    def gradient(self, leaves: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Of his loss with respect to ``leaves``, at the weights that he reaches; the model is as it was on exit.

        He attacks every ``every``-th time that he is asked and where other leaves are asked for; else this is what he
        showed last, since from one step to the next it hardly turns.
        """
        if self.asked % self.params.every == 0 or self.shown.keys() != leaves.keys():
            self.shown, self.asked = self._attack(leaves), 0
        self.asked += 1
        return self.shown

    def _attack(self, leaves: Mapping[str, Tensor]) -> dict[str, Tensor]:
        everything = dict(self.model.module.named_parameters())
        with relearner(everything, self._loss, self.params.learning_rate) as step:
            for _ in range(self.params.steps):
                step()
            return mean_gradients(self._naming, self.shots, leaves, "relearning").tensors

    def _loss(self) -> Tensor:
        return torch.stack([self._naming(shot) for shot in self.shots]).mean()

    def _naming(self, shot: _Shot) -> Tensor:
        return functional.cross_entropy(self.model.class_logits(shot.batch, self.prompts), shot.aim_B)
