"""Training of a small Stable Diffusion: a U-Net from random weights in the latent space of a trained autoencoder.

As in Stable Diffusion 1.5 the text encoder is that of a trained CLIP; it and the autoencoder stay as they are. The
recipe is latent diffusion's (arXiv 2112.10752): epsilon prediction, with the caption left out now and then for
classifier-free guidance.

Shapes: B batch, N images, P prompts, T tokens, E text width, L latent channels, h x w latent, H x W pixels.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.training_utils import EMAModel
from torch import Tensor
from torch.nn import functional
from transformers import CLIPTextModel

from razor_pipeline.families.autoencoder import Autoencoder
from razor_pipeline.families.autoencoder_pretraining import latents, shuffled_indices
from razor_pipeline.families.clip import ClipFamily
from razor_pipeline.families.diffusion import DiffusionFamily
from razor_pipeline.families.images import decoded, pixels
from razor_pipeline.families.training import fit
from razor_pipeline.params import DiffusionArchitecture, PretrainingParams

ENCODE_BATCH = 128


def train_diffusion(
    samples: pd.DataFrame, params: PretrainingParams
) -> tuple[DiffusionFamily, list[dict[str, float]]]:
    """Train the U-Net of a Stable Diffusion pipeline on image-caption pairs.

    Args:
        samples: manifest rows to learn from.
        params: architecture and schedule.

    Returns:
        The pipeline, weights rounded to float16, and one row of learning curve per epoch.

    Raises:
        ValueError: ``params.diffusion`` names no directory of a CLIP or of an autoencoder.
    """
    pipeline = new_diffusion(params)
    generator = torch.Generator().manual_seed(params.seed)
    images_N3HW = pixels(decoded(samples), params.image_size)
    if params.mirror:  # both ways round; the second half are the mirrored ones
        images_N3HW = torch.cat([images_N3HW, images_N3HW.flip(-1)])
    latents_NLhw = latents(pipeline.vae, images_N3HW, pipeline.vae.config.scaling_factor)
    family = DiffusionFamily(pipeline)
    prompts, prompt_N = _prompts(samples)
    states_PTE = family.encode_prompts(["", *prompts])
    curve = _train_unet(pipeline, latents_NLhw, states_PTE, prompt_N + 1, params, generator)
    for part in (pipeline.vae, pipeline.unet, pipeline.text_encoder):
        part.half()
    return DiffusionFamily(pipeline), curve


@torch.no_grad()
def denoising_report(family: DiffusionFamily, rows: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Mean squared error of the noise prediction on the test split, one time and noise an image.

    How well it draws is what judges say of its pictures; that needs none of these rows.
    """
    test = rows[rows["split"] == "test"]
    pipeline, generator = family.pipeline, torch.Generator().manual_seed(0)
    prompts, prompt_N = _prompts(test)
    states_PTE = family.encode_prompts(prompts)
    errors: list[Tensor] = []
    for index in torch.arange(len(test)).split(ENCODE_BATCH):
        images = pixels(decoded(test.iloc[index.tolist()]), pipeline.vae.config.sample_size)
        clean = latents(pipeline.vae, images, pipeline.vae.config.scaling_factor)
        noise = torch.randn(clean.shape, generator=generator)
        time_B = torch.randint(
            0, pipeline.scheduler.config.num_train_timesteps, (len(index),), generator=generator
        )
        noisy = pipeline.scheduler.add_noise(clean, noise, time_B)
        epsilon = pipeline.unet(noisy, time_B, states_PTE[prompt_N[index]]).sample
        errors.append((epsilon - noise).square().mean(dim=(1, 2, 3)))
    return {"epsilon": {"value": float(torch.cat(errors).mean()), "n": len(test)}}


def new_diffusion(params: PretrainingParams, vae: AutoencoderKL | None = None) -> StableDiffusionPipeline:
    """A pipeline with a trained text encoder and autoencoder; the U-Net has random weights.

    Args:
        params: architecture, and where text encoder and autoencoder lie.
        vae: an autoencoder to use instead.

    Raises:
        ValueError: a directory does not hold what it should.
    """
    sizes = params.diffusion
    clip = ClipFamily.from_pretrained(_directory("text_encoder", sizes.text_encoder, "a CLIP"))
    text_encoder = CLIPTextModel(clip.module.config.text_config)
    text_encoder.load_state_dict(clip.module.text_model.state_dict())
    if vae is None:
        source = _directory("autoencoder", sizes.autoencoder, "an autoencoder")
        vae = Autoencoder.from_pretrained(source).module
    with torch.random.fork_rng():
        torch.manual_seed(params.seed)
        unet = _new_unet(sizes, vae, text_encoder.config.hidden_size)
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


def _directory(key: str, source: str, what: str) -> str:
    if not (Path(source) / "config.json").is_file():
        raise ValueError(
            f"pretraining.diffusion.{key} '{source}' is no directory of {what}; train one first with `make zoo`, or "
            "give its path"
        )
    return source


def _new_unet(sizes: DiffusionArchitecture, vae: AutoencoderKL, text_width: int) -> UNet2DConditionModel:
    levels = len(sizes.unet_channels)
    return UNet2DConditionModel(
        sample_size=vae.config.sample_size // 2 ** (len(vae.config.block_out_channels) - 1),
        in_channels=vae.config.latent_channels,
        out_channels=vae.config.latent_channels,
        block_out_channels=sizes.unet_channels,
        layers_per_block=1,
        cross_attention_dim=text_width,
        attention_head_dim=sizes.unet_heads,  # diffusers' name for the number of heads of this class
        norm_num_groups=16,
        down_block_types=("CrossAttnDownBlock2D",) * levels,
        up_block_types=("CrossAttnUpBlock2D",) * levels,
    )


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
        with torch.autocast("cpu", torch.bfloat16, enabled=params.precision == "bfloat16"):
            found_BLhw = unet(noisy_BLhw, time_B, states_BTE).sample
        return functional.mse_loss(found_BLhw.float(), noise_BLhw)

    curve = fit(
        unet,
        *shuffled_indices(images, params.batch_size, generator, loss_of),
        params,
        lambda: average.step(unet.parameters()),
    )
    average.copy_to(unet.parameters())
    unet.eval().requires_grad_(False)
    return curve
