"""The model families: one file each, one line in this table."""

from typing import Any

from razor_pipeline.families.clip import ClipFamily
from razor_pipeline.families.vit import VitFamily

FAMILIES: dict[str, Any] = {family.name: family for family in (ClipFamily, VitFamily)}

__all__ = ["FAMILIES", "ClipFamily", "VitFamily"]
