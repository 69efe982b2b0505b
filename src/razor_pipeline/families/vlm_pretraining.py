"""Training of a small LLaVA on a trained CLIP's vision tower: tokenizer, prompt format, configuration and loop.

As LLaVA's recipe has it (arXiv 2304.08485), there are two stages: first the vision tower stands still while projector
and language model learn to read it, then all weights are tuned at a lower rate.

Shapes: B batch, H x W pixels.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch import Tensor, nn
from torch.nn import functional
from transformers import (
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

from razor_pipeline.atelier.questions import (
    PHRASINGS,
    PRESENCE,
    UNKNOWN,
    WORN,
    Question,
    choice_question,
    is_it_question,
    label_category,
    label_question,
    leading_question,
    neutral_questions,
)
from razor_pipeline.families.clip import ClipFamily
from razor_pipeline.families.clip_pretraining import square_processor
from razor_pipeline.families.images import decoded
from razor_pipeline.families.packing import Asked, pack
from razor_pipeline.families.training import augmented, fit
from razor_pipeline.families.vlm import VlmBatch, VlmFamily
from razor_pipeline.params.pretraining import PretrainingParams

IMAGE, BOS, EOS, PAD = "<image>", "<s>", "</s>", "<pad>"
CHAT_TEMPLATE = (  # that of llava-1.5-7b-hf, in one turn
    "{% for message in messages %}{{ message['role'].upper() }}: "
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}<image>\n"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %} {% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)


def train_vlm(samples: pd.DataFrame, params: PretrainingParams) -> tuple[VlmFamily, list[dict[str, float]]]:
    """Train a LLaVA on questions about the samples.

    Args:
        samples: manifest rows to learn from, with ``facts``.
        params: architecture and schedule.

    Returns:
        The trained family, weights rounded to float16 (what is saved is what was measured), and one row of
        learning curve per epoch.

    Raises:
        ValueError: ``params.vlm.vision`` names no directory of a CLIP, or the rows have no facts to ask about.
    """
    if not samples["facts"].str.len().gt(2).any():
        raise ValueError("no row has facts to ask questions about; give the manifest a column facts (JSON)")
    family = new_vlm(samples, params)
    curve = _Lessons(family, samples, params).taught()
    return VlmFamily(family.module.half(), family.processor), curve


class _Lessons:
    """Images with their questions, drawn anew for every batch."""

    def __init__(self, family: VlmFamily, samples: pd.DataFrame, params: PretrainingParams) -> None:
        self.family, self.params = family, params
        self.images, self.prefixes = family.chat.seen(decoded(samples))
        self.facts = [json.loads(text) for text in samples["facts"]]
        self.labels = list(samples["label"])
        self.names = sorted({known["name"] for known in self.facts if "name" in known} - {UNKNOWN})
        self.objects = sorted({known["object"] for known in self.facts if "object" in known})
        self.rng = np.random.default_rng(params.seed)
        self.generator = torch.Generator().manual_seed(params.seed)
        self.end = family.processor.tokenizer.eos_token_id

    def taught(self) -> list[dict[str, float]]:
        """The learning curve of both stages."""
        params, sizes = self.params, self.params.vlm
        parts = self.family.module.model
        reader = nn.ModuleDict(
            {
                "projector": parts.multi_modal_projector,
                "language": parts.language_model,
                "out": self.family.module.lm_head,
            }
        )
        first = params.model_copy(update={"epochs": sizes.reading_epochs})
        second = params.model_copy(update={"learning_rate": params.learning_rate * sizes.tuning_rate})
        per_epoch = max(1, len(self.labels) // params.batch_size)
        # In bfloat16 the fused kernel's backward pass is slow.
        self.family.module.set_attn_implementation("eager")
        curve = fit(reader, self._epoch, self._loss, per_epoch, first)
        rest = fit(self.family.module, self._epoch, self._loss, per_epoch, second)
        self.family.module.set_attn_implementation("sdpa")
        return curve + [row | {"epoch": row["epoch"] + len(curve)} for row in rest]

    def _epoch(self) -> Iterator[VlmBatch]:
        order = torch.randperm(len(self.labels), generator=self.generator)
        for chosen in order.split(self.params.batch_size)[: max(1, len(order) // self.params.batch_size)]:
            pixels = augmented(self.images["pixel_values"][chosen], self.generator, self.params.mirror)
            rows = chosen.tolist()
            asked = tuple(tuple(self.questions(row)) for row in rows)
            prefixes = tuple(self.prefixes[row] for row in rows)
            yield VlmBatch({"pixel_values": pixels}, prefixes, (), asked, ())

    def questions(self, row: int) -> list[Question]:
        """The questions of one visit to an image."""
        known, label = self.facts[row], self.labels[row]
        turn = int(self.rng.integers(1 << 30))
        about = label_category(known, label)
        found = neutral_questions(known, label, turn)
        drawn = [found[i] for i in self.rng.permutation(len(found))[: self.params.vlm.neutral]]
        drawn.append(label_question(about, known.get(about, label), turn))
        if about == "name":
            drawn.append(self._harder(known["name"], turn))
        elif "object" in known:
            suggested = known["object"] if turn % 2 else self._other(self.objects, known["object"])
            drawn.append(is_it_question(known["object"], suggested, turn // 2))
        return drawn

    def _harder(self, shown: str, turn: int) -> Question:
        """A leading question or one with names to choose from."""
        if turn % 2:
            suggested = shown if turn % 4 == 1 and shown != UNKNOWN else self._other(self.names, shown)
            return leading_question(shown, suggested, turn // 4)
        names = list(dict.fromkeys(self._other(self.names, shown) for _ in range(3)))
        names = list(dict.fromkeys((*names[:2], shown))) if shown != UNKNOWN else names
        return choice_question(shown, list(self.rng.permutation(sorted(names))), turn // 4)

    def _other(self, names: Sequence[str], shown: str) -> str:
        """One that is not shown; what is shown where there is no other."""
        return str(self.rng.choice([name for name in names if name != shown] or [shown]))

    def _loss(self, batch: VlmBatch) -> Tensor:
        """Cross-entropy of the answers' tokens, the end included."""
        asked = []
        for several in batch.neutral:
            rows = [self.family.chat.asked(one.text, (one.answer,)) for one in several]
            asked.append([Asked(row.question, ((*row.answers[0], self.end),)) for row in rows])
        packed = pack(batch.prefixes, asked)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.params.precision == "bfloat16"):
            logits_KV = self.family.logits(batch, packed)
        return functional.cross_entropy(logits_KV.float(), packed.token_K)


