"""Stable Diffusion 1 and 2: one CLIP text encoder, a U-Net that predicts the noise.

Shapes: B batch, C prompts, T tokens, E width of the hidden states, D = T * E, L latent channels, h x w latent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline
from torch import Tensor, nn

from razor_pipeline.families.text_to_image import TextToImageFamily, token_ids


class DiffusionFamily(TextToImageFamily):
    """A ``diffusers.StableDiffusionPipeline``; what the U-Net is told of a prompt are its hidden states."""

    name = "diffusion"
    pipeline_class = StableDiffusionPipeline
    encoders: ClassVar = {"text_encoder": "text"}
    denoiser = "unet"

    @classmethod
    def refuse(cls, index: Mapping[str, Any], source: str, revision: str | None) -> None:
        """Refuse a safety checker, which would blacken images that an evaluation must see, and v-prediction.

        Raises:
            ValueError: it has one, or predicts something else than noise.
        """
        if (index.get("safety_checker") or [None])[0]:
            raise ValueError(
                "it has a safety checker, which blackens images that an evaluation must see; "
                "open it with safety_checker=None and save it again"
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
        tokenizer = self.pipeline.tokenizer
        ids = token_ids(tokenizer, prompts, tokenizer.model_max_length)
        states_CTE: Tensor = encoders["text_encoder"](ids).last_hidden_state
        return states_CTE.flatten(1)

    def denoising_error(
        self, clean_BLhw: Tensor, conditioning_BD: Tensor, generator: torch.Generator
    ) -> Tensor:
        """[B] squared error of the noise prediction (arXiv 2006.11239, eq. 14)."""
        unet, scheduler = self.pipeline.unet, self.pipeline.scheduler
        noise_BLhw = torch.randn(clean_BLhw.shape, generator=generator)
        time_B = torch.randint(
            0, scheduler.config.num_train_timesteps, (len(clean_BLhw),), generator=generator
        )
        noisy_BLhw = scheduler.add_noise(clean_BLhw, noise_BLhw, time_B)
        states_BTE = conditioning_BD.unflatten(1, (-1, unet.config.cross_attention_dim))
        found_BLhw = unet(noisy_BLhw, time_B, states_BTE).sample
        error_B: Tensor = (found_BLhw.float() - noise_BLhw).square().mean(dim=(1, 2, 3))
        return error_B
