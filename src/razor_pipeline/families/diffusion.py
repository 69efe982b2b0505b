"""Stable Diffusion: what a prompt means to the model is changed in its text encoder.

Forgetting is redirection: the hidden states of prompts that name the target move to those of the same prompts with an
anchor concept in the target's place, as the frozen encoder has them. The U-Net sees nothing of a prompt but these
states, so a prompt whose states are held draws what it drew.

Shapes: B batch, N samples, C prompts, T tokens, E width of the hidden states, L latent channels, h x w latent.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from razor_pipeline.core import losses
from razor_pipeline.core.components import Component, Granularity
from razor_pipeline.families.blocks import attention, mlp
from razor_pipeline.families.images import decoded, ordered, pixels

ANCHOR = "anchor"  # column of forget rows: the prompt whose meaning takes the place of the caption's
PROMPT_BATCH = 256


@dataclass(frozen=True)
class DiffusionBatch:
    """Captions with their images; ``anchor`` is the caption itself where nothing is forgotten.

    The images stay as they are: only the noise prediction needs them, and coding them costs more than all the rest.
    """

    caption: tuple[str, ...]
    anchor: tuple[str, ...]
    images: tuple[bytes, ...]
    seed: int

    def __len__(self) -> int:
        return len(self.caption)


class DiffusionFamily:
    """A ``diffusers.StableDiffusionPipeline``; its text encoder is what is edited.

    Args:
        pipeline: the pipeline, in any floating dtype.
        origin: where it came from, for the manifest of an edit: ``id``, ``revision``, ``sha256``.
        frozen: the text encoder as it was; a copy of the pipeline's where None.

    Attributes:
        parts: files that a directory must hold beside its weights.
        card: text of the model card that is saved with it.
    """

    name = "diffusion"
    yardstick: Literal["strangers", "anchor"] = "anchor"
    parts = ("model_index.json",)

    def __init__(
        self,
        pipeline: Any,
        origin: Mapping[str, str | None] | None = None,
        frozen: nn.Module | None = None,
    ) -> None:
        self.pipeline = pipeline
        # transformers loads weights as they are stored, diffusers widens them
        self.stored_dtype = pipeline.text_encoder.dtype
        parts = {"text_encoder": pipeline.text_encoder, "unet": pipeline.unet}
        for part in (*parts.values(), pipeline.vae):
            part.float().eval().requires_grad_(False)
        self.module: nn.Module = nn.ModuleDict(parts)
        self.frozen = frozen or copy.deepcopy(pipeline.text_encoder)
        self.origin = dict(origin or {})
        self.card = ""

    @classmethod
    def from_pretrained(cls, source: str, revision: str | None = None) -> DiffusionFamily:
        """Load a directory in the diffusers layout, or a hub id at a pinned revision; safetensors only.

        Raises:
            ValueError: it is a pipeline of another kind, has a safety checker, which would blacken images that an
                evaluation must see, or predicts something else than noise. Said before weights are loaded.
        """
        _check(source, revision)
        pipeline = StableDiffusionPipeline.from_pretrained(source, revision=revision, use_safetensors=True)
        return cls(pipeline, {"id": source, "revision": revision})

    def with_module(self, module: Any) -> DiffusionFamily:
        """The same pipeline around another text encoder and U-Net, e.g. quantized copies."""
        parts = {**self.pipeline.components, **dict(module.named_children())}
        pipeline = StableDiffusionPipeline(**parts, requires_safety_checker=False)
        return DiffusionFamily(pipeline, self.origin, self.frozen)

    def save_pretrained(self, path: Path) -> None:
        """Write the pipeline so that ``StableDiffusionPipeline.from_pretrained`` opens it."""
        parts = {name: copy.deepcopy(part) for name, part in self.pipeline.components.items()}
        stored = StableDiffusionPipeline(**parts, requires_safety_checker=False)
        for part in (stored.text_encoder, stored.unet, stored.vae):
            part.to(self.stored_dtype)
        stored.save_pretrained(path)

    def components(self, granularity: Granularity) -> tuple[Component, ...]:
        """Heads and matrices of the text encoder; embeddings and norms stay out."""
        encoder = self.pipeline.text_encoder
        config, prefix = encoder.config, "text_encoder." + _layers_of(encoder)
        parts: list[Component] = []
        for layer in range(config.num_hidden_layers):
            root = f"{prefix}.{layer}"
            parts += attention(
                root, "text", layer, config.num_attention_heads, granularity, config.hidden_size
            )
            parts += [] if granularity == "head" else mlp(root, "text", layer)
        return tuple(parts)

    def batches(
        self, samples: pd.DataFrame, batch_size: int, generator: torch.Generator | None = None
    ) -> list[DiffusionBatch]:
        """Manifest rows; a column ``anchor`` says where the caption's meaning is to go."""
        rows = ordered(samples, generator)
        anchors = rows[ANCHOR] if ANCHOR in rows else rows["caption"]
        return [
            DiffusionBatch(
                tuple(rows["caption"][start : start + batch_size]),
                tuple(anchors[start : start + batch_size]),
                tuple(rows["image_bytes"][start : start + batch_size]),
                start,
            )
            for start in range(0, len(rows), batch_size)
        ]

    def encode_prompts(self, prompts: Sequence[str]) -> Tensor:
        """[C, T, E] hidden states of prompts; differentiable."""
        return self._states(self.pipeline.text_encoder, prompts)

    def _states(self, encoder: nn.Module, prompts: Sequence[str]) -> Tensor:
        distinct = list(dict.fromkeys(prompts))
        place = {prompt: i for i, prompt in enumerate(distinct)}
        parts = []
        for start in range(0, len(distinct), PROMPT_BATCH):
            tokens = self.pipeline.tokenizer(
                distinct[start : start + PROMPT_BATCH],
                padding="max_length",
                truncation=True,
                max_length=self.pipeline.tokenizer.model_max_length,
                return_tensors="pt",
            )
            parts.append(encoder(tokens["input_ids"]).last_hidden_state)
        return torch.cat(parts)[[place[prompt] for prompt in prompts]]

    @torch.no_grad()
    def frozen_states(self, prompts: Sequence[str]) -> Tensor:
        """[C, T, E] hidden states that the base model gave the prompts."""
        return self._states(self.frozen, prompts)

    def _to_anchor(self, batch: DiffusionBatch) -> Tensor:
        """[B] squared distance of the captions' states to their anchors', 1 where the base model has it."""
        goal_BTE, start_BTE = self.frozen_states(batch.anchor), self.frozen_states(batch.caption)
        whole_B = (start_BTE - goal_BTE).square().mean(dim=(1, 2))
        return (self.encode_prompts(batch.caption) - goal_BTE).square().mean(dim=(1, 2)) / whole_B

    def knowledge(self, batch: DiffusionBatch) -> Tensor:
        """[B] what is left of the way to the anchor: 1 as in the base, 0 none."""
        return self._to_anchor(batch)

    def forget_loss(self, batch: DiffusionBatch) -> Tensor:
        """``-``mean of :meth:`knowledge`."""
        return -self._to_anchor(batch).mean()

    def gap(self, target: DiffusionBatch, reference: DiffusionBatch, auc: float) -> Tensor:  # noqa: ARG002
        """Mean squared distance of the states to their anchors'; the reference plays no part."""
        return (self.encode_prompts(target.caption) - self.frozen_states(target.anchor)).square().mean()

    def retain_loss(self, batch: DiffusionBatch) -> Tensor:
        """Squared error of the noise prediction at one random time per image."""
        latents_BLhw = self._latents(batch)
        generator = torch.Generator().manual_seed(batch.seed)
        noise_BLhw = torch.randn(latents_BLhw.shape, generator=generator)
        scheduler = self.pipeline.scheduler
        time_B = torch.randint(0, scheduler.config.num_train_timesteps, (len(batch),), generator=generator)
        noisy_BLhw = scheduler.add_noise(latents_BLhw, noise_BLhw, time_B)
        found_BLhw = self.pipeline.unet(noisy_BLhw, time_B, self.encode_prompts(batch.caption)).sample
        return functional.mse_loss(found_BLhw, noise_BLhw)

    @torch.no_grad()
    def _latents(self, batch: DiffusionBatch) -> Tensor:
        vae = self.pipeline.vae
        images = decoded(pd.DataFrame({"image_bytes": batch.images}))
        size = self.pipeline.unet.config.sample_size * self.pipeline.vae_scale_factor
        latents: Tensor = vae.encode(pixels(images, size)).latent_dist.mean * vae.config.scaling_factor
        return latents

    def observe(self, batch: DiffusionBatch) -> Tensor:
        """[B, T, E] hidden states of the captions."""
        return self.encode_prompts(batch.caption)

    def mismatch_loss(self, batch: DiffusionBatch, frozen: Tensor) -> Tensor:
        """Squared drift of the hidden states from the frozen encoder's."""
        return losses.similarity_drift(self.observe(batch), frozen)

    def keeping_losses(self, batch: DiffusionBatch, frozen: Tensor) -> tuple[Tensor, Tensor]:
        """No retain loss, and the mismatch loss.

        States that do not move predict the same noise: to know it takes no pass of the U-Net.
        """
        drift = self.mismatch_loss(batch, frozen)
        return drift.new_zeros(()), drift

    def class_logits(self, batch: DiffusionBatch, prompts: Sequence[str]) -> Tensor:
        """[B, C] negative distances of the captions' states to what the prompts meant to the base; differentiable."""
        states_BTE, frozen_CTE = self.encode_prompts(batch.caption), self.frozen_states(prompts)
        return -torch.cdist(states_BTE.flatten(1), frozen_CTE.flatten(1))

    @torch.no_grad()
    def scores(self, batches: Sequence[DiffusionBatch], prompts: Sequence[str]) -> Tensor:
        """[N, C] the same without gradients: the prompt that each caption now reads like scores highest."""
        return torch.cat([self.class_logits(batch, prompts) for batch in batches])

    @torch.no_grad()
    def draw(
        self, prompts: Sequence[str], seeds: Sequence[int], steps: int, guidance: float
    ) -> list[Image.Image]:
        """One image per prompt, its noise from its own seed."""
        self.pipeline.set_progress_bar_config(disable=True)
        size = self.pipeline.unet.config.sample_size * self.pipeline.vae_scale_factor
        images: list[Image.Image] = self.pipeline(
            list(prompts),
            height=size,
            width=size,
            num_inference_steps=steps,
            guidance_scale=guidance,
            generator=[torch.Generator().manual_seed(seed) for seed in seeds],
        ).images
        return images


def _check(source: str, revision: str | None) -> None:
    """Refuse what the family can't work with, from the configuration alone.

    Raises:
        ValueError: see :meth:`DiffusionFamily.from_pretrained`.
    """
    index = StableDiffusionPipeline.load_config(source, revision=revision)
    kind = index.get("_class_name")
    if kind != "StableDiffusionPipeline":
        raise ValueError(f"its model_index.json says {kind}, not StableDiffusionPipeline")
    if (index.get("safety_checker") or [None])[0]:
        raise ValueError(
            "it has a safety checker, which blackens images that an evaluation must see; "
            "open it with safety_checker=None and save it again"
        )
    scheduler = DDIMScheduler.load_config(source, revision=revision, subfolder="scheduler")
    predicted = scheduler.get("prediction_type", "epsilon")
    if predicted != "epsilon":
        raise ValueError(f"its scheduler says prediction_type '{predicted}'; only 'epsilon' is supported")


def _layers_of(encoder: nn.Module) -> str:
    """Name of the stack of layers in a CLIP text encoder, by itself or within a model with a projection."""
    return next(str(name) for name, _ in encoder.named_modules() if name.endswith("encoder.layers"))
