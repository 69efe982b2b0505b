"""Stable Diffusion 3: two CLIP text encoders, a multimodal transformer (MMDiT) that predicts a flow.

The T5 encoder, which the pipeline can do without, is left out: what it says of a prompt would bring back what the two
CLIP encoders were made to forget.

Shapes: B batch, C prompts, T tokens, E joint width of both encoders' hidden states, P of their pooled outputs,
D = T * E + P, J width that the transformer reads, L latent channels, h x w latent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, StableDiffusion3Pipeline
from torch import Tensor, nn
from torch.nn import functional

from razor_pipeline.families.predictions import Noisy
from razor_pipeline.families.text_to_image import TextToImageFamily

TOKENIZERS = {"text_encoder": "tokenizer", "text_encoder_2": "tokenizer_2"}


class Diffusion3Family(TextToImageFamily):
    """A ``diffusers.StableDiffusion3Pipeline`` without T5.

    What the transformer is told of a prompt are the last but one hidden states of both encoders, side by side, and
    their pooled outputs. What is saved opens with
    ``StableDiffusion3Pipeline.from_pretrained(path, text_encoder_3=None, tokenizer_3=None)``.
    """

    name = "diffusion3"
    kinds = (StableDiffusion3Pipeline.__name__,)
    pipeline_class = StableDiffusion3Pipeline
    encoders: ClassVar = {"text_encoder": "text", "text_encoder_2": "text_2"}
    denoiser = "transformer"
    parts = (*TextToImageFamily.parts, "tokenizer_2/tokenizer.json|tokenizer_2/vocab.json")
    unused = ("text_encoder_3", "tokenizer_3")

    @classmethod
    def refuse(cls, index: Mapping[str, Any], source: str, revision: str | None) -> None:  # noqa: ARG003
        """Refuse a sampler that does not follow a flow.

        Raises:
            ValueError: names the scheduler.
        """
        scheduler = (index.get("scheduler") or [None, None])[1]
        if scheduler != FlowMatchEulerDiscreteScheduler.__name__:
            raise ValueError(
                f"its scheduler is {scheduler}; only FlowMatchEulerDiscreteScheduler is supported"
            )

    def encoded(self, encoders: Mapping[str, nn.Module], prompts: list[str]) -> Tensor:
        """[C, D] hidden states of all tokens, then pooled outputs."""
        states, pooled = [], []
        for name in self.encoders:
            ids = self.token_ids(TOKENIZERS[name], prompts, self._tokens)
            found = encoders[name](ids, output_hidden_states=True)
            states.append(found.hidden_states[-2])
            pooled.append(found.text_embeds)
        return torch.cat([torch.cat(states, dim=-1).flatten(1), *pooled], dim=1)

    @property
    def _tokens(self) -> int:
        return int(self.pipeline.tokenizer_max_length)

    def times(self, count: int, generator: torch.Generator) -> Tensor:
        """[B] shares of noise, logit-normal (arXiv 2403.03206, eq. 19)."""
        return torch.randn(count, generator=generator).sigmoid()

    def time_at(self, share_B: Tensor) -> Tensor:
        """[B] the shares themselves."""
        return share_B

    def noisy(self, clean_BLhw: Tensor, noise_BLhw: Tensor, time_B: Tensor) -> Noisy:
        """Latents along a straight flow; the aim is its velocity."""
        share_B111 = time_B[:, None, None, None]
        latent_BLhw = (1 - share_B111) * clean_BLhw + share_B111 * noise_BLhw
        return Noisy(latent_BLhw, time_B, noise_BLhw - clean_BLhw)

    def predicted(self, noisy: Noisy, conditioning_BD: Tensor) -> Tensor:
        """[B, L, h, w] the velocity."""
        transformer, scheduler = self.pipeline.transformer, self.pipeline.scheduler
        states_BTJ, pooled_BP = self.split(conditioning_BD)
        found_BLhw: Tensor = transformer(
            noisy.latent_BLhw,
            torch.cat([states_BTJ, torch.zeros_like(states_BTJ)], dim=1),  # the pipeline's stand-in for T5
            pooled_BP,
            noisy.time_B * scheduler.config.num_train_timesteps,
        ).sample.float()
        return found_BLhw

    def split(self, conditioning_BD: Tensor) -> tuple[Tensor, Tensor]:
        """[B, T, J] hidden states, padded to the transformer's width, and [B, P] pooled outputs."""
        config = self.pipeline.transformer.config
        pooled_size: int = config.pooled_projection_dim
        states_BTE = conditioning_BD[:, :-pooled_size].unflatten(1, (self._tokens, -1))
        states_BTJ = functional.pad(states_BTE, (0, config.joint_attention_dim - states_BTE.shape[-1]))
        return states_BTJ, conditioning_BD[:, -pooled_size:]

    def cross_attention(self) -> tuple[str, ...]:
        """The prompt's own projections into the joint attention, which has no cross-attention beside it."""
        return tuple(
            f"transformer.{name}"
            for name, _ in self.pipeline.transformer.named_parameters()
            if ".attn.add_" in name or ".attn.to_add_out" in name
        )

    def prompt_readers(self) -> tuple[str, ...]:
        """None: behind the first layer, what is read of a prompt depends on the image and the time."""
        return ()

    def _drawing(self) -> dict[str, Any]:
        # As long as CLIP's part, which is how the model learnt to do without T5.
        return {"max_sequence_length": self._tokens}
