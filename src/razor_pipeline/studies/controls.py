"""Controls: models that only seem to have forgotten. An attack that recovers nothing from them is not an attack."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from razor_pipeline.core.components import ParameterSlice, parameter_names
from razor_pipeline.core.edit import fused_direction, move, snapshot
from razor_pipeline.core.gradients import mean_gradients
from razor_pipeline.core.step_search import smallest_step
from razor_pipeline.core.weight_edit import WeightEdit, preserved
from razor_pipeline.families.clip import ClipFamily
from razor_pipeline.interfaces import RecognisingFamily, UnlearningTask, class_scores
from razor_pipeline.methods.validation import Validation

BATCH = 128
MARGIN = 0.02  # of a score
FIRST, LARGEST, EVALUATIONS = 0.04, 2.56, 10


class Masked:
    """A model whose scores of some texts are held down by a constant; its weights know all that they knew.

    Args:
        model: what is behind the mask; all else is its own.
        texts: what is held down, to the letter.
        offset: taken off their score for every image.
    """

    def __init__(self, model: RecognisingFamily, texts: Collection[str], offset: float) -> None:
        self.model, self.texts, self.offset = model, frozenset(texts), offset

    def __getattr__(self, name: str) -> Any:
        if name == "model":  # while it is copied, before it has one
            raise AttributeError(name)
        return getattr(self.model, name)

    def with_module(self, module: Any) -> Masked:
        """The same mask around another module."""
        return Masked(self.model.with_module(module), self.texts, self.offset)

    def class_logits(self, batch: Any, prompts: Sequence[str]) -> Tensor:
        """[B, C] masked logits; differentiable."""
        logits_BC = self.model.class_logits(batch, prompts)
        # A CLIP's scores are cosines, its logits are scaled.
        unit = self.model.module.logit_scale.exp() if isinstance(self.model, ClipFamily) else 1.0
        return logits_BC - unit * self._held(prompts).to(logits_BC.device)

    def scores(self, batches: Sequence[Any], prompts: Sequence[str]) -> Tensor:
        """[N, C] masked scores."""
        return self.model.scores(batches, prompts) - self._held(prompts)

    def _held(self, prompts: Sequence[str]) -> Tensor:
        return torch.tensor([self.offset if prompt in self.texts else 0.0 for prompt in prompts])


def masked(model: RecognisingFamily, task: UnlearningTask) -> Masked:
    """The targets' scores masked: the least offset at which no known image of a target is named, and a margin."""
    targets = [forget.target for forget in task.forget]
    rows = pd.concat([part for forget in task.forget for part in (forget.edit, forget.validation)])
    scores_NC = class_scores(model, model.batches(rows, BATCH), task.prompts)
    hidden = torch.tensor([label in targets for label in task.prompts])
    lead_N = scores_NC[:, hidden].max(dim=1).values - scores_NC[:, ~hidden].max(dim=1).values
    texts = [prompt for target in targets for prompt in task.prompts[target]]
    return Masked(model, texts, float(lead_N.max()) + MARGIN)


def last_layer(model: RecognisingFamily, task: UnlearningTask) -> WeightEdit:
    """Gradient ascent on the forget loss in each tower's last layer, as little as accuracy 0 on validation takes.

    Where even the largest step does not get there, it is the largest.
    """
    parameters = dict(model.module.named_parameters())
    every = model.components("matrix")
    last = {c.tower: max(other.layer for other in every if other.tower == c.tower) for c in every}
    components = [c for c in every if c.layer == last[c.tower]]
    leaves = {name: parameters[name] for name in parameter_names(components)}
    rows = pd.concat([forget.edit for forget in task.forget])
    ascent = mean_gradients(model.forget_loss, model.batches(rows, BATCH), leaves, "forget")
    direction = fused_direction(components, parameters, ascent.tensors, [])
    with preserved(parameters, components):
        start, validation = snapshot(parameters, components), Validation(model, task)

        def left_to_forget(step: float) -> float:
            move(parameters, components, start, direction, step)
            return validation().forget_accuracy

        step = smallest_step(left_to_forget, 0.0, FIRST, LARGEST, EVALUATIONS)
        move(parameters, components, start, direction, LARGEST if step is None else step)
        after = {name: leaf.detach().clone() for name, leaf in leaves.items()}
    dtype = model.stored_dtype
    return WeightEdit(
        tuple(ParameterSlice(name) for name in leaves),
        {name: leaf.detach().to(dtype, copy=True) for name, leaf in leaves.items()},
        {name: tensor.to(dtype) for name, tensor in after.items()},
        tuple(leaves),
        {"method": "last layer"},
    )
