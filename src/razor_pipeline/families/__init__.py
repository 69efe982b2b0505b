"""The model families: one file each, one line in this table."""

from typing import Any

from razor_pipeline.families.autoencoder import Autoencoder
from razor_pipeline.families.clip import ClipFamily
from razor_pipeline.families.deep_diffusion import DeepDiffusion3Family, DeepDiffusionFamily
from razor_pipeline.families.diffusion import DiffusionFamily
from razor_pipeline.families.diffusion3 import Diffusion3Family
from razor_pipeline.families.vit import VitFamily
from razor_pipeline.families.vlm import VlmFamily

FAMILIES: dict[str, Any] = {
    family.name: family
    for family in (
        ClipFamily,
        VitFamily,
        DiffusionFamily,
        DeepDiffusionFamily,
        Diffusion3Family,
        DeepDiffusion3Family,
        VlmFamily,
    )
}

__all__ = [
    "FAMILIES",
    "Autoencoder",
    "ClipFamily",
    "DeepDiffusion3Family",
    "DeepDiffusionFamily",
    "Diffusion3Family",
    "DiffusionFamily",
    "VitFamily",
    "VlmFamily",
]
