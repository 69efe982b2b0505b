"""Training of the zoo's models by family, and what a fresh one knows.

What it knows is its zero-shot accuracy on the test split over all names that it was taught.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import pandas as pd
from torch import nn

from razor_pipeline.core.cached import FORWARD_BATCH
from razor_pipeline.core.metrics import share
from razor_pipeline.families.autoencoder_pretraining import reconstruction_report, train_autoencoder
from razor_pipeline.families.clip_pretraining import train_clip
from razor_pipeline.families.diffusion3_pretraining import train_diffusion3
from razor_pipeline.families.diffusion_pretraining import train_diffusion
from razor_pipeline.families.latent_diffusion_pretraining import denoising_report
from razor_pipeline.families.question_report import question_report
from razor_pipeline.families.vit_pretraining import train_vit
from razor_pipeline.families.vlm_pretraining import train_vlm
from razor_pipeline.interfaces import ModelFamily
from razor_pipeline.manifest import DataError
from razor_pipeline.params.pretraining import PretrainingParams

Trained = tuple[Any, list[dict[str, float]]]
TRAINERS: dict[str, Callable[[pd.DataFrame, PretrainingParams], Trained]] = {
    "clip": train_clip,
    "vit": train_vit,
    "autoencoder": train_autoencoder,
    "diffusion": train_diffusion,
    "diffusion3": train_diffusion3,
    "vlm": train_vlm,
}
EXAMS: dict[str, tuple[str, Callable[[Any, pd.DataFrame], dict[str, dict[str, float]]]]] = {
    "autoencoder": ("errors", reconstruction_report),
    "diffusion": ("errors", denoising_report),
    "diffusion3": ("errors", denoising_report),
    "vlm": ("questions", question_report),
}


def train(rows: pd.DataFrame, params: PretrainingParams) -> Trained:
    """A model of ``params.family`` trained on the rows, and a row of learning curve per epoch."""
    return TRAINERS[params.family](rows, params)


def training_rows(manifest: pd.DataFrame, params: PretrainingParams) -> pd.DataFrame:
    """The rows to learn from: no reference class, no excluded class, and only ``params.splits``.

    Raises:
        DataError: an excluded class is not in the data, or nothing is left.
    """
    missing = sorted(set(params.exclude) - set(manifest["label"]) - set(manifest["style"]))
    if missing:
        raise DataError(
            f"pretraining.exclude names '{missing[0]}', which is not in the data; check the spelling"
        )
    rows = known(manifest, params)
    rows = rows[rows["split"].isin(params.splits)]
    if len(rows) < 2:
        raise DataError(f"pretraining has {len(rows)} images left to learn from; exclude less or add images")
    return rows


def known(manifest: pd.DataFrame, params: PretrainingParams) -> pd.DataFrame:
    """The rows of all classes that the model is taught; of two concepts of an image neither is excluded."""
    excluded = manifest["label"].isin(params.exclude) | manifest["style"].isin(params.exclude)
    chosen = (manifest["role"] != "reference") & ~excluded
    rows: pd.DataFrame = manifest[chosen]
    return rows


def zero_shot(family: ModelFamily, rows: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Accuracy per domain on the test split: ``<domain>_label`` and, with styles, ``<domain>_style``.

    The best of the domain's prompts is the answer; it counts for the label where its label is right, and for
    the style where its style is.

    Args:
        family: the model.
        rows: manifest rows of the classes it was taught.
    """
    found = {}
    for domain, own in rows.groupby("domain"):
        test = own[own["split"] == "test"]
        if test.empty:
            continue
        cells = own.drop_duplicates("prompt").sort_values("prompt")
        best = family.scores(family.batches(test, FORWARD_BATCH), list(cells["prompt"])).argmax(dim=1).numpy()
        for column in ("label", "style") if (own["style"] != "").any() else ("label",):
            hits = cells[column].to_numpy()[best] == test[column].to_numpy()
            found[f"{domain}_{column}"] = asdict(share(hits))
    return found


def weights_sha256(module: nn.Module, dtype: Any) -> str:
    """sha256 over the names and stored values of all weights."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        stored = tensor.to(dtype) if tensor.is_floating_point() else tensor
        digest.update(name.encode() + stored.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def pretraining_report(
    family: Any, rows: pd.DataFrame, params: PretrainingParams, images: int, seconds: float
) -> dict[str, Any]:
    """How a model was trained, and what it knows.

    Args:
        family: the trained model.
        rows: manifest rows of the classes it was taught.
        params: of the training.
        images: number of images it learnt from.
        seconds: that the training took.
    """
    what, found = EXAMS.get(params.family, ("zero_shot", zero_shot))
    return {
        "seed": params.seed,
        "excluded": sorted(params.exclude),
        "sha256": weights_sha256(family.module, family.stored_dtype),
        "parameters": sum(parameter.numel() for parameter in family.module.parameters()),
        "images": images,
        "seconds": round(seconds, 1),
        what: found(family, rows),
        "pretraining": params.model_dump(mode="json"),
    }
