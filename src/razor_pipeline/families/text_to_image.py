"""What all Stable Diffusions share: what a prompt means to the model is changed in its text encoders.

Forgetting is redirection: the conditioning of prompts that name the target moves to that of the same prompts with an
anchor concept in the target's place, as the frozen encoders have it. The denoiser sees nothing of a prompt but this
conditioning, and of the empty prompt's, which guidance draws away from, so a prompt draws what it drew where both are
held.

Shapes: B batch, N samples, C prompts, T tokens, E width of their hidden states, D numbers of a prompt's conditioning
(the hidden states of all its tokens, and what else the encoders say of it), M of its meaning, L latent channels, h x w
latent.
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from razor_pipeline.core.components import Component, Granularity, matrix_component
from razor_pipeline.families.batches import RowBatch, Streamed
from razor_pipeline.families.blocks import attention, layers_of, mlp
from razor_pipeline.families.images import order_of, pixels
from razor_pipeline.families.latent_diffusion import LatentDiffusion
from razor_pipeline.families.predictions import Predictions
from razor_pipeline.families.texts import warn_of_cut
from razor_pipeline.pictures import Picture, opened, pictures

ANCHOR = "anchor"  # column of forget rows: the prompt whose meaning takes the place of the caption's
PROMPT_BATCH = 256
TOLD_PROMPTS = 256  # whose conditioning in the base is held, some 60 MB with Stable Diffusion 1.5
KNOWN_PROMPTS = 10_000  # whose tokens are held, some 6 MB with Stable Diffusion 1.5
PROBES = 2  # noisy latents that predictions are compared at


@dataclass(frozen=True, eq=False)
class PromptBatch(RowBatch):
    """Captions with their images; ``anchor`` is the caption itself where nothing is forgotten.

    The images stay where they are: only the noise prediction needs them, and coding them costs more than all the rest.
    """

    caption: tuple[str, ...]
    anchor: tuple[str, ...]
    images: tuple[Picture, ...]
    seed: int

    def __len__(self) -> int:
        return len(self.caption)


class TextToImageFamily(LatentDiffusion):
    """A latent diffusion pipeline of ``diffusers``; its text encoders are what is edited.

    Args:
        pipeline: the pipeline, in any floating dtype.
        origin: where it came from, for the manifest of an edit: ``family``, ``id``, ``revision``, ``sha256``.
        frozen: the text encoders as they were, by name; copies of the pipeline's where None.

    Attributes:
        card: text of the model card that is saved with it.
    """

    name: str
    yardstick: Literal["reference", "anchor"] = "anchor"

    def __init__(
        self,
        pipeline: Any,
        origin: Mapping[str, str | None] | None = None,
        frozen: Mapping[str, nn.Module] | None = None,
    ) -> None:
        self.pipeline = pipeline
        # transformers loads weights as they are stored, diffusers widens them
        self.stored_dtype = pipeline.text_encoder.dtype
        parts = {name: getattr(pipeline, name) for name in (*self.encoders, self.denoiser)}
        for part in (*parts.values(), pipeline.vae):
            part.float().eval().requires_grad_(False)
        self.module: nn.Module = nn.ModuleDict(parts)
        self.frozen = dict(frozen or {name: copy.deepcopy(parts[name]) for name in self.encoders})
        self._told: dict[str, Tensor] = {}
        self._ids: dict[str, dict[str, Tensor]] = {}
        self.origin = dict(origin or {})
        self.card = ""

    def move_to(self, device: torch.device) -> None:
        """Move the pipeline there, and the text encoders as they were."""
        self.pipeline.to(device)
        for part in self.frozen.values():
            part.to(device)
        self._told.clear()

    def with_module(self, module: Any) -> Self:
        """The same pipeline around other text encoders and another denoiser, e.g. quantized copies."""
        parts = {**self.pipeline.components, **dict(module.named_children())}
        return type(self)(self.assembled(parts), self.origin, self.frozen)

    def begun_as(self, base: Self) -> Self:
        """The same pipeline, which earlier edits made of ``base``: what was led away there is no goal here."""
        begun = type(self)(self.pipeline, self.origin, base.frozen)
        begun.stored_dtype = self.stored_dtype  # of the pipeline, which is in single precision by now
        return begun

    def with_frozen_encoders(self) -> Self:
        """The same pipeline with the base model's text encoders put back: what an edit of them alone can't prevent."""
        parts = {**self.pipeline.components, **{name: self.frozen[name] for name in self.encoders}}
        return type(self)(self.assembled(parts), self.origin, self.frozen)

    def components(self, granularity: Granularity) -> tuple[Component, ...]:
        """Heads and matrices of the text encoders; embeddings and norms stay out."""
        parts: list[Component] = []
        for name, tower in self.encoders.items():
            encoder = getattr(self.pipeline, name)
            config, prefix = encoder.config, f"{name}.{layers_of(encoder)}"
            for layer in range(config.num_hidden_layers):
                root = f"{prefix}.{layer}"
                parts += attention(
                    root, tower, layer, config.num_attention_heads, granularity, config.hidden_size
                )
                parts += [] if granularity == "head" else mlp(root, tower, layer)
            if granularity != "head" and hasattr(encoder, "text_projection"):
                weight = f"{name}.text_projection.weight"
                parts.append(
                    matrix_component(f"{tower}.projection", tower, config.num_hidden_layers, [weight])
                )
        return tuple(parts)

    def batches(
        self, samples: pd.DataFrame, batch_size: int, generator: torch.Generator | None = None
    ) -> Streamed[tuple[Picture, ...], PromptBatch]:
        """Manifest rows; a column ``anchor`` says where the caption's meaning is to go."""
        order = order_of(samples, generator)
        rows = samples.assign(place=np.argsort(order))  # of each row in that order
        return Streamed(rows, order, batch_size, pictures, self._batch, self.device)

    def _batch(self, rows: pd.DataFrame, images: tuple[Picture, ...]) -> PromptBatch:
        anchors = rows[ANCHOR] if ANCHOR in rows else rows["caption"]
        return PromptBatch(tuple(rows["caption"]), tuple(anchors), images, int(rows["place"].iloc[0]))

    def conditioning(self, prompts: Sequence[str]) -> Tensor:
        """[C, D] what the denoiser is told of prompts; differentiable."""
        return self._conditioning({name: getattr(self.pipeline, name) for name in self.encoders}, prompts)

    @torch.no_grad()
    def frozen_conditioning(self, prompts: Sequence[str]) -> Tensor:
        """[C, D] what the base model's denoiser was told of them; a few hundred are encoded once for all calls."""
        if new := [prompt for prompt in dict.fromkeys(prompts) if prompt not in self._told]:
            self._told.update(zip(new, self._conditioning(self.frozen, new), strict=True))
        found_CD = torch.stack([self._told[prompt] for prompt in prompts])
        if len(self._told) > TOLD_PROMPTS:
            self._told.clear()
        return found_CD

    def _conditioning(self, encoders: Mapping[str, nn.Module], prompts: Sequence[str]) -> Tensor:
        return _each_once(lambda part: self.encoded(encoders, part), prompts)

    def token_ids(self, tokenizer: str, prompts: Sequence[str], length: int) -> Tensor:
        """[C, T] token ids of a tokenizer of the pipeline, padded and cut to ``length``, as diffusers makes them.

        A search reads the same prompts at every step: what they consist of is looked up once.
        """
        known = self._ids.setdefault(tokenizer, {})
        if len(known) > KNOWN_PROMPTS:
            known.clear()
        if new := [prompt for prompt in prompts if prompt not in known]:
            tool = getattr(self.pipeline, tokenizer)
            tokens = tool(new, padding="max_length", truncation=True, max_length=length, return_tensors="pt")
            warn_of_cut(tool, new, tokens, length)
            known.update(zip(new, tokens["input_ids"], strict=True))
        return torch.stack([known[prompt] for prompt in prompts]).to(self.device)

    @abstractmethod
    def encoded(self, encoders: Mapping[str, nn.Module], prompts: list[str]) -> Tensor:
        """[C, D] conditioning of distinct prompts as these encoders give it, laid out as the denoiser expects."""

    @abstractmethod
    def cross_attention(self) -> tuple[str, ...]:
        """Names of the denoiser's weights through which a prompt acts on the image."""

    @abstractmethod
    def prompt_readers(self) -> tuple[str, ...]:
        """Names of those weights whose input is the tokens' hidden states and nothing else: keys and values."""

    def token_states(self, prompts: Sequence[str]) -> Tensor:  # noqa: ARG002
        """[C, T, E] what the prompt readers read of every token.

        Raises:
            ValueError: the denoiser has no prompt readers.
        """
        raise ValueError(
            f"'{self.name}' has no keys and values that read the prompt alone, which uce solves for; compare it by "
            "another method"
        )

    def solved(
        self,
        components: Sequence[Component],  # noqa: ARG002
        led: Sequence[tuple[str, str]],  # noqa: ARG002
        kept: Sequence[str],  # noqa: ARG002
        pressure: float,  # noqa: ARG002
        hold: float,  # noqa: ARG002
    ) -> dict[str, Tensor]:
        """Nothing: the conditioning is no linear function of the encoders' weights."""
        return {}

    def by_output(self, rows: pd.DataFrame, prompts: Sequence[str]) -> Predictions:
        """The same model, its scores read from what the denoiser predicts, which an edit of any part changes.

        The latents that it predicts from are those of a few rows, evenly spread, each at a time of its own.
        """
        chosen = rows.iloc[:: max(1, len(rows) // PROBES)].head(PROBES)
        clean_PLhw = self.latents_of(chosen)
        noise_PLhw = torch.randn(clean_PLhw.shape, generator=torch.Generator().manual_seed(0))
        share_P = (torch.arange(len(chosen)) + 1.0) / (len(chosen) + 1.0)
        noisy = self.noisy(clean_PLhw, noise_PLhw.to(self.device), self.time_at(share_P).to(self.device))
        return Predictions(self, noisy, prompts)

    def meaning(self, prompts: Sequence[str]) -> Tensor:
        """[C, M] what is led to the anchor: the conditioning, or more where more than the encoders is edited."""
        return self.conditioning(prompts)

    def frozen_meaning(self, prompts: Sequence[str]) -> Tensor:
        """[C, M] the base model's, no gradient."""
        return self.frozen_conditioning(prompts)

    def knowledge(self, batch: PromptBatch) -> Tensor:
        """[B] squared distance of the captions' meaning to their anchors': 1 as in the base, 0 none."""
        goal_BM, start_BM = self.frozen_meaning(batch.anchor), self.frozen_meaning(batch.caption)
        whole_B = (start_BM - goal_BM).square().mean(dim=1)
        return (self.meaning(batch.caption) - goal_BM).square().mean(dim=1) / whole_B

    def forget_loss(self, batch: PromptBatch) -> Tensor:
        """``-``mean of :meth:`knowledge`."""
        return -self.knowledge(batch).mean()

    def retain_loss(self, batch: PromptBatch) -> Tensor:
        """Mean of :meth:`denoising_error`."""
        generator = torch.Generator().manual_seed(batch.seed)
        clean_BLhw = self.latents(pixels(opened(batch.images), self.size))
        return self.denoising_error(clean_BLhw, self.conditioning(batch.caption), generator).mean()

    def observe(self, batch: PromptBatch) -> Tensor:
        """[B, D] conditioning of the captions: whatever else is edited, a prompt whose conditioning is held is kept."""
        return self.conditioning(batch.caption)

    @torch.no_grad()
    def scores(self, batches: Sequence[PromptBatch], prompts: Sequence[str]) -> Tensor:
        """[N, C] negative distances of the captions' meaning to the prompts' in the base.

        The prompt that a caption now reads like scores highest. A caption is read once however often it stands there,
        and the same however the samples are batched.
        """
        goal_CM = self.frozen_meaning(prompts)
        captions = [caption for batch in batches for caption in batch.caption]
        return _each_once(lambda part: -torch.cdist(self.meaning(part), goal_CM).cpu(), captions)


def _each_once(of: Callable[[list[str]], Tensor], texts: Sequence[str]) -> Tensor:
    """A row for every text, equal ones computed once, a batch of distinct ones at a time."""
    distinct = list(dict.fromkeys(texts))
    place = {text: i for i, text in enumerate(distinct)}
    parts = [of(distinct[start : start + PROMPT_BATCH]) for start in range(0, len(distinct), PROMPT_BATCH)]
    return torch.cat(parts)[[place[text] for text in texts]]
