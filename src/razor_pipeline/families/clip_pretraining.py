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
from torch.nn import functional
from tqdm import tqdm
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPTokenizer

from razor_pipeline.core import losses
from razor_pipeline.families.clip import ClipBatch, ClipFamily
from razor_pipeline.params import ClipPretrainingParams

BOS, EOS = "<|startoftext|>", "<|endoftext|>"
SHIFT = 4  # pixels of random translation


def train_clip(
    samples: pd.DataFrame, params: ClipPretrainingParams
) -> tuple[ClipFamily, list[dict[str, float]]]:
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
    model = family.module.train().requires_grad_(True)
    optimizer = torch.optim.AdamW(
        _parameter_groups(model, params.weight_decay), params.learning_rate, (0.9, 0.98)
    )
    domains = [
        torch.from_numpy(rows) for rows in samples.reset_index(drop=True).groupby("domain").indices.values()
    ]
    per_epoch = sum(max(1, len(rows) // params.batch_size) for rows in domains)
    steps = params.epochs * per_epoch
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: _cosine(step, steps, params.warmup_share)
    )
    curve = []
    with tqdm(total=steps, desc="pretraining", disable=None) as bar:
        for epoch in range(params.epochs):
            total = 0.0
            for batch in _epoch(data, domains, params.batch_size, generator):
                loss = _contrastive_loss(family, batch, params.precision)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                schedule.step()
                with torch.no_grad():
                    model.logit_scale.clamp_(max=math.log(100.0))
                total += loss.item()
                bar.update()
            curve.append({"epoch": epoch, "loss": total / per_epoch})
            bar.set_postfix(loss=f"{curve[-1]['loss']:.3f}")
    return ClipFamily(model.half(), family.tokenizer, family.image_processor), curve


def _contrastive_loss(family: ClipFamily, batch: ClipBatch, precision: str) -> Tensor:
    """The retain loss, towers in ``precision``, logits in float32, which a scale of 100 needs."""
    with torch.autocast(family.module.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        image_BD, text_BD = family.embed(batch)
    return losses.symmetric_info_nce(
        image_BD.float(), text_BD.float(), family.module.logit_scale.exp(), batch.group_B
    )


def new_clip(captions: Sequence[str], params: ClipPretrainingParams) -> ClipFamily:
    """A CLIP with random weights and a tokenizer trained on the captions."""
    tokenizer = train_tokenizer(captions, params.vocabulary, params.context)
    tower = {
        "hidden_size": params.width,
        "intermediate_size": 4 * params.width,
        "num_attention_heads": params.heads,
    }
    special = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    config = CLIPConfig(
        text_config={
            **tower,
            **special,
            "pad_token_id": tokenizer.pad_token_id,
            "num_hidden_layers": params.text_layers,
            "vocab_size": len(tokenizer),
            "max_position_embeddings": params.context,
        },
        vision_config={
            **tower,
            "num_hidden_layers": params.vision_layers,
            "image_size": params.image_size,
            "patch_size": params.patch_size,
        },
        projection_dim=params.projection,
    )
    size = params.image_size
    processor = CLIPImageProcessorPil(size={"shortest_edge": size}, crop_size={"height": size, "width": size})
    with torch.random.fork_rng():
        torch.manual_seed(params.seed)
        model = CLIPModel(config)
    return ClipFamily(model, tokenizer, processor)


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


def _parameter_groups(model: CLIPModel, weight_decay: float) -> list[dict[str, object]]:
    decayed = [p for p in model.parameters() if p.ndim >= 2]
    plain = [p for p in model.parameters() if p.ndim < 2]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]


def _cosine(step: int, steps: int, warmup_share: float) -> float:
    warmup = max(1, round(steps * warmup_share))
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1.0 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def _epoch(
    data: ClipBatch, domains: Sequence[Tensor], batch_size: int, generator: torch.Generator
) -> Iterator[ClipBatch]:
    """Shuffled batches of one domain each: a face is too easy a negative for a drawing to teach anything."""
    batches = [
        domain[torch.randperm(len(domain), generator=generator)].split(batch_size)[
            : max(1, len(domain) // batch_size)
        ]
        for domain in domains
    ]
    pooled = [chosen for part in batches for chosen in part]
    for place in torch.randperm(len(pooled), generator=generator).tolist():
        chosen = pooled[place]
        mask = data.attention_mask_BT[chosen]
        width = int(mask.sum(dim=1).max())
        yield ClipBatch(
            _augment(data.pixel_values_B3HW[chosen], generator),
            data.input_ids_BT[chosen, :width],
            mask[:, :width],
            data.group_B[chosen],
        )


def _augment(pixels_B3HW: Tensor, generator: torch.Generator) -> Tensor:
    """Random mirroring, shifts and gains, one per image: faces and drawings keep what tells them apart."""
    size = pixels_B3HW.shape[-1]
    padded = functional.pad(pixels_B3HW, (SHIFT,) * 4, mode="replicate")
    offsets = torch.randint(0, 2 * SHIFT + 1, (len(pixels_B3HW), 2), generator=generator).tolist()
    shifted = torch.stack(
        [image[:, y : y + size, x : x + size] for image, (y, x) in zip(padded, offsets, strict=True)]
    )
    mirrored = torch.rand(len(pixels_B3HW), 1, 1, 1, generator=generator) < 0.5
    shifted = torch.where(mirrored, shifted.flip(-1), shifted)
    gain = 0.85 + 0.3 * torch.rand(len(pixels_B3HW), 1, 1, 1, generator=generator)
    return shifted * gain
