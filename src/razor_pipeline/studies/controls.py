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
from razor_pipeline.families.clip import ClipBatch, ClipFamily
from razor_pipeline.interfaces import UnlearningTask, class_scores
from razor_pipeline.methods.validation import Validation

BATCH = 128
MARGIN = 0.02  # of cosine similarity
FIRST, LARGEST, EVALUATIONS = 0.04, 2.56, 10


class MaskedClip(ClipFamily):
    """A CLIP that holds the similarity of some texts down by a constant; its weights know all that they knew.

    Args:
        model: the CLIP.
        texts: what is held down, to the letter.
        offset: taken off their cosine similarity to every image.
    """

    def __init__(self, model: ClipFamily, texts: Collection[str], offset: float) -> None:
        super().__init__(model.module, model.tokenizer, model.image_processor, model.origin)
        self.texts, self.offset = frozenset(texts), offset

    def with_module(self, module: Any) -> MaskedClip:
        """The same mask around another module."""
        return MaskedClip(super().with_module(module), self.texts, self.offset)

    def class_logits(self, batch: ClipBatch, prompts: Sequence[str]) -> Tensor:
        """[B, C] masked logits; differentiable."""
        held: Tensor = self.module.logit_scale.exp() * self._held(prompts).to(self.device)
        return super().class_logits(batch, prompts) - held

    @torch.no_grad()
    def scores(self, batches: Sequence[ClipBatch], prompts: Sequence[str]) -> Tensor:
        """[N, C] masked similarities."""
        return super().scores(batches, prompts) - self._held(prompts)

    def _held(self, prompts: Sequence[str]) -> Tensor:
        return torch.tensor([self.offset if prompt in self.texts else 0.0 for prompt in prompts])


def masked(model: ClipFamily, task: UnlearningTask) -> MaskedClip:
    """The targets' logits masked: the least offset at which no known image of a target is named, and a margin."""
    targets = [forget.target for forget in task.forget]
    rows = pd.concat([part for forget in task.forget for part in (forget.edit, forget.validation)])
    scores_NC = class_scores(model, model.batches(rows, BATCH), task.prompts)
    hidden = torch.tensor([label in targets for label in task.prompts])
    lead_N = scores_NC[:, hidden].max(dim=1).values - scores_NC[:, ~hidden].max(dim=1).values
    texts = [prompt for target in targets for prompt in task.prompts[target]]
    return MaskedClip(model, texts, float(lead_N.max()) + MARGIN)


def last_layer(model: ClipFamily, task: UnlearningTask) -> WeightEdit:
    """Gradient ascent on the forget loss in the two projections alone, as little as accuracy 0 on validation takes.

    Where even the largest step does not get there, it is the largest.
    """
    parameters = dict(model.module.named_parameters())
    components = [c for c in model.components("matrix") if c.name.endswith(".projection")]
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
