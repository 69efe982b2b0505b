"""Stable Diffusions edited in two depths: the text encoders, and how the denoiser reads what an encoder says.

Whoever puts the original text encoder back undoes an edit of the encoder alone. Here the denoiser's prompt readers,
the linear layers that a prompt comes in through, are led to the anchor's outputs too: for what the original encoder
says of the target, the edited denoiser reads what it read for the anchor. Both parts stand by themselves, and neither
takes a pass of the whole denoiser. What the original encoder says does not move, so for the readers the fused loss is
least squares, and they are solved for in closed form as in UCE (arXiv 2308.14761); the text encoders are searched.

Shapes: B batch, C prompts, T tokens, E width of the hidden states, D numbers of a prompt's conditioning, n inputs of a
reader for a prompt, each of width I, K width of a reader's output.
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from razor_pipeline.core.components import Component, Granularity, head_components, matrix_component
from razor_pipeline.core.redirection import StateSums, closed_form, state_sums
from razor_pipeline.families.diffusion import DiffusionFamily, cross_attention
from razor_pipeline.families.diffusion3 import Diffusion3Family
from razor_pipeline.families.text_to_image import TextToImageFamily
from razor_pipeline.families.textual_inversion import WordAttacker
from razor_pipeline.params.razor import WordParams

# Next to the mean square of a state, about 1: it makes the system solvable, and holds nothing back.
RIDGE = 1e-6
READERS = "readers"  # of the frozen parts: the prompt readers as they were


class DeepFamily(TextToImageFamily):
    """Text encoders and prompt readers are edited.

    The meaning of a prompt is its conditioning, and what the readers make of its original conditioning; both weigh
    alike.
    """

    def __init__(
        self,
        pipeline: Any,
        origin: Mapping[str, str | None] | None = None,
        frozen: Mapping[str, nn.Module] | None = None,
    ) -> None:
        super().__init__(pipeline, origin, frozen)
        if READERS not in self.frozen:
            self.frozen[READERS] = copy.deepcopy(nn.ModuleList(self.readers().values()))
        with torch.no_grad():
            told_1D = self.frozen_conditioning([""])
            read_1K = self._read(self.frozen[READERS], told_1D)
        # Units in which either part of the empty prompt's meaning makes up half of its mean square of 1.
        parts = (told_1D, read_1K)
        whole = sum(part.shape[1] for part in parts)
        self._units = [(2.0 * part.square().sum() / whole).sqrt() for part in parts]

    @abstractmethod
    def readers(self) -> Mapping[str, nn.Module]:
        """Name of the weight -> linear layer, of all through which a prompt comes into the denoiser."""

    @abstractmethod
    def source_of(self, name: str) -> str:
        """The first of the readers that are given what this one is."""

    @abstractmethod
    def read_by(self, name: str, conditioning_CD: Tensor) -> Tensor:
        """[C, n, I] what one of the readers is given of prompts."""

    def meaning(self, prompts: Sequence[str]) -> Tensor:
        """[C, D + sum of n * K] conditioning; what is read of the original conditioning; differentiable."""
        read = self._read(self.readers().values(), self.frozen_conditioning(prompts))
        return self._weighted(self.conditioning(prompts), read)

    @torch.no_grad()
    def frozen_meaning(self, prompts: Sequence[str]) -> Tensor:
        """[C, D + sum of n * K] the base model's."""
        told_CD = self.frozen_conditioning(prompts)
        return self._weighted(told_CD, self._read(self.frozen[READERS], told_CD))

    def solved(
        self,
        components: Sequence[Component],
        led: Sequence[tuple[str, str]],
        kept: Sequence[str],
        pressure: float,
        hold: float,
    ) -> dict[str, Tensor]:
        """Changes of the readers, which read the anchor's of what the original encoders say of a prompt.

        They are solved for from the base's, so that what is kept does not move away with every edit of a line.
        """
        parameters, readers = dict(self.module.named_parameters()), self.readers()
        original = {name: reader.weight for name, reader in zip(readers, self.frozen[READERS], strict=True)}
        parts = [part for c in components for part in c.slices if part.parameter in readers]
        told = [
            self.frozen_conditioning(prompts)
            for prompts in ([own for own, _ in led], [anchor for _, anchor in led], list(kept), [""])
        ]

        @cache
        def read(source: str) -> tuple[StateSums, float, float]:
            erased_NI, goal_NI, kept_NI, empty_TI = (self.read_by(source, one).flatten(0, 1) for one in told)
            sums = state_sums(erased_NI, goal_NI, kept_NI, empty_TI)
            return sums, pressure / len(erased_NI), hold / len(kept_NI)

        found = {}
        for part in parts:
            sums, erase, preserve = read(self.source_of(part.parameter))
            old = part.view(original[part.parameter])
            solution = closed_form(old, sums, erase, preserve, RIDGE)
            found[part.key] = solution - part.view(parameters[part.parameter])
        return found

    def _read(self, readers: Any, conditioning_CD: Tensor) -> Tensor:
        given = (self.read_by(name, conditioning_CD) for name in self.readers())
        return torch.cat(
            [reader(given_CnI).flatten(1) for reader, given_CnI in zip(readers, given, strict=True)], dim=1
        )

    def _weighted(self, *parts: Tensor) -> Tensor:
        return torch.cat([part / unit for part, unit in zip(parts, self._units, strict=True)], dim=1)


