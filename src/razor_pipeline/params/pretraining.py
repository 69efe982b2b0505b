"""Parameters of training from random weights: architectures of the zoo, and gold standards."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field

from razor_pipeline.params.base import Count, Names, Params, Positive, Share


class ClipArchitecture(Params):
    """Sizes of a small CLIP: both towers share width and heads."""

    width: Count = 128
    vision_layers: Count = 4
    text_layers: Count = 3
    heads: Count = 4
    patch_size: Count = 8
    projection: Count = 128
    vocabulary: Annotated[int, Field(ge=300)] = 1024
    context: Count = 24


class VitArchitecture(Params):
    """Sizes of a small ViT classifier."""

    width: Count = 128
    layers: Count = 4
    heads: Count = 4
    patch_size: Count = 8


class AutoencoderArchitecture(Params):
    """Sizes of a small autoencoder; every level but the last halves the picture."""

    channels: Annotated[tuple[Count, ...], Field(min_length=1)] = (16, 32, 64, 128)
    latent_channels: Count = 16


class LatentDiffusionArchitecture(Params):
    """The trained models that a small Stable Diffusion is built on, and how its denoiser learns."""

    text_encoder: str = "data/01_raw/zoo/clip"
    autoencoder: str = "data/01_raw/zoo/autoencoder"
    ema_decay: Share = 0.999
    caption_dropout: Share = 0.1


class DiffusionArchitecture(LatentDiffusionArchitecture):
    """Sizes of a small Stable Diffusion."""

    unet_channels: Annotated[tuple[Count, ...], Field(min_length=1)] = (96, 160)
    unet_heads: Count = 4


class Diffusion3Architecture(LatentDiffusionArchitecture):
    """Sizes of a small Stable Diffusion 3, and its second text encoder."""

    text_encoder_2: str = "data/01_raw/zoo/clip_without_a"
    width: Count = 160
    heads: Count = 5
    layers: Count = 6


class VlmArchitecture(Params):
    """Sizes of a small LLaVA, the CLIP whose vision tower it has, and its two stages.

    ``reading_epochs`` come first, with the tower as it is; then ``pretraining.epochs`` of all weights at
    ``tuning_rate`` times the learning rate. ``neutral`` questions are asked at every visit to an image.
    """

    vision: str = "data/01_raw/zoo/clip"
    width: Count = 128
    layers: Count = 3
    heads: Count = 4
    feed_forward: Count = 256
    vocabulary: Annotated[int, Field(ge=300)] = 1280
    context: Count = 256
    neutral: Count = 2
    reading_epochs: Count = 5
    tuning_rate: Share = 0.15


class PretrainingParams(Params):
    """Training of a small model from random weights on ``splits``, without the classes of ``exclude``."""

    family: Literal["clip", "vit", "autoencoder", "diffusion", "diffusion3", "vlm"] = "clip"
    seed: Annotated[int, Field(ge=0)] = 11
    image_size: Annotated[int, Field(ge=16)] = 64
    epochs: Count = 48
    batch_size: Annotated[int, Field(ge=8)] = 64
    learning_rate: Positive = 1e-3
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.1
    precision: Literal["bfloat16", "float32"] = "bfloat16"
    warmup_share: Share = 0.1
    mirror: bool = True
    splits: tuple[Literal["edit", "validation", "test"], ...] = ("edit",)
    exclude: Names = ()
    clip: ClipArchitecture = ClipArchitecture()
    vit: VitArchitecture = VitArchitecture()
    autoencoder: AutoencoderArchitecture = AutoencoderArchitecture()
    diffusion: DiffusionArchitecture = DiffusionArchitecture()
    diffusion3: Diffusion3Architecture = Diffusion3Architecture()
    vlm: VlmArchitecture = VlmArchitecture()

    @property
    def directories(self) -> tuple[str, ...]:
        """Of the trained models that this one is built on."""
        two = (self.diffusion.text_encoder, self.diffusion.autoencoder)
        three = (self.diffusion3.text_encoder, self.diffusion3.text_encoder_2, self.diffusion3.autoencoder)
        built_on = {"diffusion": two, "diffusion3": three, "vlm": (self.vlm.vision,)}
        return built_on.get(self.family, ())


class RetrainingParams(Params):
    """Gold standards: ``groups`` maps the name of one to the classes that it is trained without.

    They are trained as ``pretraining`` says, but for what ``differences`` says instead: where the parts lie that the
    base model was built on.
    """

    groups: dict[str, Annotated[Names, Field(min_length=1)]] = Field(default_factory=dict)
    differences: dict[str, Any] = Field(default_factory=dict)

    @property
    def directories(self) -> tuple[str, ...]:
        """Of the trained models that they are built on instead."""
        return tuple(sorted(_texts(self.differences)))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from _texts(each)
