"""Stable Diffusion 1 and 2: one CLIP text encoder, a U-Net that predicts the noise.

Shapes: B batch, C prompts, T tokens, E width of the hidden states, D = T * E, L latent channels, h x w latent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar

import diffusers
import torch
from diffusers import DDIMScheduler, DDPMScheduler, StableDiffusionPipeline
from diffusers.models.attention_processor import Attention
from torch import Tensor, nn

from razor_pipeline.families.predictions import Noisy
from razor_pipeline.families.text_to_image import TextToImageFamily


class DiffusionFamily(TextToImageFamily):
    """A ``diffusers.StableDiffusionPipeline``; what the U-Net is told of a prompt are its hidden states."""

    name = "diffusion"
    kinds = (StableDiffusionPipeline.__name__,)
    pipeline_class = StableDiffusionPipeline
    encoders: ClassVar = {"text_encoder": "text"}
    denoiser = "unet"

    @classmethod
    def refuse(cls, index: Mapping[str, Any], source: str, revision: str | None) -> None:
        """Refuse a safety checker, which would blacken images that an evaluation must see, flows, and v-prediction.

        Raises:
            ValueError: it has one, its scheduler follows no diffusion, or it predicts something else than noise.
        """
        if (index.get("safety_checker") or [None])[0]:
            raise ValueError(
                "it has a safety checker, which blackens images that an evaluation must see; "
                "open it with safety_checker=None and save it again"
            )
        named = str((index.get("scheduler") or [None, None])[1])
        if not hasattr(getattr(diffusers, named, None), "add_noise"):
            raise ValueError(
                f"its scheduler is {named}, which adds no noise step by step; name one that does in its "
                "model_index.json, e.g. DDIMScheduler"
            )
        scheduler = DDIMScheduler.load_config(source, revision=revision, subfolder="scheduler")
        predicted = scheduler.get("prediction_type", "epsilon")
        if predicted != "epsilon":
            raise ValueError(f"its scheduler says prediction_type '{predicted}'; only 'epsilon' is supported")

    def assembled(self, parts: Mapping[str, Any]) -> Any:
        """A pipeline of these parts, by name."""
        return StableDiffusionPipeline(**parts, requires_safety_checker=False)

    def encoded(self, encoders: Mapping[str, nn.Module], prompts: list[str]) -> Tensor:
        """[C, D] hidden states of all tokens."""
        ids = self.token_ids("tokenizer", prompts, self.pipeline.tokenizer.model_max_length)
        states_CTE: Tensor = encoders["text_encoder"](ids).last_hidden_state
        return states_CTE.flatten(1)

    @cached_property
    def training_schedule(self) -> DDPMScheduler:
        """The noise that the U-Net was trained at; samplers scale it their own way, and anew for each drawing."""
        schedule: DDPMScheduler = DDPMScheduler.from_config(self.pipeline.scheduler.config)
        return schedule

    def times(self, count: int, generator: torch.Generator) -> Tensor:
        """[B] time steps, each as likely as any other."""
        steps = self.pipeline.scheduler.config.num_train_timesteps
        return torch.randint(0, steps, (count,), generator=generator)

    def time_at(self, share_B: Tensor) -> Tensor:
        """[B] time steps."""
        steps: int = self.pipeline.scheduler.config.num_train_timesteps
        return (share_B * (steps - 1)).long()

    def noisy(self, clean_BLhw: Tensor, noise_BLhw: Tensor, time_B: Tensor) -> Noisy:
        """Latents along the diffusion; the aim is the noise (arXiv 2006.11239, eq. 14)."""
        latent_BLhw: Tensor = self.training_schedule.add_noise(clean_BLhw, noise_BLhw, time_B)
        return Noisy(latent_BLhw, time_B, noise_BLhw)

    def predicted(self, noisy: Noisy, conditioning_BD: Tensor) -> Tensor:
        """[B, L, h, w] the noise."""
        unet = self.pipeline.unet
        states_BTE = conditioning_BD.unflatten(1, (-1, unet.config.cross_attention_dim))
        found_BLhw: Tensor = unet(noisy.latent_BLhw, noisy.time_B, states_BTE).sample.float()
        return found_BLhw

    def cross_attention(self) -> tuple[str, ...]:
        """All weights of every layer of cross-attention."""
        return tuple(
            f"unet.{name}.{weight}"
            for name, module in cross_attention(self.pipeline.unet)
            for weight, _ in module.named_parameters()
        )

    def prompt_readers(self) -> tuple[str, ...]:
        """Keys and values of every layer of cross-attention."""
        return tuple(
            f"unet.{name}.to_{role}.weight"
            for name, _ in cross_attention(self.pipeline.unet)
            for role in "kv"
        )

    def token_states(self, prompts: Sequence[str]) -> Tensor:
        """[C, T, E] hidden states."""
        width: int = self.pipeline.unet.config.cross_attention_dim
        states_CTE: Tensor = self.conditioning(prompts).unflatten(1, (-1, width))
        return states_CTE


def cross_attention(unet: nn.Module) -> list[tuple[str, Attention]]:
    """Name and module of every layer of cross-attention, in the order of the modules."""
    return [
        (name, module)
        for name, module in unet.named_modules()
        if isinstance(module, Attention) and name.endswith("attn2")
    ]
