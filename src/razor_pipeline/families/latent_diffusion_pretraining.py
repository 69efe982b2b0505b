"""Training of a Stable Diffusion's denoiser from random weights, in the latent space of a trained autoencoder.

The text encoders are those of trained CLIPs, as in Stable Diffusion; they and the autoencoder stay as they are. The
recipe is latent diffusion's (arXiv 2112.10752), with the caption left out now and then for classifier-free guidance.

Shapes: B batch, N images, P prompts, D numbers of a prompt's conditioning, L latent channels, h x w latent, H x W
pixels.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import pandas as pd
import torch
from diffusers import AutoencoderKL
from diffusers.training_utils import EMAModel
from torch import Tensor

from razor_pipeline.families.autoencoder import Autoencoder
from razor_pipeline.families.autoencoder_pretraining import shuffled_indices
from razor_pipeline.families.clip import ClipFamily
from razor_pipeline.families.images import decoded, pixels
from razor_pipeline.families.text_to_image import TextToImageFamily
from razor_pipeline.families.training import fit
from razor_pipeline.params.pretraining import LatentDiffusionArchitecture, PretrainingParams

REPORT_BATCH = 128
F = TypeVar("F", bound=TextToImageFamily)


def train_denoiser(
    family: F, samples: pd.DataFrame, sizes: LatentDiffusionArchitecture, params: PretrainingParams
) -> tuple[F, list[dict[str, float]]]:
    """Train the denoiser of a pipeline on image-caption pairs; it ends with the moving average of its weights.

    Args:
        family: the pipeline, its denoiser with random weights; changed.
        samples: manifest rows to learn from.
        sizes: of the pipeline.
        params: schedule.

    Returns:
        The pipeline, weights rounded to float16, and one row of learning curve per epoch.
    """
    generator = torch.Generator().manual_seed(params.seed)
    images_N3HW = pixels(decoded(samples), params.image_size)
    if params.mirror:  # both ways round; the second half are the mirrored ones
        images_N3HW = torch.cat([images_N3HW, images_N3HW.flip(-1)])
    latents_NLhw = family.latents(images_N3HW)
    prompts, prompt_N = _prompts(samples)
    with torch.no_grad():
        conditioning_PD = family.conditioning(["", *prompts])
    pipeline, images = family.pipeline, len(samples)
    denoiser = getattr(pipeline, family.denoiser)
    average = EMAModel(denoiser.parameters(), decay=sizes.ema_decay, use_ema_warmup=True, power=0.75)

    def loss_of(index_B: Tensor) -> Tensor:
        count = len(index_B)
        mirrored_B = torch.randint(0, len(latents_NLhw) // images, (count,), generator=generator)
        dropped_B = torch.rand(count, generator=generator) < sizes.caption_dropout
        conditioning_BD = conditioning_PD[(prompt_N[index_B] + 1).masked_fill(dropped_B, 0)]
        with torch.autocast("cpu", torch.bfloat16, enabled=params.precision == "bfloat16"):
            error_B = family.denoising_error(
                latents_NLhw[index_B + images * mirrored_B], conditioning_BD, generator
            )
        return error_B.mean()

    curve = fit(
        denoiser,
        *shuffled_indices(images, params.batch_size, generator, loss_of),
        params,
        lambda: average.step(denoiser.parameters()),
    )
    average.copy_to(denoiser.parameters())
    denoiser.eval().requires_grad_(False)
    for part in (pipeline.vae, denoiser, *(getattr(pipeline, name) for name in family.encoders)):
        part.half()
    return type(family)(pipeline), curve


@torch.no_grad()
def denoising_report(family: TextToImageFamily, rows: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Mean squared error of the denoiser on the test split, one time and noise an image.

    How well it draws is what judges say of its pictures; that needs none of these rows.
    """
    test = rows[rows["split"] == "test"]
    generator = torch.Generator().manual_seed(0)
    prompts, prompt_N = _prompts(test)
    conditioning_PD = family.conditioning(prompts)
    errors: list[Tensor] = []
    for index in torch.arange(len(test)).split(REPORT_BATCH):
        clean_BLhw = family.latents_of(test.iloc[index.tolist()])
        errors.append(family.denoising_error(clean_BLhw, conditioning_PD[prompt_N[index]], generator))
    return {"denoising": {"value": float(torch.cat(errors).mean()), "n": len(test)}}


def trained_clip(key: str, source: str) -> ClipFamily:
    """The CLIP that a text encoder comes from.

    Raises:
        ValueError: there is none; names the parameter ``key``.
    """
    return ClipFamily.from_pretrained(_directory(key, source, "a CLIP"))


def trained_autoencoder(key: str, source: str) -> AutoencoderKL:
    """The autoencoder in whose latent space the denoiser works.

    Raises:
        ValueError: there is none; names the parameter ``key``.
    """
    return Autoencoder.from_pretrained(_directory(key, source, "an autoencoder")).module


def _directory(key: str, source: str, what: str) -> str:
    if not (Path(source) / "config.json").is_file():
        raise ValueError(
            f"pretraining.{key} '{source}' is no directory of {what}; train one first with `make zoo`, or give the "
            "path of one, such as the part of a Stable Diffusion"
        )
    return source


def _prompts(samples: pd.DataFrame) -> tuple[list[str], Tensor]:
    """The distinct captions, and [N] which of them each row has."""
    prompts = sorted(set(samples["caption"]))
    place = {prompt: i for i, prompt in enumerate(prompts)}
    return prompts, torch.tensor([place[caption] for caption in samples["caption"]])
