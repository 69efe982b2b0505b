"""A small Stable Diffusion: a U-Net with random weights around a trained text encoder and autoencoder."""

from __future__ import annotations

import pandas as pd
import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextModel

from razor_pipeline.families.diffusion import DiffusionFamily
from razor_pipeline.families.latent_diffusion_pretraining import (
    train_denoiser,
    trained_autoencoder,
    trained_clip,
)
from razor_pipeline.params.pretraining import DiffusionArchitecture, PretrainingParams


def train_diffusion(
    samples: pd.DataFrame, params: PretrainingParams
) -> tuple[DiffusionFamily, list[dict[str, float]]]:
    """Train the U-Net of a Stable Diffusion on image-caption pairs; see :func:`train_denoiser`.

    Raises:
        ValueError: ``params.diffusion`` names no directory of a CLIP or of an autoencoder.
    """
    return train_denoiser(DiffusionFamily(new_diffusion(params)), samples, params.diffusion, params)


def new_diffusion(params: PretrainingParams, vae: AutoencoderKL | None = None) -> StableDiffusionPipeline:
    """A pipeline with a trained text encoder and autoencoder; the U-Net has random weights.

    Args:
        params: architecture, and where text encoder and autoencoder lie.
        vae: an autoencoder to use instead.

    Raises:
        ValueError: a directory does not hold what it should.
    """
    sizes = params.diffusion
    clip = trained_clip("diffusion.text_encoder", sizes.text_encoder)
    text_encoder = CLIPTextModel(clip.module.config.text_config)
    text_encoder.load_state_dict(clip.module.text_model.state_dict())
    vae = vae or trained_autoencoder("diffusion.autoencoder", sizes.autoencoder)
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
