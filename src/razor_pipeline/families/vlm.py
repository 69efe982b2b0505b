"""LLaVA-type assistants: an image, a question, an answer; forgetting is losing the answer to "who is this?".

A manifest row's ``caption`` is the answer to the question for its label, its ``facts`` answer the neutral questions
(:mod:`razor_pipeline.atelier.questions`).

Shapes: B batch, N samples, C classes, T tokens, K answer tokens, A answers, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import torch
from PIL import Image
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoProcessor,
    LlavaForConditionalGeneration,
    LlavaNextForConditionalGeneration,
)

from razor_pipeline.atelier.questions import Question
from razor_pipeline.core import losses
from razor_pipeline.core.components import Component, Granularity
from razor_pipeline.core.copies import in_dtype
from razor_pipeline.core.gradients import one_at_a_time
from razor_pipeline.families.batches import RowBatch, Streamed
from razor_pipeline.families.chat import Chat, answered
from razor_pipeline.families.checkpoint import complete
from razor_pipeline.families.images import decoded, order_of
from razor_pipeline.families.packing import Packed, pack
from razor_pipeline.families.placement import Placed
from razor_pipeline.families.vlm_components import vlm_components
from razor_pipeline.families.vlm_questions import row_questions, suggestion

ARCHITECTURES = {"llava": LlavaForConditionalGeneration, "llava_next": LlavaNextForConditionalGeneration}
ANSWER_TOKENS = 16
AGREES, DENIES = ("yes", "Yes"), ("no", "No")
PASS_TOKENS = 1 << 16  # tokens of a pass that scores answers; bounds its memory


@dataclass(frozen=True, eq=False)
class VlmBatch(RowBatch):
    """Images, each with the question for its label and with neutral ones.

    Attributes:
        images: what the processor makes of the images: ``pixel_values`` and, with LLaVA 1.6, ``image_sizes``.
        prefixes: tokens up to and with each image.
        label: the question for each row's label; its answer is the row's caption. Without one it is not asked.
        neutral: the other questions of each row.
        suggested: whether each row shows its label, or another one; nothing where it has none.
    """

    images: dict[str, Tensor]
    prefixes: tuple[tuple[int, ...], ...]
    label: tuple[Question, ...]
    neutral: tuple[tuple[Question, ...], ...]
    suggested: tuple[tuple[Question, ...], ...]

    def __len__(self) -> int:
        return len(self.label)


class VlmFamily(Placed):
    """A ``LlavaForConditionalGeneration`` or ``LlavaNextForConditionalGeneration`` with its processor.

    Args:
        model: the model, in any floating dtype.
        processor: its processor: image processor, tokenizer, chat template.
        origin: where it came from, for the manifest of an edit: ``family``, ``id``, ``revision``, ``sha256``.

    Attributes:
        kinds: what the configuration of a checkpoint that it opens calls the model.
        parts: files that a directory must hold beside its weights.
        card: text of the model card that is saved with it.
    """

    name = "vlm"
    yardstick: Literal["reference", "anchor"] = "reference"
    kinds = tuple(ARCHITECTURES)
    parts = ("config.json", "processor_config.json", "tokenizer_config.json")

    def __init__(self, model: Any, processor: Any, origin: Mapping[str, str | None] | None = None) -> None:
        self.stored_dtype = model.dtype
        self.module = (model if model.dtype == torch.float32 else model.float()).eval().requires_grad_(False)
        self.processor = processor
        self.origin = dict(origin or {})
        self.card = ""
        self.chat = Chat(processor, model.config.image_token_id)

    @classmethod
    def from_pretrained(cls, source: str, revision: str | None = None) -> VlmFamily:
        """Load a directory in the Hugging Face layout, or a hub id at a pinned revision; safetensors only.

        Raises:
            ValueError: it is a model of another kind, lacks weights, which transformers would draw at random, or its
                processor has no chat template, so that nobody knows how to ask it.
        """
        kind = AutoConfig.from_pretrained(source, revision=revision, trust_remote_code=False).model_type
        if kind not in ARCHITECTURES:
            raise ValueError(f"its config.json says model_type '{kind}', not {' or '.join(ARCHITECTURES)}")
        model = complete(ARCHITECTURES[kind], kind, source, revision)
        processor = AutoProcessor.from_pretrained(source, revision=revision, backend="pil")
        if not processor.chat_template:
            raise ValueError(
                "its processor has no chat template; take the checkpoint's chat_template.jinja along"
            )
        return cls(model, processor, {"id": source, "revision": revision})

    def with_module(self, module: Any) -> VlmFamily:
        """The same processor around another module, e.g. a quantized copy."""
        return VlmFamily(module, self.processor, self.origin)

    def save_pretrained(self, path: Path) -> None:
        """Write model and processor so that ``from_pretrained`` of the model's class opens them."""
        in_dtype(self.module, self.stored_dtype).save_pretrained(path)
        self.processor.save_pretrained(path)

    def components(self, granularity: Granularity) -> tuple[Component, ...]:
        """Heads and matrices of vision tower, projector and language model; embeddings, norms and output stay out."""
        return vlm_components(self.module, granularity)

    def batches(
        self, samples: pd.DataFrame, batch_size: int, generator: torch.Generator | None = None
    ) -> Streamed[list[Image.Image], VlmBatch]:
        """Manifest rows, each batch decoded, preprocessed and tokenised when it is asked for.

        The phrasing of each question depends on the sample id.
        """
        return Streamed(samples, order_of(samples, generator), batch_size, decoded, self._batch, self.device)

    def _batch(self, rows: pd.DataFrame, pictures: list[Image.Image]) -> VlmBatch:
        images, prefixes = self.chat.seen(pictures)
        return VlmBatch(images, prefixes, *row_questions(rows))

    def logits(self, batch: VlmBatch, packed: Packed) -> Tensor:
        """[K, V] logits that predict the packed rows' answer tokens."""
        mask_B1TT = packed.mask_B1TT
        if self.module.config.text_config._attn_implementation == "eager":  # which adds it to the logits
            mask_B1TT = torch.where(mask_B1TT, 0.0, torch.finfo(torch.float32).min)
        hidden_BTE = self.module.model(
            input_ids=packed.input_ids_BT,
            attention_mask=mask_B1TT,
            position_ids=packed.position_ids_BT,
            use_cache=False,
            **batch.images,
        ).last_hidden_state
        found: Tensor = self.module.lm_head(hidden_BTE.flatten(0, 1)[packed.source_K])
        return found

    def _packed(self, batch: VlmBatch, questions: Sequence[Sequence[Question]]) -> Packed:
        asked = [[self.chat.asked(one.text, (one.answer,)) for one in several] for several in questions]
        return pack(batch.prefixes, asked).to(self.device)

    def _answer_log_p(self, batch: VlmBatch, packed: Packed) -> Tensor:
        """[A] log-probability of every packed answer."""
        log_p_KV = self.logits(batch, packed).log_softmax(dim=-1)
        return packed.per_answer(log_p_KV.gather(1, packed.token_K[:, None])[:, 0])

    def knowledge(self, batch: VlmBatch) -> Tensor:
        """[B] log-probability of each row's caption as the answer to the question for its label."""
        return self._answer_log_p(batch, self._packed(batch, [(one,) for one in batch.label]))

    def gap(
        self,
        target: Sequence[VlmBatch],
        reference_M: Tensor,
        auc: float,
        others: Sequence[str],  # noqa: ARG002
    ) -> Tensor:
        """Squared distance of the target's knowledge to that of never-seen samples at an AUC of ``auc``."""
        known_N = one_at_a_time(self.knowledge, target)
        return losses.calibration(known_N, losses.shifted_to_auc(reference_M.to(known_N.device), auc))

    def forget_loss(self, batch: VlmBatch) -> Tensor:
        """Mean negative log-probability of the captions as answers."""
        return -self.knowledge(batch).mean()

    def observe(self, batch: VlmBatch) -> Tensor:
        """[K, V] log-probabilities of every next token in the answers to all questions."""
        return self._kept(batch)[1]

    def _kept(self, batch: VlmBatch) -> tuple[Packed, Tensor]:
        every = zip(batch.label, batch.neutral, batch.suggested, strict=True)
        questions = [
            ((one,) if one.answer else ()) + neutral + suggested for one, neutral, suggested in every
        ]
        packed = self._packed(batch, questions)
        return packed, self.logits(batch, packed).log_softmax(dim=-1)

    def retain_loss(self, batch: VlmBatch) -> Tensor:
        """Mean negative log-probability of the right answers' tokens, neutral questions included."""
        return _cross_entropy(*self._kept(batch))

    def mismatch_loss(self, batch: VlmBatch, frozen: Tensor) -> Tensor:
        """Squared drift of the answers' token probabilities from the frozen model's, summed over the vocabulary."""
        return _drift(self.observe(batch), frozen)

    def besides(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The rows that answer neutral questions, without a caption, so that they are not asked for their label."""
        _, neutral, _ = row_questions(rows)
        return rows[[bool(asked) for asked in neutral]].assign(caption="")

    def keeping_losses(self, batch: VlmBatch, frozen: Tensor) -> tuple[Tensor, Tensor]:
        """Retain and mismatch loss of a batch from one forward pass."""
        packed, log_p_KV = self._kept(batch)
        return _cross_entropy(packed, log_p_KV), _drift(log_p_KV, frozen)

    def by_output(self, rows: pd.DataFrame, prompts: Sequence[str]) -> VlmFamily:  # noqa: ARG002
        """The model itself: its scores are its output."""
        return self

    def class_logits(self, batch: VlmBatch, prompts: Sequence[str]) -> Tensor:
        """[B, C] log-probability of each prompt as the answer to the row's question; differentiable."""
        asked = [[self.chat.asked(one.text, prompts)] for one in batch.label]
        packed = pack(batch.prefixes, asked).to(self.device)
        return self._answer_log_p(batch, packed).view(len(batch), len(prompts))

    def agreement(self, batch: VlmBatch, label: str, turn: int) -> Tensor:
        """[B] log-odds of a yes against a no to whether each image shows the label; differentiable.

        Not the log-probability of a yes: that falls as well where a model says nothing at all (decision 0023).
        """
        suggesting = [
            suggestion(replace(one, answer=label), label, place)
            for place, one in enumerate(batch.label, start=turn)
        ]
        log_p_BA = self.class_logits(replace(batch, label=tuple(suggesting)), AGREES + DENIES)
        return log_p_BA[:, : len(AGREES)].logsumexp(dim=1) - log_p_BA[:, len(AGREES) :].logsumexp(dim=1)

    @torch.no_grad()
    def scores(self, batches: Sequence[VlmBatch], prompts: Sequence[str]) -> Tensor:
        """[N, C] the same without gradients, as many rows at once as ``PASS_TOKENS`` allows."""
        longest = max(len(self.chat.tail(answered(self.chat.prompt("?"), prompt))) for prompt in prompts)
        parts = []
        for batch in batches:
            width = max(len(prefix) for prefix in batch.prefixes) + longest * len(prompts)
            chosen = torch.arange(len(batch)).split(max(1, PASS_TOKENS // width))
            parts += [self.class_logits(batch.take(index), prompts) for index in chosen]
        return torch.cat(parts).cpu()

    @torch.no_grad()
    def answer(
        self, images: Mapping[str, Tensor], prefixes: Sequence[Sequence[int]], questions: Sequence[str]
    ) -> tuple[list[str], Tensor]:
        """Greedy answers of at most ``ANSWER_TOKENS`` tokens, and each one's mean log-probability per token, [B].

        Args:
            images: of each row, as :meth:`Chat.seen` gives them.
            prefixes: likewise.
            questions: one a row.
        """
        tokenizer, pad = self.processor.tokenizer, self.processor.tokenizer.pad_token_id
        rows = [[*p, *self.chat.tail(self.chat.prompt(q))] for p, q in zip(prefixes, questions, strict=True)]
        width = max(len(row) for row in rows)
        ids_BT = torch.tensor([[pad] * (width - len(row)) + row for row in rows])
        mask_BT = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
        given = self.module.generate(
            input_ids=ids_BT.to(self.device),
            attention_mask=mask_BT.to(self.device),
            **{name: tensor.to(self.device) for name, tensor in images.items()},
            max_new_tokens=ANSWER_TOKENS,
            do_sample=False,
            return_dict_in_generate=True,
            output_logits=True,
            pad_token_id=pad,
        )
        token_BT = given.sequences[:, width:]
        log_p_BTV = torch.stack(given.logits, dim=1).float().log_softmax(dim=-1)
        said_BT = token_BT != pad
        log_p_BT = log_p_BTV.gather(2, token_BT[..., None])[..., 0] * said_BT
        texts = tokenizer.batch_decode(token_BT, skip_special_tokens=True)
        return [text.strip() for text in texts], (log_p_BT.sum(1) / said_BT.sum(1).clamp(min=1)).cpu()


def _cross_entropy(packed: Packed, log_p_KV: Tensor) -> Tensor:
    return -log_p_KV.gather(1, packed.token_K[:, None]).mean()


def _drift(log_p_KV: Tensor, frozen_KV: Tensor) -> Tensor:
    return (log_p_KV.exp() - frozen_KV.exp()).square().sum(dim=-1).mean()
