"""Models of published sizes with random weights: what an edit costs does not depend on what a model knows.

The tokenizers are learnt from the captions at hand; embeddings keep the published vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd
import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    FlowMatchEulerDiscreteScheduler,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessorPil,
)

from razor_pipeline.families.clip import ClipFamily
from razor_pipeline.families.clip_pretraining import square_processor, train_tokenizer
from razor_pipeline.families.diffusion import DiffusionFamily
from razor_pipeline.families.diffusion3 import Diffusion3Family
from razor_pipeline.families.published import PUBLISHED
from razor_pipeline.families.vit import VitFamily
from razor_pipeline.families.vlm import VlmFamily
from razor_pipeline.families.vlm_pretraining import CHAT_TEMPLATE, IMAGE, asked_texts
from razor_pipeline.families.vlm_pretraining import train_tokenizer as train_language_tokenizer
from razor_pipeline.interfaces import ModelFamily

MERGES = 1024  # tokens of the learnt tokenizers
Configuration = dict[str, Any]


def untrained(
    name: str, samples: pd.DataFrame, blocks: Mapping[str, int] | None = None, size: int | None = None
) -> ModelFamily:
    """A model of a published size with random weights, alike at every call.

    Args:
        name: in :data:`PUBLISHED`.
        samples: manifest rows whose captions it must be able to read or, a classifier, to give.
        blocks: part -> its layers, or levels of a U-Net, where they are to be fewer than published.
        size: height and width of its images in pixels; None for the published ones.

    Raises:
        ValueError: the name or a part is unknown.
    """
    if name not in PUBLISHED:
        raise ValueError(f"'{name}' is no published size; choose one of {', '.join(PUBLISHED)}")
    config = PUBLISHED[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model: ModelFamily = BUILDERS[config["family"]](_cut(config, blocks or {}, size), samples)
    return model


def _cut(config: Configuration, blocks: Mapping[str, int], size: int | None) -> Configuration:
    parts = {key: dict(part) for key, part in config.items() if isinstance(part, dict)}
    if unknown := sorted(set(blocks) - set(parts)):
        raise ValueError(f"blocks names '{unknown[0]}', which is no part; choose among {', '.join(parts)}")
    for key, count in blocks.items():
        part = parts[key]
        if "block_out_channels" in part:
            part["block_out_channels"] = part["block_out_channels"][:count]
        else:
            layers = "num_layers" if "num_layers" in part else "num_hidden_layers"
            part[layers] = min(count, part[layers])
    for key, name in (("vision", "image_size"), ("vae", "sample_size")):
        if key in parts and size is not None:
            parts[key][name] = size
    return parts


def _texts(samples: pd.DataFrame) -> list[str]:
    return sorted({*samples["caption"], *samples["prompt"]})


def _specials(tokenizer: Any) -> Configuration:
    names = ("bos_token_id", "eos_token_id", "pad_token_id")
    return {name: getattr(tokenizer, name) for name in names}


def _clip_tokenizer(samples: pd.DataFrame, text: Configuration) -> CLIPTokenizer:
    return train_tokenizer(_texts(samples), MERGES, text["max_position_embeddings"])


def _clip(config: Configuration, samples: pd.DataFrame) -> ClipFamily:
    tokenizer = _clip_tokenizer(samples, config["text"])
    model = CLIPModel(
        CLIPConfig(
            text_config=config["text"] | _specials(tokenizer),
            vision_config=config["vision"],
            projection_dim=config["text"]["projection_dim"],
        )
    )
    return ClipFamily(model, tokenizer, square_processor(config["vision"]["image_size"]))


def _vit(config: Configuration, samples: pd.DataFrame) -> VitFamily:
    classes, size = sorted(set(samples["caption"])), config["vision"]["image_size"]
    model = ViTForImageClassification(ViTConfig(**config["vision"], id2label=dict(enumerate(classes))))
    return VitFamily(model, ViTImageProcessorPil(size={"height": size, "width": size}))


def _diffusion(config: Configuration, samples: pd.DataFrame) -> DiffusionFamily:
    tokenizer = _clip_tokenizer(samples, config["text"])
    levels = len(config["denoiser"]["block_out_channels"])
    crossed = min(levels, 3)  # the innermost of the four published levels has no cross-attention
    unet = UNet2DConditionModel(
        **config["denoiser"],
        sample_size=config["vae"]["sample_size"] // 8,
        down_block_types=("CrossAttnDownBlock2D",) * crossed + ("DownBlock2D",) * (levels - crossed),
        up_block_types=("UpBlock2D",) * (levels - crossed) + ("CrossAttnUpBlock2D",) * crossed,
    )
    return DiffusionFamily(
        StableDiffusionPipeline(
            vae=AutoencoderKL(**config["vae"]),
            text_encoder=CLIPTextModel(CLIPTextConfig(**config["text"], **_specials(tokenizer))),
            tokenizer=tokenizer,
            unet=unet,
            scheduler=DDIMScheduler(),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
    )


def _diffusion3(config: Configuration, samples: pd.DataFrame) -> Diffusion3Family:
    tokenizer = _clip_tokenizer(samples, config["text"])
    encoders = [
        CLIPTextModelWithProjection(CLIPTextConfig(**config[part], **_specials(tokenizer)))
        for part in ("text", "text_2")
    ]
    transformer = SD3Transformer2DModel(**config["denoiser"], sample_size=config["vae"]["sample_size"] // 8)
    return Diffusion3Family(
        StableDiffusion3Pipeline(
            vae=AutoencoderKL(**config["vae"]),
            text_encoder=encoders[0],
            tokenizer=tokenizer,
            text_encoder_2=encoders[1],
            tokenizer_2=tokenizer,
            text_encoder_3=None,
            tokenizer_3=None,
            transformer=transformer,
            scheduler=FlowMatchEulerDiscreteScheduler(),
        )
    )


def _vlm(config: Configuration, samples: pd.DataFrame) -> VlmFamily:
    vision = config["vision"]
    tokenizer = train_language_tokenizer(asked_texts(samples), MERGES)
    patches = (vision["image_size"] // vision["patch_size"]) ** 2
    specials = _specials(tokenizer)
    llava = LlavaConfig(
        vision_config=vision | {"model_type": "clip_vision_model"},
        text_config=LlamaConfig(**config["language"], **specials).to_dict(),
        image_token_index=int(tokenizer.vocab[IMAGE]),
        image_seq_length=patches,
    )
    processor = LlavaProcessor(
        square_processor(vision["image_size"]),
        tokenizer,
        patch_size=vision["patch_size"],
        vision_feature_select_strategy="default",
        chat_template=CHAT_TEMPLATE,
        num_additional_image_tokens=1,
    )
    return VlmFamily(LlavaForConditionalGeneration(llava), processor)


BUILDERS: dict[str, Callable[[Configuration, pd.DataFrame], Any]] = {
    "clip": _clip,
    "vit": _vit,
    "diffusion": _diffusion,
    "diffusion3": _diffusion3,
    "vlm": _vlm,
}
