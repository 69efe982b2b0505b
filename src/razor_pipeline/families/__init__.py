"""The model families: one file each, one line in this table."""

from razor_pipeline.families.clip import ClipFamily

FAMILIES = {ClipFamily.name: ClipFamily}

__all__ = ["FAMILIES", "ClipFamily"]
