"""The autoencoder of a latent diffusion model: trained on its own, then part of a pipeline that is edited."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import AutoencoderKL

from razor_pipeline.core.copies import in_dtype
from razor_pipeline.families.placement import Placed


class Autoencoder(Placed):
    """A ``diffusers.AutoencoderKL`` as the pretraining pipeline trains, saves and opens it.

    Args:
        model: the model, in any floating dtype.

    Attributes:
        kinds: what the configuration of a checkpoint that it opens calls the model.
        parts: files that a directory must hold beside its weights.
    """

    name = "autoencoder"
    kinds = ("AutoencoderKL",)
    parts = ("config.json",)

    def __init__(self, model: AutoencoderKL) -> None:
        self.stored_dtype = torch.float16
        self.module = model.float().eval().requires_grad_(False)
        self.origin: dict[str, str | None] = {}
        self.card = ""

    @classmethod
    def from_pretrained(cls, source: str, revision: str | None = None) -> Autoencoder:
        """Load a directory in the diffusers layout, or a hub id at a pinned revision; safetensors only."""
        return cls(AutoencoderKL.from_pretrained(source, revision=revision, use_safetensors=True))

    def save_pretrained(self, path: Path) -> None:
        """Write it so that ``AutoencoderKL.from_pretrained`` opens it."""
        in_dtype(self.module, self.stored_dtype).save_pretrained(path)
