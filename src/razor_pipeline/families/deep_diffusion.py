"""Stable Diffusion edited in two depths: the text encoder, and how the U-Net reads what an encoder says.

Whoever puts the original text encoder back undoes an edit of the encoder alone. Here the keys and values of every
cross-attention are led to the anchor's too: for what the original encoder says of the target, the edited U-Net reads
what it read for the anchor. Both parts stand by themselves, and neither takes a pass of the whole U-Net. What the
original encoder says does not move, so for keys and values the fused loss is least squares, and they are solved for in
closed form as in UCE (arXiv 2308.14761); the text encoder is searched.

Shapes: B batch, C prompts, N token states, T tokens, E width of the hidden states, D = T * E, K width of a layer of
cross-attention.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from razor_pipeline.core.components import Component, Granularity, head_components, matrix_component
from razor_pipeline.core.redirection import closed_form
from razor_pipeline.families.diffusion import DiffusionFamily, cross_attention
from razor_pipeline.families.text_to_image import PromptBatch

RIDGE = (
    1e-6  # next to the mean square of a state, about 1: it makes the system solvable, and holds nothing back
)
READERS = "unet"  # of the frozen parts: the keys and values of the U-Net's cross-attention


class DeepDiffusionFamily(DiffusionFamily):
    """A ``diffusers.StableDiffusionPipeline``; text encoder and cross-attention are edited.

    The meaning of a prompt is its conditioning, and what the U-Net reads in its original conditioning; both weigh
    alike.
    """

    name = "diffusion_deep"

    def __init__(
        self,
        pipeline: Any,
        origin: Mapping[str, str | None] | None = None,
        frozen: Mapping[str, nn.Module] | None = None,
    ) -> None:
        super().__init__(pipeline, origin, frozen)
        if READERS not in self.frozen:
            self.frozen[READERS] = copy.deepcopy(nn.ModuleList(_readers(pipeline.unet)))
        with torch.no_grad():
            states_1D = self.frozen_conditioning([""])
            read_1K = self._read(self.frozen[READERS], states_1D)
        # Units in which either part of the empty prompt's meaning makes up half of its mean square of 1.
        parts = (states_1D, read_1K)
        whole = sum(part.shape[1] for part in parts)
        self._units = [(2.0 * part.square().sum() / whole).sqrt() for part in parts]

    def components(self, granularity: Granularity) -> tuple[Component, ...]:
        """The text encoder's, and keys and values of every cross-attention; queries and outputs read no prompt."""
        parts = list(super().components(granularity))
        for layer, (name, attention) in enumerate(cross_attention(self.pipeline.unet)):
            weights = {role: f"unet.{name}.to_{role}.weight" for role in "kv"}
            prefix = f"unet.{layer}.cross_attention"
            if granularity == "matrix":
                parts += [
                    matrix_component(f"{prefix}.{role}", "unet", layer, [weight])
                    for role, weight in weights.items()
                ]
            else:
                width = attention.to_k.out_features
                cut = {"rows": list(weights.values()), "columns": []}
                parts += head_components(prefix, "unet", layer, attention.heads, width, cut)
        return tuple(parts)

    def meaning(self, prompts: Sequence[str]) -> Tensor:
        """[C, D + 2 * T * sum of K] conditioning; keys and values in the original conditioning; differentiable."""
        read = self._read(_readers(self.pipeline.unet), self.frozen_conditioning(prompts))
        return self._weighted(self.conditioning(prompts), read)

    @torch.no_grad()
    def frozen_meaning(self, prompts: Sequence[str]) -> Tensor:
        """[C, D + 2 * T * sum of K] the base model's."""
        states_CD = self.frozen_conditioning(prompts)
        return self._weighted(states_CD, self._read(self.frozen[READERS], states_CD))

    def observe(self, batch: PromptBatch) -> Tensor:
        """[B, D] what a search has to hold: the conditioning; what is read of it is solved for."""
        return self.conditioning(batch.caption)

    def gap(self, target: PromptBatch, reference: PromptBatch, auc: float) -> Tensor:  # noqa: ARG002
        """Mean squared distance of the conditioning to the anchors'."""
        return (self.conditioning(target.caption) - self.frozen_conditioning(target.anchor)).square().mean()

    def solved(
        self,
        components: Sequence[Component],
        led: Sequence[tuple[str, str]],
        kept: Sequence[str],
        pressure: float,
        hold: float,
    ) -> dict[str, Tensor]:
        """Changes of keys and values, which read the anchor's of what the original encoder says of a prompt."""
        parameters, readers = dict(self.module.named_parameters()), set(self.prompt_readers())
        parts = [part for c in components for part in c.slices if part.parameter in readers]
        width = self.pipeline.unet.config.cross_attention_dim
        erased_NE, goal_NE, kept_NE = (
            self.frozen_conditioning(prompts).reshape(-1, width)
            for prompts in ([own for own, _ in led], [anchor for _, anchor in led], list(kept))
        )
        scales = (pressure / len(erased_NE), hold / len(kept_NE))
        return {
            part.key: closed_form(old, erased_NE, goal_NE, kept_NE, *scales, RIDGE) - old
            for part in parts
            for old in (part.view(parameters[part.parameter]),)
        }

    def _read(self, readers: Any, conditioning_CD: Tensor) -> Tensor:
        width = self.pipeline.unet.config.cross_attention_dim
        states_CTE = conditioning_CD.unflatten(1, (-1, width))
        return torch.cat([reader(states_CTE).flatten(1) for reader in readers], dim=1)

    def _weighted(self, *parts: Tensor) -> Tensor:
        return torch.cat([part / unit for part, unit in zip(parts, self._units, strict=True)], dim=1)


def _readers(unet: nn.Module) -> list[nn.Module]:
    return [getattr(attention, role) for _, attention in cross_attention(unet) for role in ("to_k", "to_v")]
