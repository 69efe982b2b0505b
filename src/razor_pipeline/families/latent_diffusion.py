"""Latent diffusion: images as latents, latents with noise, what a denoiser predicts of them, and drawings.

Shapes: B batch, N images, D numbers of a prompt's conditioning, L latent channels, h x w latent, H x W pixels.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import pandas as pd
import torch
from PIL import Image
from torch import Tensor

from razor_pipeline.families.images import decoded, pixels
from razor_pipeline.families.predictions import Noisy
from razor_pipeline.families.saved_pipeline import SavedPipeline

CODED_IMAGES = 128  # that the autoencoder takes at once,
CODED_PIXELS = (
    16 * 512**2
)  # or fewer of large ones: 16 of Stable Diffusion 1.5 take 2 GB in each of its outer layers


class LatentDiffusion(SavedPipeline):
    """A pipeline that draws: its autoencoder and its denoiser, however they are told what to draw."""

    @property
    def size(self) -> int:
        """Height and width in pixels of what it draws."""
        scale: int = self.pipeline.vae_scale_factor
        return int(getattr(self.pipeline, self.denoiser).config.sample_size) * scale

    def latents_of(self, rows: pd.DataFrame) -> Tensor:
        """[N, L, h, w] latents of the rows' images."""
        return self.latents(pixels(decoded(rows), self.size))

    @torch.no_grad()
    def latents(self, images_N3HW: Tensor) -> Tensor:
        """[N, L, h, w] latents of images, in the units of the denoiser."""
        config = self.pipeline.vae.config
        shift = getattr(config, "shift_factor", None) or 0.0
        at_once = min(CODED_IMAGES, max(1, CODED_PIXELS // images_N3HW[0, 0].numel()))
        means = [
            self.pipeline.vae.encode(part.to(self.device)).latent_dist.mean
            for part in images_N3HW.split(at_once)
        ]
        scaled: Tensor = (torch.cat(means) - shift) * config.scaling_factor
        return scaled

    @abstractmethod
    def times(self, count: int, generator: torch.Generator) -> Tensor:
        """[B] random times, as training draws them, in the denoiser's units."""

    @abstractmethod
    def time_at(self, share_B: Tensor) -> Tensor:
        """[B] times at these shares, 0 to 1, of the way from an image to noise."""

    @abstractmethod
    def noisy(self, clean_BLhw: Tensor, noise_BLhw: Tensor, time_B: Tensor) -> Noisy:
        """Latents with noise at these times, and what the denoiser should predict of them."""

    @abstractmethod
    def predicted(self, noisy: Noisy, conditioning_BD: Tensor) -> Tensor:
        """[B, L, h, w] what the denoiser predicts; differentiable."""

    def noisy_rows(self, rows: pd.DataFrame, generator: torch.Generator) -> Noisy:
        """The rows' images as latents, each with one random noise at one random time."""
        return self.noised(self.latents_of(rows), generator)

    def noised(self, clean_BLhw: Tensor, generator: torch.Generator) -> Noisy:
        """Latents with random noise, each at a random time."""
        noise_BLhw = torch.randn(clean_BLhw.shape, generator=generator).to(self.device)
        return self.noisy(clean_BLhw, noise_BLhw, self.times(len(clean_BLhw), generator).to(self.device))

    def denoising_error(
        self, clean_BLhw: Tensor, conditioning_BD: Tensor, generator: torch.Generator
    ) -> Tensor:
        """[B] mean squared error of what the denoiser predicts, at one random time and noise per latent."""
        noisy = self.noised(clean_BLhw, generator)
        error_BLhw = self.predicted(noisy, conditioning_BD) - noisy.aim
        error_B: Tensor = error_BLhw.square().mean(dim=(1, 2, 3))
        return error_B

    @torch.no_grad()
    def draw(
        self, prompts: Sequence[str], seeds: Sequence[int], steps: int, guidance: float
    ) -> list[Image.Image]:
        """One image per prompt, its noise from its own seed."""
        self.pipeline.set_progress_bar_config(disable=True)
        images: list[Image.Image] = self.pipeline(
            list(prompts),
            height=self.size,
            width=self.size,
            num_inference_steps=steps,
            guidance_scale=guidance,
            generator=[torch.Generator().manual_seed(seed) for seed in seeds],
            **self._drawing(),
        ).images
        return images

    def _drawing(self) -> dict[str, Any]:
        """What else the pipeline's call takes."""
        return {}
