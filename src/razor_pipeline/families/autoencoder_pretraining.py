"""Training of a small autoencoder from random weights, the first half of latent diffusion (arXiv 2112.10752).

Shapes: B batch, N images, H x W pixels, h x w latent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pandas as pd
import torch
from diffusers import AutoencoderKL
from torch import Tensor
from torch.nn import functional

from razor_pipeline.families.autoencoder import Autoencoder
from razor_pipeline.families.images import decoded, pixels
from razor_pipeline.families.training import fit
from razor_pipeline.params.pretraining import PretrainingParams

BATCH = 128
# Groups of few channels even out what sets colours apart; with eight of them colours came late.
NORM_GROUPS = 2
KL_WEIGHT = 1e-6  # latent diffusion's: latents stay near a normal distribution without blurring the pictures


def train_autoencoder(
    samples: pd.DataFrame, params: PretrainingParams
) -> tuple[Autoencoder, list[dict[str, float]]]:
    """Train an autoencoder on images; captions play no part.

    Args:
        samples: manifest rows to learn from.
        params: architecture and schedule.

    Returns:
        The autoencoder, weights rounded to float16, with the ``scaling_factor`` that gives its latents unit variance,
        and one row of learning curve per epoch.
    """
    generator = torch.Generator().manual_seed(params.seed)
    images_N3HW = pixels(decoded(samples), params.image_size)
    vae = new_autoencoder(params)
    vae.to(memory_format=torch.channels_last)

    def loss_of(index_B: Tensor) -> Tensor:
        target_B3HW = images_N3HW[index_B]
        if params.mirror and torch.rand((), generator=generator) < 0.5:
            target_B3HW = target_B3HW.flip(-1)
        with torch.autocast("cpu", torch.bfloat16, enabled=params.precision == "bfloat16"):
            posterior = vae.encode(target_B3HW.contiguous(memory_format=torch.channels_last)).latent_dist
            noise = torch.randn(posterior.mean.shape, generator=generator)
            found_B3HW = vae.decode(posterior.mean + posterior.std * noise).sample.float()
        # The absolute error alone is content with a grey median of what could be; the square asks for colours too.
        error = functional.l1_loss(found_B3HW, target_B3HW) + functional.mse_loss(found_B3HW, target_B3HW)
        loss: Tensor = error + KL_WEIGHT * posterior.kl().float().mean()
        return loss

    curve = fit(vae, *shuffled_indices(len(images_N3HW), params.batch_size, generator, loss_of), params)
    vae.eval().requires_grad_(False)
    vae.to(memory_format=torch.contiguous_format)
    some = images_N3HW[:: max(1, len(images_N3HW) // 512)]
    vae.register_to_config(scaling_factor=round(1.0 / float(latents(vae, some, 1.0).std()), 5))
    return Autoencoder(vae.half()), curve


def new_autoencoder(params: PretrainingParams) -> AutoencoderKL:
    """An autoencoder with random weights."""
    sizes = params.autoencoder
    levels = len(sizes.channels)
    with torch.random.fork_rng():
        torch.manual_seed(params.seed)
        return AutoencoderKL(
            latent_channels=sizes.latent_channels,
            block_out_channels=sizes.channels,
            layers_per_block=1,
            norm_num_groups=NORM_GROUPS,
            down_block_types=("DownEncoderBlock2D",) * levels,
            up_block_types=("UpDecoderBlock2D",) * levels,
            sample_size=params.image_size,
        )


@torch.no_grad()
def latents(vae: AutoencoderKL, images_N3HW: Tensor, scale: float) -> Tensor:
    """[N, L, h, w] mean latents times ``scale``."""
    return torch.cat([vae.encode(part).latent_dist.mean * scale for part in images_N3HW.split(BATCH)])


@torch.no_grad()
def reconstruction_report(autoencoder: Autoencoder, rows: pd.DataFrame) -> dict[str, dict[str, float]]:
    """``absolute`` and ``squared`` error on the test split, pixel values of -1 to 1."""
    test = rows[rows["split"] == "test"]
    vae = autoencoder.module
    errors: list[Tensor] = []
    for start in range(0, len(test), BATCH):
        images = pixels(decoded(test.iloc[start : start + BATCH]), vae.config.sample_size)
        errors.append(vae.decode(vae.encode(images).latent_dist.mean).sample - images)
    error = torch.cat(errors)
    return {
        "absolute": {"value": float(error.abs().mean()), "n": len(test)},
        "squared": {"value": float(error.square().mean()), "n": len(test)},
    }


def shuffled_indices(
    count: int, size: int, generator: torch.Generator, loss_of: Callable[[Tensor], Tensor]
) -> tuple[Callable[[], Iterator[Tensor]], Callable[[Tensor], Tensor], int]:
    """Fit's view of ``count`` samples: batches of shuffled indices, their loss, and how many make an epoch."""
    per_epoch = max(1, count // size)

    def epoch() -> Iterator[Tensor]:
        yield from torch.randperm(count, generator=generator).split(size)[:per_epoch]

    return epoch, loss_of, per_epoch
