"""Training of a small Stable Diffusion from random weights: autoencoder, then U-Net in its latent space.

As in Stable Diffusion 1.5 the text encoder is that of a trained CLIP and stays as it is. The recipe is latent
diffusion's (arXiv 2112.10752): epsilon prediction, with the caption left out now and then for classifier-free guidance.

Shapes: B batch, N images, P prompts, T tokens, E text width, L latent channels, h x w latent, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.training_utils import EMAModel
from torch import Tensor
from torch.nn import functional
from transformers import CLIPTextModel

from razor_pipeline.families.clip import ClipFamily
from razor_pipeline.families.diffusion import DiffusionFamily
from razor_pipeline.families.images import decoded, pixels
from razor_pipeline.families.training import fit
from razor_pipeline.params import DiffusionArchitecture, PretrainingParams

ENCODE_BATCH = 128
KL_WEIGHT = 1e-6  # latent diffusion's: latents stay near a normal distribution without blurring the pictures


def train_diffusion(
    samples: pd.DataFrame, params: PretrainingParams
) -> tuple[DiffusionFamily, list[dict[str, float]]]:
    """Train a Stable Diffusion pipeline on image-caption pairs.

    Args:
        samples: manifest rows to learn from.
        params: architecture and schedule; ``epochs`` are those of the U-Net.

    Returns:
        The pipeline, weights rounded to float16, and one row of learning curve per epoch of both parts; the
        autoencoder's epochs come first, with negative numbers.

    Raises:
        ValueError: ``params.diffusion.text_encoder`` is no directory of a CLIP.
    """
    pipeline = new_diffusion(params)
    generator = torch.Generator().manual_seed(params.seed)
    images_N3HW = pixels(decoded(samples), params.image_size)
    vae_curve = _train_autoencoder(pipeline.vae, images_N3HW, params, generator)
    latents_NLhw = _latents(pipeline.vae, images_N3HW, params.mirror)
    family = DiffusionFamily(pipeline)
    prompts, prompt_N = _prompts(samples)
    states_PTE = family.encode_prompts(["", *prompts])
    curve = _train_unet(pipeline, latents_NLhw, states_PTE, prompt_N + 1, params, generator)
    for part in (pipeline.vae, pipeline.unet, pipeline.text_encoder):
        part.half()
    early = [row | {"epoch": row["epoch"] - len(vae_curve)} for row in vae_curve]
    return DiffusionFamily(pipeline), early + curve


@torch.no_grad()
def denoising_report(family: DiffusionFamily, rows: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Mean errors on the test split.

    ``autoencoder``: L1, pixel values of -1 to 1. ``epsilon``: squared, one time and noise an image.

    How well it draws is what judges say of its pictures; that needs none of these rows.
    """
    test = rows[rows["split"] == "test"]
    pipeline, generator = family.pipeline, torch.Generator().manual_seed(0)
    prompts, prompt_N = _prompts(test)
    states_PTE = family.encode_prompts(prompts)
    found: dict[str, list[Tensor]] = {"autoencoder": [], "epsilon": []}
    for index in torch.arange(len(test)).split(ENCODE_BATCH):
        images = pixels(decoded(test.iloc[index.tolist()]), pipeline.vae.config.sample_size)
        latents = pipeline.vae.encode(images).latent_dist.mean
        found["autoencoder"].append((pipeline.vae.decode(latents).sample - images).abs().mean(dim=(1, 2, 3)))
        noise = torch.randn(latents.shape, generator=generator)
        time_B = torch.randint(
            0, pipeline.scheduler.config.num_train_timesteps, (len(index),), generator=generator
        )
        noisy = pipeline.scheduler.add_noise(latents * pipeline.vae.config.scaling_factor, noise, time_B)
        epsilon = pipeline.unet(noisy, time_B, states_PTE[prompt_N[index]]).sample
        found["epsilon"].append((epsilon - noise).square().mean(dim=(1, 2, 3)))
    return {name: {"value": float(torch.cat(parts).mean()), "n": len(test)} for name, parts in found.items()}