class DeepDiffusionFamily(DeepFamily, DiffusionFamily):
    """A ``diffusers.StableDiffusionPipeline``; its readers are keys and values of the U-Net's cross-attention."""

    name = "diffusion_deep"

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

    def readers(self) -> Mapping[str, nn.Module]:
        """Keys and values of every layer of cross-attention."""
        return {
            f"unet.{name}.to_{role}.weight": getattr(attention, f"to_{role}")
            for name, attention in cross_attention(self.pipeline.unet)
            for role in "kv"
        }

    def body(self) -> tuple[Component, ...]:
        """Every convolution and linear layer of the U-Net but its prompt readers; norms stay out."""
        unet, readers = self.pipeline.unet, self.readers()
        blocks: dict[str, int] = {}  # in the order of the modules
        parts = []
        for name, layer in unet.named_modules():
            weights = [f"unet.{name}.{kind}" for kind, _ in layer.named_parameters(recurse=False)]
            if isinstance(layer, nn.Linear | nn.Conv2d) and weights[0] not in readers:
                block = ".".join(name.split(".")[:2]) if "blocks" in name else name.split(".")[0]
                number = blocks.setdefault(block, len(blocks))
                parts.append(matrix_component(f"unet.body.{name}", "unet", number, weights))
        return tuple(parts)

    def attacker(self, rows: pd.DataFrame, params: WordParams, seed: int) -> WordAttacker:
        """Who teaches the model a new word for the rows' label."""
        return WordAttacker(self, rows, params, seed)

    def source_of(self, name: str) -> str:  # noqa: ARG002
        """All are given the same."""
        return next(iter(self.readers()))

    def read_by(self, name: str, conditioning_CD: Tensor) -> Tensor:  # noqa: ARG002
        """[C, T, E] the hidden states, whichever layer reads them."""
        width: int = self.pipeline.unet.config.cross_attention_dim
        states_CTE: Tensor = conditioning_CD.unflatten(1, (-1, width))
        return states_CTE


CONTEXT = "transformer.context_embedder.weight"
POOLED = "transformer.time_text_embed.text_embedder.linear_1.weight"


class DeepDiffusion3Family(DeepFamily, Diffusion3Family):
    """A ``diffusers.StableDiffusion3Pipeline`` without T5; its readers are where prompts come into the transformer.

    The joint attention behind them sees a prompt mixed with image and time from the first layer on, so no other layer
    reads the prompt alone.
    """

    name = "diffusion3_deep"

    def components(self, granularity: Granularity) -> tuple[Component, ...]:
        """The text encoders', and both readers as a whole: they have no heads."""
        own = super().components(granularity)
        if granularity == "head":
            return own
        names = {"context": CONTEXT, "pooled": POOLED}
        return (
            *own,
            *(matrix_component(f"transformer.{k}", "transformer", 0, [w]) for k, w in names.items()),
        )

    def readers(self) -> Mapping[str, nn.Module]:
        """The embedding of the hidden states, and the first layer of that of the pooled outputs."""
        transformer = self.pipeline.transformer
        return {
            CONTEXT: transformer.context_embedder,
            POOLED: transformer.time_text_embed.text_embedder.linear_1,
        }

    def source_of(self, name: str) -> str:
        """Each is given something else."""
        return name

    def read_by(self, name: str, conditioning_CD: Tensor) -> Tensor:
        """[C, T, J] hidden states, or [C, 1, P] pooled outputs."""
        states_CTJ, pooled_CP = self.split(conditioning_CD)
        return states_CTJ if name == CONTEXT else pooled_CP[:, None]
