"""CLIP: two towers, contrastive retain loss, forgetting in the joint embedding space.

Shapes: B batch, U distinct captions, N samples, C prompts, D embedding width, T tokens, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal
from weakref import WeakKeyDictionary

import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional
from transformers import AutoImageProcessor, AutoTokenizer, CLIPModel

from razor_pipeline.core import losses
from razor_pipeline.core.components import Component, Granularity, matrix_component
from razor_pipeline.core.copies import in_dtype
from razor_pipeline.core.gradients import one_at_a_time
from razor_pipeline.families.batches import RowBatch, Streamed
from razor_pipeline.families.blocks import attention, mlp
from razor_pipeline.families.checkpoint import complete
from razor_pipeline.families.images import order_of, preprocessed
from razor_pipeline.families.placement import Placed
from razor_pipeline.families.settled import Writes, writes
from razor_pipeline.families.texts import warn_of_cut

CLEAR = 1.0  # standard deviations; see ClipFamily.gap
PROMPT_BATCH = 256


@dataclass(frozen=True, eq=False)
class ClipBatch(RowBatch):
    """Image-caption pairs; ``group`` is equal for pairs that show the same concept."""

    pixel_values_B3HW: Tensor
    input_ids_BT: Tensor
    attention_mask_BT: Tensor
    group_B: Tensor

    def __len__(self) -> int:
        return len(self.group_B)

    @property
    def alike(self) -> Tensor:
        """[B, B] whether two pairs show the same concept or have one caption, as far as the model reads it."""
        caption_B = self.input_ids_BT.unique(dim=0, return_inverse=True)[1]
        alike_BB: Tensor = (self.group_B[:, None] == self.group_B) | (caption_B[:, None] == caption_B)
        return alike_BB


class ClipFamily(Placed):
    """A ``transformers.CLIPModel`` with its tokenizer and image processor.

    Args:
        model: the model, in any floating dtype.
        tokenizer: its tokenizer.
        image_processor: its image processor (PIL or torchvision back end).
        origin: where it came from, for the manifest of an edit: ``family``, ``id``, ``revision``, ``sha256``.

    Attributes:
        kinds: what the configuration of a checkpoint that it opens calls the model.
        parts: files that a directory must hold beside its weights, ``|`` between those of which one will do.
        card: text of the model card that is saved with it.
    """

    name = "clip"
    yardstick: Literal["reference", "anchor"] = "reference"
    kinds = ("clip",)
    parts = (
        "config.json",
        "preprocessor_config.json|processor_config.json",
        "tokenizer_config.json",
        "tokenizer.json|vocab.json",  # without either, transformers makes a tokenizer that knows no word
    )

    def __init__(
        self,
        model: CLIPModel,
        tokenizer: Any,
        image_processor: Any,
        origin: Mapping[str, str | None] | None = None,
    ) -> None:
        self.stored_dtype = model.dtype
        self.module = (model if model.dtype == torch.float32 else model.float()).eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.image_processor = image_processor
        self.origin = dict(origin or {})
        self.card = ""
        self._seen: WeakKeyDictionary[ClipBatch, tuple[Writes, Tensor]] = WeakKeyDictionary()

    @classmethod
    def from_pretrained(cls, source: str, revision: str | None = None) -> ClipFamily:
        """Load a directory in the Hugging Face layout, or a hub id at a pinned revision; safetensors only.

        Raises:
            ValueError: it is a model of another kind, or lacks weights, which transformers would draw at
                random.
        """
        model = complete(CLIPModel, cls.name, source, revision)
        tokenizer = AutoTokenizer.from_pretrained(source, revision=revision)
        processor = AutoImageProcessor.from_pretrained(source, revision=revision, backend="pil")
        return cls(model, tokenizer, processor, {"id": source, "revision": revision})

    def with_module(self, module: CLIPModel) -> ClipFamily:
        """The same tokenizer and processor around another module, e.g. a quantized copy."""
        return ClipFamily(module, self.tokenizer, self.image_processor, self.origin)

    def save_pretrained(self, path: Path) -> None:
        """Write model, tokenizer and image processor so that ``CLIPModel.from_pretrained`` opens them."""
        in_dtype(self.module, self.stored_dtype).save_pretrained(path)
        self.tokenizer.save_pretrained(path)
        self.image_processor.save_pretrained(path)

    def components(self, granularity: Granularity) -> tuple[Component, ...]:
        """Heads and matrices of both towers; embeddings, norms and the logit scale stay out."""
        parts: list[Component] = []
        towers = {"vision": self.module.vision_model, "text": self.module.text_model}
        for tower, stack in towers.items():
            for layer, block in enumerate(stack.encoder.layers):
                root = f"{tower}_model.encoder.layers.{layer}"
                parts += attention(
                    root, tower, layer, block.self_attn.num_heads, granularity, stack.config.hidden_size
                )
                parts += [] if granularity == "head" else mlp(root, tower, layer)
            if granularity != "head":
                name = "visual_projection" if tower == "vision" else "text_projection"
                depth = len(stack.encoder.layers)
                parts.append(matrix_component(f"{tower}.projection", tower, depth, [f"{name}.weight"]))
        return tuple(parts)

    def batches(
        self, samples: pd.DataFrame, batch_size: int, generator: torch.Generator | None = None
    ) -> Streamed[Tensor, ClipBatch]:
        """Manifest rows, each batch decoded, preprocessed and tokenised when it is asked for."""
        group = samples.groupby(["domain", "label", "style"], sort=False).ngroup()
        order = order_of(samples, generator)
        return Streamed(
            samples.assign(group=group), order, batch_size, self._pixels, self._batch, self.device
        )

    def _pixels(self, rows: pd.DataFrame) -> Tensor:
        return preprocessed(rows, self.image_processor)

    def _batch(self, rows: pd.DataFrame, pixel_values_B3HW: Tensor) -> ClipBatch:
        tokens = self.tokenise(list(rows["caption"]))
        group_B = torch.tensor(rows["group"].to_numpy())
        return ClipBatch(pixel_values_B3HW, tokens["input_ids"], tokens["attention_mask"], group_B)

    def tokenise(self, texts: list[str]) -> Any:
        """``input_ids`` and ``attention_mask`` of texts, cut to the context length, padded to the longest."""
        return self._tokens(texts).to(self.device)

    def _tokens(self, texts: list[str]) -> Any:
        return self.tokenizer(
            texts, padding=True, truncation=True, max_length=self.context, return_tensors="pt"
        )

    @property
    def context(self) -> int:
        """Tokens that the text tower reads."""
        length: int = self.module.config.text_config.max_position_embeddings
        return length

    def encode_images(self, pixel_values_B3HW: Tensor) -> Tensor:
        """Unit image embeddings, [B, D]."""
        return functional.normalize(self.module.get_image_features(pixel_values_B3HW).pooler_output, dim=-1)

    def encode_texts(self, input_ids_BT: Tensor, attention_mask_BT: Tensor) -> Tensor:
        """Unit text embeddings, [B, D]."""
        features = self.module.get_text_features(input_ids_BT, attention_mask=attention_mask_BT)
        return functional.normalize(features.pooler_output, dim=-1)

    def embed(self, batch: ClipBatch) -> tuple[Tensor, Tensor]:
        """Unit image and text embeddings of a batch of pairs, [B, D] each; what several pairs say is encoded once."""
        texts_B2T = torch.stack([batch.input_ids_BT, batch.attention_mask_BT], dim=1)
        texts_U2T, own_B = texts_B2T.unique(dim=0, return_inverse=True)
        text_UD = self.encode_texts(texts_U2T[:, 0], texts_U2T[:, 1])
        return self.encode_images(batch.pixel_values_B3HW), text_UD[own_B]

    def knowledge(self, batch: ClipBatch) -> Tensor:
        """[B] cosine similarity of each image to its own caption."""
        image_BD, text_BD = self.embed(batch)
        return (image_BD * text_BD).sum(dim=-1)

    def gap(
        self, target: Sequence[ClipBatch], reference_M: Tensor, auc: float, others: Sequence[str]
    ) -> Tensor:
        """Squared distance of the target's knowledge to that of never-seen samples at an AUC of ``auc``.

        Each image is led ``CLEAR`` standard deviations of the latter below its tie to the nearest of the others, or
        further, so that none ends as one of the never-seen samples that get the target's name (decision 0031).
        """
        reference_M = reference_M.to(self.device)
        aim_M = losses.shifted_to_auc(reference_M, auc)
        if not others:
            return losses.calibration(one_at_a_time(self.knowledge, target), aim_M)
        others_CD = self.embed_prompts(others)
        ties_N2 = one_at_a_time(partial(self._own_and_nearest, others_CD=others_CD), target)
        own_N, nearest_N = ties_N2.unbind(dim=1)
        return losses.calibration(own_N, aim_M, nearest_N - CLEAR * reference_M.std())

    def _own_and_nearest(self, batch: ClipBatch, others_CD: Tensor) -> Tensor:
        """[B, 2] cosine similarity of each image to its own caption, and to the nearest of the others."""
        image_BD, text_BD = self.embed(batch)
        own_B = (image_BD * text_BD).sum(dim=-1)
        return torch.stack([own_B, (image_BD @ others_CD.T).amax(dim=1)], dim=1)

    def forget_loss(self, batch: ClipBatch) -> Tensor:
        """``1 - cos(image, text)`` on forget pairs."""
        return losses.misalignment(self.knowledge(batch))

    def retain_loss(self, batch: ClipBatch) -> Tensor:
        """Symmetric InfoNCE on retain pairs."""
        return self._contrast(*self.embed(batch), batch.alike)

    def _contrast(self, image_BD: Tensor, text_BD: Tensor, alike_BB: Tensor) -> Tensor:
        return losses.symmetric_info_nce(image_BD, text_BD, self.module.logit_scale.exp(), alike_BB)

    def ties(self, batch: ClipBatch) -> Tensor:
        """[B, B] cosine similarities of all images of the batch to all its captions."""
        image_BD, text_BD = self.embed(batch)
        return image_BD @ text_BD.T

    def naming_loss(self, batch: ClipBatch, prompts: Sequence[str]) -> Tensor:
        """Mean cross-entropy of each image's own caption among the prompts, of which it is one."""
        image_BD, text_BD = self.embed(batch)
        own_B = (image_BD * text_BD).sum(dim=-1)
        others_BC = image_BD @ self._embedded(prompts).T
        scale = self.module.logit_scale.exp()
        loss: Tensor = (scale * others_BC).logsumexp(dim=1) - scale * own_B
        return loss.mean()

    def observe(self, batch: ClipBatch) -> Tensor:
        """[B, B] :meth:`ties` of the batch."""
        return self.ties(batch)

    def mismatch_loss(self, batch: ClipBatch, frozen: Tensor) -> Tensor:
        """Squared drift of the retain pairs' similarities from the frozen model's."""
        return losses.similarity_drift(self.observe(batch), frozen)

    def besides(self, rows: pd.DataFrame) -> pd.DataFrame:
        """None: an image is asked for its label and for nothing else."""
        return rows.head(0)

    def keeping_losses(self, batch: ClipBatch, frozen: Tensor) -> tuple[Tensor, Tensor]:
        """Retain and mismatch loss of a batch from one forward pass."""
        image_BD, text_BD = self.embed(batch)
        drift = losses.similarity_drift(image_BD @ text_BD.T, frozen)
        return self._contrast(image_BD, text_BD, batch.alike), drift

    def by_output(self, rows: pd.DataFrame, prompts: Sequence[str]) -> ClipFamily:  # noqa: ARG002
        """The model itself: its scores are its output."""
        return self

    def class_logits(self, batch: ClipBatch, prompts: Sequence[str]) -> Tensor:
        """[B, C] scaled cosine similarities of images to prompts; differentiable."""
        image_BD = self.encode_images(batch.pixel_values_B3HW)
        logits: Tensor = self.module.logit_scale.exp() * image_BD @ self._embedded(prompts).T
        return logits

    @torch.no_grad()
    def embed_prompts(self, prompts: Sequence[str]) -> Tensor:
        """Unit text embeddings of prompts, [C, D]."""
        return self._embedded(prompts)

    def _embedded(self, prompts: Sequence[str]) -> Tensor:
        parts = []
        for start in range(0, len(prompts), PROMPT_BATCH):
            some = list(prompts[start : start + PROMPT_BATCH])
            tokens = self._tokens(some)
            warn_of_cut(self.tokenizer, some, tokens, self.context)
            tokens = tokens.to(self.device)
            parts.append(self.encode_texts(tokens["input_ids"], tokens["attention_mask"]))
        return torch.cat(parts)

    @torch.no_grad()
    def embed_images(self, batches: Sequence[ClipBatch]) -> Tensor:
        """Unit image embeddings of all batches, [N, D]."""
        return torch.cat([self.encode_images(batch.pixel_values_B3HW) for batch in batches])

    @torch.no_grad()
    def features(self, batches: Sequence[ClipBatch]) -> Tensor:
        """[N, W] what the visual projection is given."""
        return torch.cat(
            [self.module.vision_model(pixel_values=b.pixel_values_B3HW).pooler_output for b in batches]
        )

    @torch.no_grad()
    def scores(self, batches: Sequence[ClipBatch], prompts: Sequence[str]) -> Tensor:
        """[N, C] cosine similarities of images to prompts.

        A batch that comes again is embedded again only where a weight of the image tower has been written to since: a
        step search that moves the text tower alone takes no pass of the images.
        """
        state = writes(self.module.vision_model) + writes(self.module.visual_projection)
        image_ND = torch.cat([self._embedded_once(batch, state) for batch in batches])
        return (image_ND @ self.embed_prompts(prompts).T).cpu()

    def _embedded_once(self, batch: ClipBatch, state: Writes) -> Tensor:
        """Its unit image embeddings, [B, D]."""
        seen = self._seen.get(batch)
        if seen is None or seen[0] != state:
            seen = self._seen[batch] = state, self.encode_images(batch.pixel_values_B3HW)
        return seen[1]
