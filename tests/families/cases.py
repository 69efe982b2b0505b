"""One tiny model per family, and what its contract test needs to know of it. A new family adds a case."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Literal

import pandas as pd
import torch
from diffusers import StableDiffusion3Pipeline, StableDiffusionPipeline

from razor_pipeline.atelier import generate
from razor_pipeline.families.autoencoder_pretraining import new_autoencoder
from razor_pipeline.families.clip import ClipFamily
from razor_pipeline.families.clip_pretraining import new_clip
from razor_pipeline.families.deep_diffusion import DeepDiffusion3Family, DeepDiffusionFamily
from razor_pipeline.families.diffusion import DiffusionFamily
from razor_pipeline.families.diffusion3 import Diffusion3Family
from razor_pipeline.families.diffusion3_pretraining import new_diffusion3
from razor_pipeline.families.diffusion_pretraining import new_diffusion
from razor_pipeline.families.images import decoded, pixels
from razor_pipeline.families.vit_pretraining import new_vit
from razor_pipeline.families.vlm import VlmFamily
from razor_pipeline.families.vlm_pretraining import new_vlm
from razor_pipeline.interfaces import ForgetSet, ModelFamily, UnlearningTask
from razor_pipeline.manifest import arranged
from razor_pipeline.params.data import AtelierParams, DataParams, SplitCounts
from razor_pipeline.params.pretraining import PretrainingParams

IMAGE = 32


@dataclass(frozen=True)
class Case:
    """A family under test.

    Attributes:
        name: its name in ``FAMILIES``.
        build: a fresh model with random weights, alike at every call.
        untouched: pieces of parameter names that no component may hold.
        attention: tower -> its attention layers' module names.
        output: tower -> name of an attention layer's output projection.
        prompts: three prompts that name different classes.
        offset: the forget loss is this less the mean knowledge.
        captions: how ``data.captions`` is set.
        anchor: prompt that takes a forgotten caption's place; None where the yardstick is strangers.
    """

    name: str
    build: Callable[[], ModelFamily]
    untouched: tuple[str, ...]
    attention: dict[str, tuple[str, ...]]
    output: dict[str, str]
    prompts: tuple[str, str, str]
    offset: float
    captions: Literal["given", "class", "answer"] = "given"
    anchor: str | None = None

    def samples(self, split: str, people: int = 3) -> pd.DataFrame:
        """Rows of the first known people."""
        rows = portraits()
        known = rows[rows["role"] == "retain"]
        rows = known[(known["split"] == split) & known["label"].isin(known["label"].unique()[:people])]
        if self.anchor:
            rows = rows.assign(anchor=self.anchor)
        return arranged(rows, DataParams(captions=self.captions))

    def task(self) -> UnlearningTask:
        """Forget the first of three people; a fourth is a stranger."""
        rows, held = self.samples("edit", 4), self.samples("validation", 4)
        target, *others, stranger = rows["label"].unique()
        prompts = {
            str(label): (str(rows.loc[rows["label"] == label, "caption"].iloc[0]),)
            for label in [target, *others]
        }
        [prompt] = prompts[target]
        forget = ForgetSet(
            target,
            prompt,
            rows[rows["label"] == target],
            held[held["label"] == target],
            held[held["label"] == stranger].assign(caption=prompt),
        )
        retain = (part[part["label"].isin(others)] for part in (rows, held))
        return UnlearningTask((forget,), *retain, prompts)


@cache
def portraits() -> pd.DataFrame:
    """A few small portraits of every person: four to edit with, two held out."""
    none = SplitCounts(edit=0, validation=0, test=0)
    counts = SplitCounts(edit=4, validation=2, test=0)
    return generate(AtelierParams(image_size=IMAGE, portraits=counts, canvas=none), workers=1)


def tiny_clip() -> ClipFamily:
    params = PretrainingParams(
        image_size=IMAGE,
        clip={
            "width": 32,
            "heads": 4,
            "vision_layers": 2,
            "text_layers": 1,
            "projection": 16,
            "vocabulary": 300,
        },
    )
    return new_clip(sorted(set(portraits()["caption"])), params)


def _vit() -> ModelFamily:
    params = PretrainingParams(image_size=IMAGE, vit={"width": 32, "heads": 4, "layers": 2})
    return new_vit(sorted(set(portraits()["label"])), params)


TINY = PretrainingParams(
    image_size=IMAGE,
    autoencoder={"channels": (8, 8), "latent_channels": 4},
    diffusion={"unet_channels": (16, 16)},
    diffusion3={"width": 32, "heads": 2, "layers": 2},
)


def tiny_pipeline() -> StableDiffusionPipeline:
    """The zoo's text encoder, trained; autoencoder and U-Net are small and have random weights."""
    return new_diffusion(TINY, new_autoencoder(TINY))


def tiny_pipeline3() -> StableDiffusion3Pipeline:
    """Two of the zoo's text encoders, trained; autoencoder and transformer are small and have random weights."""
    return new_diffusion3(TINY, new_autoencoder(TINY))


