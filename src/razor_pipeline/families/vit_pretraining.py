"""Training of a small ViT classifier from random weights: the zoo's classifiers and judges."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional
from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessorPil

from razor_pipeline.families.training import augmented, fit
from razor_pipeline.families.vit import VitBatch, VitFamily
from razor_pipeline.params.pretraining import PretrainingParams


def train_vit(samples: pd.DataFrame, params: PretrainingParams) -> tuple[VitFamily, list[dict[str, float]]]:
    """Train a classifier of the captions.

    Args:
        samples: manifest rows to learn from; ``caption`` is the class.
        params: architecture and schedule. An excluded class keeps its output, so that a gold standard can be
            asked the same questions.

    Returns:
        The trained family, weights rounded to float16 (what is saved is what was measured), and one row of
        learning curve per epoch.
    """
    generator = torch.Generator().manual_seed(params.seed)
    family = new_vit(sorted({*samples["caption"], *params.exclude}), params)
    data = next(iter(family.batches(samples, len(samples))))
    per_epoch = max(1, len(data) // params.batch_size)

    def epoch() -> Iterator[VitBatch]:
        order = torch.randperm(len(data), generator=generator)
        for chosen in order.split(params.batch_size)[:per_epoch]:
            pixels = augmented(data.pixel_values_B3HW[chosen], generator, params.mirror)
            yield VitBatch(pixels, data.class_B[chosen])

    def loss_of(batch: VitBatch) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=params.precision == "bfloat16"):
            logits_BC = family.logits(batch)
        return functional.cross_entropy(logits_BC.float(), batch.class_B)

    curve = fit(family.module, epoch, loss_of, per_epoch, params)
    return VitFamily(family.module.half(), family.image_processor), curve


def new_vit(classes: list[str], params: PretrainingParams) -> VitFamily:
    """A classifier of these classes with random weights."""
    sizes = params.vit
    config = ViTConfig(
        hidden_size=sizes.width,
        num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.heads,
        intermediate_size=4 * sizes.width,
        image_size=params.image_size,
        patch_size=sizes.patch_size,
        id2label=dict(enumerate(classes)),
        label2id={name: i for i, name in enumerate(classes)},
    )
    size = {"height": params.image_size, "width": params.image_size}
    with torch.random.fork_rng():
        torch.manual_seed(params.seed)
        model = ViTForImageClassification(config)
    return VitFamily(model, ViTImageProcessorPil(size=size))