def new_diffusion(params: PretrainingParams) -> StableDiffusionPipeline:
    """A pipeline with a trained text encoder; autoencoder and U-Net have random weights."""
    sizes = params.diffusion
    source = Path(sizes.text_encoder)
    if not (source / "config.json").is_file():
        raise ValueError(
            f"pretraining.diffusion.text_encoder '{source}' is no directory of a CLIP; train one first with "
            "`make zoo`, or give its path"
        )
    clip = ClipFamily.from_pretrained(str(source))
    text_encoder = CLIPTextModel(clip.module.config.text_config)
    text_encoder.load_state_dict(clip.module.text_model.state_dict())
    with torch.random.fork_rng():
        torch.manual_seed(params.seed)
        vae = _new_autoencoder(sizes, params.image_size)
        unet = _new_unet(sizes, params.image_size, text_encoder.config.hidden_size)
    scheduler = DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )
    return StableDiffusionPipeline(
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=clip.tokenizer,
        unet=unet,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def _new_autoencoder(sizes: DiffusionArchitecture, image_size: int) -> AutoencoderKL:
    levels = len(sizes.vae_channels)
    return AutoencoderKL(
        latent_channels=sizes.latent_channels,
        block_out_channels=sizes.vae_channels,
        layers_per_block=1,
        norm_num_groups=8,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        sample_size=image_size,
    )


def _new_unet(sizes: DiffusionArchitecture, image_size: int, text_width: int) -> UNet2DConditionModel:
    levels = len(sizes.unet_channels)
    return UNet2DConditionModel(
        sample_size=image_size // 2 ** (len(sizes.vae_channels) - 1),
        in_channels=sizes.latent_channels,
        out_channels=sizes.latent_channels,
        block_out_channels=sizes.unet_channels,
        layers_per_block=1,
        cross_attention_dim=text_width,
        attention_head_dim=sizes.unet_heads,  # diffusers' name for the number of heads of this class
        norm_num_groups=16,
        down_block_types=("CrossAttnDownBlock2D",) * levels,
        up_block_types=("CrossAttnUpBlock2D",) * levels,
    )


def _train_autoencoder(
    vae: AutoencoderKL, images_N3HW: Tensor, params: PretrainingParams, generator: torch.Generator
) -> list[dict[str, float]]:
    """Fit the autoencoder and set the factor that gives its latents unit variance."""
    own = params.model_copy(update={"epochs": params.diffusion.vae_epochs, "batch_size": 16})
    vae.to(memory_format=torch.channels_last)

    def loss_of(index_B: Tensor) -> Tensor:
        target_B3HW = images_N3HW[index_B]
        if params.mirror and torch.rand((), generator=generator) < 0.5:
            target_B3HW = target_B3HW.flip(-1)
        with _autocast(params):
            posterior = vae.encode(target_B3HW.contiguous(memory_format=torch.channels_last)).latent_dist
            noise = torch.randn(posterior.mean.shape, generator=generator)
            found_B3HW = vae.decode(posterior.mean + posterior.std * noise).sample
        error: Tensor = functional.l1_loss(found_B3HW.float(), target_B3HW)
        loss: Tensor = error + KL_WEIGHT * posterior.kl().float().mean()
        return loss

    curve = fit(vae, *_shuffled(len(images_N3HW), own.batch_size, generator, loss_of), own)
    vae.eval().requires_grad_(False)
    vae.to(memory_format=torch.contiguous_format)
    spread = float(_latents(vae, images_N3HW[:: max(1, len(images_N3HW) // 512)], False, 1.0).std())
    vae.register_to_config(scaling_factor=round(1.0 / spread, 5))
    return curve


@torch.no_grad()
def _latents(vae: AutoencoderKL, images_N3HW: Tensor, mirror: bool, scale: float | None = None) -> Tensor:
    """Scaled mean latents [N, L, h, w], or [2N, L, h, w] with the mirrored images behind."""
    both = torch.cat([images_N3HW, images_N3HW.flip(-1)]) if mirror else images_N3HW
    factor = vae.config.scaling_factor if scale is None else scale
    return torch.cat([vae.encode(part).latent_dist.mean * factor for part in both.split(ENCODE_BATCH)])


def _prompts(samples: pd.DataFrame) -> tuple[list[str], Tensor]:
    """The distinct captions, and [N] which of them each row has."""
    prompts = sorted(set(samples["caption"]))
    place = {prompt: i for i, prompt in enumerate(prompts)}
    return prompts, torch.tensor([place[caption] for caption in samples["caption"]])


def _train_unet(
    pipeline: StableDiffusionPipeline,
    latents_NLhw: Tensor,
    states_PTE: Tensor,
    prompt_N: Tensor,
    params: PretrainingParams,
    generator: torch.Generator,
) -> list[dict[str, float]]:
    """Fit the U-Net on the latents; it ends with the moving average of its weights."""
    unet, scheduler = pipeline.unet, pipeline.scheduler
    images = len(prompt_N)
    average = EMAModel(unet.parameters(), decay=params.diffusion.ema_decay, use_ema_warmup=True, power=0.75)

    def loss_of(index_B: Tensor) -> Tensor:
        count = len(index_B)
        mirrored_B = torch.randint(0, len(latents_NLhw) // images, (count,), generator=generator)
        clean_BLhw = latents_NLhw[index_B + images * mirrored_B]
        dropped_B = torch.rand(count, generator=generator) < params.diffusion.caption_dropout
        states_BTE = states_PTE[prompt_N[index_B].masked_fill(dropped_B, 0)]
        noise_BLhw = torch.randn(clean_BLhw.shape, generator=generator)
        time_B = torch.randint(0, scheduler.config.num_train_timesteps, (count,), generator=generator)
        noisy_BLhw = scheduler.add_noise(clean_BLhw, noise_BLhw, time_B)
        with _autocast(params):
            found_BLhw = unet(noisy_BLhw, time_B, states_BTE).sample
        return functional.mse_loss(found_BLhw.float(), noise_BLhw)

    curve = fit(
        unet,
        *_shuffled(images, params.batch_size, generator, loss_of),
        params,
        lambda: average.step(unet.parameters()),
    )
    average.copy_to(unet.parameters())
    unet.eval().requires_grad_(False)
    return curve


def _shuffled(
    count: int, size: int, generator: torch.Generator, loss_of: Callable[[Tensor], Tensor]
) -> tuple[Callable[[], Iterator[Tensor]], Callable[[Tensor], Tensor], int]:
    """Fit's view of ``count`` samples: batches of shuffled indices, their loss, and how many make an epoch."""
    per_epoch = max(1, count // size)

    def epoch() -> Iterator[Tensor]:
        yield from torch.randperm(count, generator=generator).split(size)[:per_epoch]

    return epoch, loss_of, per_epoch


def _autocast(params: PretrainingParams) -> torch.autocast:
    return torch.autocast("cpu", torch.bfloat16, enabled=params.precision == "bfloat16")