def _diffusion() -> ModelFamily:
    return DiffusionFamily(tiny_pipeline())


def _diffusion_deep() -> ModelFamily:
    return DeepDiffusionFamily(tiny_pipeline())


def _diffusion3() -> ModelFamily:
    return Diffusion3Family(tiny_pipeline3())


def _diffusion3_deep() -> ModelFamily:
    return DeepDiffusion3Family(tiny_pipeline3())


def tiny_llava() -> VlmFamily:
    """Vision tower, projector and language model of two layers each, random weights."""
    params = PretrainingParams(vlm={"width": 32, "layers": 2, "feed_forward": 64, "vocabulary": 400})
    return new_vlm(portraits(), params, tiny_clip())


CASES = (
    Case(
        "clip",
        tiny_clip,
        untouched=("embedding", "norm", "logit_scale", "position"),
        attention={
            "vision": tuple(f"vision_model.encoder.layers.{i}.self_attn" for i in range(2)),
            "text": ("text_model.encoder.layers.0.self_attn",),
        },
        output={"vision": "out_proj", "text": "out_proj"},
        prompts=("a photo of Ada Moreau", "Ada", "a hat"),
        offset=1.0,
    ),
    Case(
        "vit",
        _vit,
        untouched=("embedding", "norm"),
        attention={"vision": tuple(f"vit.layers.{i}.attention" for i in range(2))},
        output={"vision": "o_proj"},
        prompts=("Ada Moreau", "Bruno Keller", "Greta Novak"),
        offset=0.0,
        captions="class",
    ),
    Case(
        "diffusion",
        _diffusion,
        untouched=("embedding", "norm", "unet"),
        attention={"text": tuple(f"text_encoder.encoder.layers.{i}.self_attn" for i in range(3))},
        output={"text": "out_proj"},
        prompts=("a photo of Ada Moreau", "a cat image", "a hat"),
        offset=0.0,
        anchor="a photo of Mira Petrov",
    ),
    Case(
        "diffusion_deep",
        _diffusion_deep,
        untouched=(
            "embedding",
            "norm",
            "attn1",
            "ff.net",
            "to_q",
            "to_out",
            "time_emb",
            "proj_in",
            "proj_out",
        ),
        attention={"text": tuple(f"text_encoder.encoder.layers.{i}.self_attn" for i in range(3))},
        output={"text": "out_proj"},
        prompts=("a photo of Ada Moreau", "a cat image", "a hat"),
        offset=0.0,
        anchor="a photo of Mira Petrov",
    ),
    Case(
        "diffusion3",
        _diffusion3,
        untouched=("embedding", "norm", "transformer"),
        attention={
            tower: tuple(f"{encoder}.text_model.encoder.layers.{i}.self_attn" for i in range(3))
            for tower, encoder in (("text", "text_encoder"), ("text_2", "text_encoder_2"))
        },
        output={"text": "out_proj", "text_2": "out_proj"},
        prompts=("a photo of Ada Moreau", "a cat image", "a hat"),
        offset=0.0,
        anchor="a photo of Mira Petrov",
    ),
    Case(
        "diffusion3_deep",
        _diffusion3_deep,
        untouched=("embedding", "norm", "transformer_blocks", "timestep", "linear_2", "proj_out"),
        attention={
            tower: tuple(f"{encoder}.text_model.encoder.layers.{i}.self_attn" for i in range(3))
            for tower, encoder in (("text", "text_encoder"), ("text_2", "text_encoder_2"))
        },
        output={"text": "out_proj", "text_2": "out_proj"},
        prompts=("a photo of Ada Moreau", "a cat image", "a hat"),
        offset=0.0,
        anchor="a photo of Mira Petrov",
    ),
    Case(
        "vlm",
        tiny_llava,
        untouched=("embed", "norm", "lm_head"),
        attention={
            "vision": tuple(f"model.vision_tower.encoder.layers.{i}.self_attn" for i in range(2)),
            "language": tuple(f"model.language_model.layers.{i}.self_attn" for i in range(2)),
        },
        output={"vision": "out_proj", "language": "o_proj"},
        prompts=("Ada Moreau", "unknown", "a hat"),
        offset=0.0,
        captions="answer",
    ),
)


def one_person() -> pd.DataFrame:
    """Images of a known person, as an attacker has them."""
    everything = portraits()
    known = everything[(everything["role"] == "retain") & (everything["split"] == "edit")]
    return known[known["label"] == known["label"].iloc[0]]


@torch.no_grad()
def denoising_error(family: DiffusionFamily, rows: pd.DataFrame, prompts: list[str]) -> float:
    """Mean denoising error of the rows' images under prompts, over many times and noises."""
    clean = family.latents(pixels(decoded(rows), family.size)).repeat(16, 1, 1, 1)
    told = family.conditioning(prompts).repeat(16, 1)
    return float(family.denoising_error(clean, told, torch.Generator().manual_seed(1)).mean())
