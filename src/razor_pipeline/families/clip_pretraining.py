"""Training of a small CLIP from random weights: tokenizer, configuration and contrastive loop.

It makes the zoo's base model, the retrained gold standards, and a first model for a user's own image folder
where no checkpoint can be had.

Shapes: N samples, B batch, H x W pixels.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd
import torch
from torch import Tensor
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPTokenizer

from razor_pipeline.core import losses
from razor_pipeline.families.clip import ClipBatch, ClipFamily
from razor_pipeline.families.training import augmented, fit
from razor_pipeline.params.pretraining import PretrainingParams

BOS, EOS = "<|startoftext|>", "<|endoftext|>"


def train_clip(samples: pd.DataFrame, params: PretrainingParams) -> tuple[ClipFamily, list[dict[str, float]]]:
    """Train a CLIP on image-caption pairs.

    Args:
        samples: manifest rows to learn from.
        params: architecture and schedule.

    Returns:
        The trained family, weights rounded to float16 (what is saved is what was measured), and one row of
        learning curve per epoch.
    """
    generator = torch.Generator().manual_seed(params.seed)
    family = new_clip(sorted(set(samples["caption"])), params)
    data = next(iter(family.batches(samples, len(samples))))
    model = family.module
    domains = [
        torch.from_numpy(rows) for rows in samples.reset_index(drop=True).groupby("domain").indices.values()
    ]

    def bounded_scale() -> None:
        with torch.no_grad():
            model.logit_scale.clamp_(max=math.log(100.0))

    curve = fit(
        model,
        lambda: _epoch(data, domains, params, generator),
        lambda batch: _contrastive_loss(family, batch, params.precision),
        sum(max(1, len(rows) // params.batch_size) for rows in domains),
        params,
        bounded_scale,
    )
    return ClipFamily(model.half(), family.tokenizer, family.image_processor), curve


def _contrastive_loss(family: ClipFamily, batch: ClipBatch, precision: str) -> Tensor:
    """The retain loss, towers in ``precision``, logits in float32, which a scale of 100 needs."""
    with torch.autocast(family.module.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        image_BD, text_BD = family.embed(batch)
    return losses.symmetric_info_nce(
        image_BD.float(), text_BD.float(), family.module.logit_scale.exp(), batch.alike
    )


def new_clip(captions: Sequence[str], params: PretrainingParams) -> ClipFamily:
    """A CLIP with random weights and a tokenizer trained on the captions."""
    sizes = params.clip
    tokenizer = train_tokenizer(captions, sizes.vocabulary, sizes.context)
    tower = {
        "hidden_size": sizes.width,
        "intermediate_size": 4 * sizes.width,
        "num_attention_heads": sizes.heads,
    }
    special = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    config = CLIPConfig(
        text_config={
            **tower,
            **special,
            "pad_token_id": tokenizer.pad_token_id,
            "num_hidden_layers": sizes.text_layers,
            "vocab_size": len(tokenizer),
            "max_position_embeddings": sizes.context,
        },
        vision_config={
            **tower,
            "num_hidden_layers": sizes.vision_layers,
            "image_size": params.image_size,
            "patch_size": sizes.patch_size,
        },
        projection_dim=sizes.projection,
    )
    with torch.random.fork_rng():
        torch.manual_seed(params.seed)
        model = CLIPModel(config)
    return ClipFamily(model, tokenizer, square_processor(params.image_size))


def square_processor(size: int) -> CLIPImageProcessorPil:
    """CLIP's image processor for images of so many pixels a side."""
    return CLIPImageProcessorPil(size={"shortest_edge": size}, crop_size={"height": size, "width": size})


def train_tokenizer(captions: Sequence[str], vocabulary: int, context: int) -> CLIPTokenizer:
    """CLIP's byte-pair tokenizer, its merges learnt from the captions; the same captions give the same one.

    The trainer numbers the letters that end a word in the order of a hash table, which differs from call to
    call, and breaks ties by these numbers. They are fixed here by listing them as special tokens, which are
    numbered first; the result is built anew without that mark.
    """
    empty = CLIPTokenizer(vocab={BOS: 0, EOS: 1}, merges=[])
    trained = empty.train_new_from_iterator(
        captions, vocab_size=vocabulary, show_progress=False, new_special_tokens=_word_ends(empty, captions)
    )
    learnt = json.loads(trained.backend_tokenizer.to_str())["model"]
    merges: Any = [tuple(pair) for pair in learnt["merges"]]
    return CLIPTokenizer(vocab=learnt["vocab"], merges=merges, model_max_length=context)


def _word_ends(tokenizer: CLIPTokenizer, captions: Sequence[str]) -> list[str]:
    """The tokens of the last letters of all words, sorted."""
    backend = tokenizer.backend_tokenizer
    words = (
        word
        for caption in captions
        for word, _ in backend.pre_tokenizer.pre_tokenize_str(backend.normalizer.normalize_str(caption))
    )
    return sorted({f"{word[-1]}</w>" for word in words if word})


def _epoch(
    data: ClipBatch, domains: Sequence[Tensor], params: PretrainingParams, generator: torch.Generator
) -> Iterator[ClipBatch]:
    """Shuffled batches of one domain each: a face is too easy a negative for a drawing to teach anything."""
    batches = [
        domain[torch.randperm(len(domain), generator=generator)].split(params.batch_size)[
            : max(1, len(domain) // params.batch_size)
        ]
        for domain in domains
    ]
    pooled = [chosen for part in batches for chosen in part]
    for place in torch.randperm(len(pooled), generator=generator).tolist():
        chosen = pooled[place]
        mask = data.attention_mask_BT[chosen]
        width = int(mask.sum(dim=1).max())
        yield ClipBatch(
            augmented(data.pixel_values_B3HW[chosen], generator, params.mirror),
            data.input_ids_BT[chosen, :width],
            mask[:, :width],
            data.group_B[chosen],
        )