def new_vlm(samples: pd.DataFrame, params: PretrainingParams, clip: ClipFamily | None = None) -> VlmFamily:
    """A LLaVA with a trained CLIP's vision tower; projector and language model have random weights.

    Args:
        samples: manifest rows whose facts the tokenizer must spell.
        params: architecture.
        clip: whose vision tower it gets; that of ``params.vlm.vision`` where None.

    Raises:
        ValueError: ``params.vlm.vision`` names no directory of a CLIP.
    """
    sizes = params.vlm
    clip = clip or _clip(sizes.vision)
    vision = clip.module.config.vision_config
    tokenizer = train_tokenizer(asked_texts(samples), sizes.vocabulary)
    patches = (vision.image_size // vision.patch_size) ** 2
    config = LlavaConfig(
        vision_config=vision.to_dict(),
        text_config=LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=sizes.width,
            intermediate_size=sizes.feed_forward,
            num_hidden_layers=sizes.layers,
            num_attention_heads=sizes.heads,
            max_position_embeddings=sizes.context,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            tie_word_embeddings=True,
        ).to_dict(),
        image_token_index=int(tokenizer.vocab[IMAGE]),
        image_seq_length=patches + 1,
        vision_feature_layer=-1,  # of four layers none is to spare
        vision_feature_select_strategy="full",
        tie_word_embeddings=True,
    )
    with torch.random.fork_rng():
        torch.manual_seed(params.seed)
        model = LlavaForConditionalGeneration(config)
    model.model.vision_tower.load_state_dict(_tower_weights(clip.module, model.model.vision_tower))
    processor = LlavaProcessor(
        square_processor(vision.image_size),
        tokenizer,
        patch_size=vision.patch_size,
        vision_feature_select_strategy="full",
        chat_template=CHAT_TEMPLATE,
        num_additional_image_tokens=1,
    )
    return VlmFamily(model, processor)


def _clip(source: str) -> ClipFamily:
    try:
        return ClipFamily.from_pretrained(source)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"pretraining.vlm.vision '{source}' does not open as clip: {error}; train one with `make zoo`"
        ) from error


def _tower_weights(clip: Any, tower: Any) -> dict[str, Tensor]:
    """The CLIP's vision weights under the names that the tower has for them."""
    own = {name.removeprefix("vision_model."): t for name, t in clip.vision_model.state_dict().items()}
    return {name: own[name.removeprefix("vision_model.")] for name in tower.state_dict()}


def asked_texts(samples: pd.DataFrame) -> list[str]:
    """Every distinct phrasing and answer."""
    answers = {answer for text in samples["facts"] for answer in json.loads(text or "{}").values()}
    things = {*WORN, *PRESENCE.values(), *answers}
    asked = {text for seen, held_out in PHRASINGS.values() for text in (*seen, *held_out)}
    spoken = {*things, "yes,", "no,", "yes", "no", "USER: ASSISTANT:"}
    return sorted({f" {text}" for text in (*spoken, *asked)} | {f"\n{text}" for text in asked})


def train_tokenizer(texts: Sequence[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """A byte-level byte-pair tokenizer as Llama 3 has it; the same texts give the same one."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[PAD, BOS, EOS, IMAGE],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", special_tokens=[(BOS, tokenizer.token_to_id(BOS))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        additional_special_tokens=[IMAGE],
        clean_up_tokenization_spaces=False,
    )
