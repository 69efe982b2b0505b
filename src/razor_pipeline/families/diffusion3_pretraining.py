"""A small Stable Diffusion 3: a multimodal transformer with random weights around two trained text encoders."""

from __future__ import annotations

import pandas as pd
import torch
from diffusers import (
    AutoencoderKL,
    FlowMatchEulerDiscreteScheduler,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
)
from transformers import CLIPTextModelWithProjection

from razor_pipeline.families.clip import ClipFamily
from razor_pipeline.families.diffusion3 import Diffusion3Family
from razor_pipeline.families.latent_diffusion_pretraining import (
    train_denoiser,
    trained_autoencoder,
    trained_clip,
)
from razor_pipeline.params.pretraining import Diffusion3Architecture, PretrainingParams


def train_diffusion3(
    samples: pd.DataFrame, params: PretrainingParams
) -> tuple[Diffusion3Family, list[dict[str, float]]]:
    """Train the transformer of a Stable Diffusion 3 on image-caption pairs; see :func:`train_denoiser`.

    Raises:
        ValueError: ``params.diffusion3`` names no directory of a CLIP or of an autoencoder.
    """
    return train_denoiser(Diffusion3Family(new_diffusion3(params)), samples, params.diffusion3, params)


def new_diffusion3(params: PretrainingParams, vae: AutoencoderKL | None = None) -> StableDiffusion3Pipeline:
    """A pipeline with trained text encoders and autoencoder; the transformer has random weights.

    Args:
        params: architecture, and where text encoders and autoencoder lie.
        vae: an autoencoder to use instead.

    Raises:
        ValueError: a directory does not hold what it should.
    """
    sizes = params.diffusion3
    clips = [
        trained_clip(f"diffusion3.{key}", getattr(sizes, key)) for key in ("text_encoder", "text_encoder_2")
    ]
    encoders = [_text_encoder(clip) for clip in clips]
    vae = vae or trained_autoencoder("diffusion3.autoencoder", sizes.autoencoder)
    vae.register_to_config(shift_factor=0.0)  # this pipeline wants one
    with torch.random.fork_rng():
        torch.manual_seed(params.seed)
        transformer = _new_transformer(sizes, vae, encoders)
    return StableDiffusion3Pipeline(
        vae=vae,
        text_encoder=encoders[0],
        tokenizer=clips[0].tokenizer,
        text_encoder_2=encoders[1],
        tokenizer_2=clips[1].tokenizer,
        text_encoder_3=None,
        tokenizer_3=None,
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(),
    )


def _text_encoder(clip: ClipFamily) -> CLIPTextModelWithProjection:
    config = clip.module.config.text_config
    config.projection_dim = clip.module.config.projection_dim
    # transformers makes it in the dtype that its configuration says it was stored in.
    encoder: CLIPTextModelWithProjection = CLIPTextModelWithProjection(config).float()
    encoder.text_model.load_state_dict(clip.module.text_model.state_dict())
    encoder.text_projection.load_state_dict(clip.module.text_projection.state_dict())
    return encoder


def _new_transformer(
    sizes: Diffusion3Architecture, vae: AutoencoderKL, encoders: list[CLIPTextModelWithProjection]
) -> SD3Transformer2DModel:
    latent = vae.config.sample_size // 2 ** (len(vae.config.block_out_channels) - 1)
    return SD3Transformer2DModel(
        sample_size=latent,
        patch_size=1,  # a latent of 8 x 8 has no pixel to spare
        in_channels=vae.config.latent_channels,
        out_channels=vae.config.latent_channels,
        num_layers=sizes.layers,
        num_attention_heads=sizes.heads,
        attention_head_dim=sizes.width // sizes.heads,
        caption_projection_dim=sizes.width,
        joint_attention_dim=sum(encoder.config.hidden_size for encoder in encoders),
        pooled_projection_dim=sum(encoder.text_projection.out_features for encoder in encoders),
        pos_embed_max_size=latent,
    )
